import { readFileSync } from 'node:fs';
import { backoffMs } from '#lib/backoff.ts';
import type { Clock } from '#lib/clock.ts';
import { Fault, type FaultCode } from '#model/fault.ts';
import type { EtcdSettings } from '#model/settings.ts';
import type { StreamLine, WatchResponse } from './messages.ts';
import { CODE, EtcdError, faultOf, isPassing, isTokenLost } from './refusal.ts';
import { LateError, type Post, Wire } from './wire.ts';

/**
 * Calls to an etcd cluster: to the endpoint that answered last, to the next one when it does not, with a token where there
 * is a user. A call may reach etcd more than once, so what it says must bear that.
 */
export type ClientOptions = {
  readonly settings: EtcdSettings;
  readonly clock: Clock;
  /** Told when etcd stops answering, and when it answers again. */
  readonly notice: (text: string) => void;
};

export type Stream = {
  /** Of the endpoint that it comes from. */
  readonly endpoint: string;
  /** Ends, or throws, with the connection; throws EtcdError where etcd says so. */
  readonly responses: AsyncGenerator<WatchResponse, void>;
};

const RETRY = { firstMs: 50, maxMs: 2000 } as const;

export class EtcdClient {
  readonly #options: ClientOptions;
  readonly #wire: Wire;
  /** Counts up; agents spread over the endpoints. */
  #current: number;
  #token: Promise<string> | undefined;
  /** What was told of and lasts. */
  readonly #troubles = new Set<FaultCode>();
  readonly #closed = new AbortController();
  /** Streams of the endpoint; they end with it when it hangs. */
  #streams = new AbortController();

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#wire = new Wire(options.settings);
    this.#current = Math.floor(Math.random() * options.settings.endpoints.length);
  }
  close(): void {
    this.#closed.abort();
    this.#wire.close();
  }

  /** Throws Fault `store-away`, `store-refused` or `store-full`, or EtcdError for what the caller has to know. */
  async call<T>(path: string, body: unknown): Promise<T> {
    const attempts = Math.max(3, this.#endpoints.length + 1);
    const failures = new Map<string, unknown>();
    for (let attempt = 1; ; attempt += 1) {
      const endpoint = this.endpoint;
      try {
        const answer = await this.#callOne(endpoint, path, body);
        this.#answers(path);
        return answer as T;
      } catch (error) {
        failures.set(endpoint, error);
        const mayPass = this.#mayPass(endpoint, error);
        if (!mayPass || attempt >= attempts || this.#closed.signal.aborted) throw this.#fail(failures, error);
        await this.#options.clock.sleep(backoffMs(RETRY, attempt - 1, Math.random()), this.#closed.signal);
      }
    }
  }

  /** One attempt at a watch. Throws as `call`. */
  async watch(body: unknown, signal: AbortSignal): Promise<Stream> {
    const endpoint = this.endpoint;
    try {
      const post = await this.#post(endpoint, '/v3/watch', body);
      const whole = AbortSignal.any([signal, this.#streams.signal, this.#closed.signal]);
      const { lines, arrived } = await this.#wire.stream({ ...post, signal: whole });
      return { endpoint, responses: this.#responses({ endpoint, lines, arrived }) };
    } catch (error) {
      this.#mayPass(endpoint, error);
      throw faultOf(new Map([[endpoint, error]]), error);
    }
  }
  async *#responses(stream: StreamOf): AsyncGenerator<WatchResponse, void> {
    const { endpoint, lines, arrived } = stream;
    try {
      for await (const line of lines) {
        arrived();
        const { result, error } = parseLine(line);
        if (result === undefined)
          throw new EtcdError(error?.grpc_code ?? error?.code ?? CODE.unknown, error?.message ?? line);
        yield result;
      }
      throw new EtcdError(CODE.unavailable, 'the stream has ended');
    } catch (error) {
      this.#mayPass(endpoint, error);
      throw error;
    } finally {
      arrived();
    }
  }

  /** The next request authenticates again: a watch is refused for a lost token as for a missing right. */
  forgetToken(): void {
    this.#token = undefined;
  }

  get #endpoints(): readonly string[] {
    return this.#options.settings.endpoints;
  }
  /** Where the next request goes. */
  get endpoint(): string {
    return this.#endpoints[this.#current % this.#endpoints.length] as string;
  }

  async #callOne(endpoint: string, path: string, body: unknown): Promise<unknown> {
    const { status, body: text } = await this.#wire.call(await this.#post(endpoint, path, body));
    return readAnswer(status, text);
  }
  async #post(endpoint: string, path: string, body: unknown): Promise<Post> {
    const timeoutMs = this.#options.settings.requestTimeoutSeconds * 1000;
    // etcd ends the stream of a member that has lost the others, which would be silent otherwise.
    const leader = path === '/v3/watch' ? { 'grpc-metadata-hasleader': 'true' } : {};
    const headers = { ...leader, ...(await this.#authorization(endpoint)) };
    return { endpoint, path, body, timeoutMs, headers, signal: this.#closed.signal };
  }
  async #authorization(endpoint: string): Promise<Readonly<Record<string, string>>> {
    const { user, passwordFile } = this.#options.settings;
    if (user === undefined) return {};
    this.#token ??= this.#authenticate(endpoint, user, passwordFile);
    const token = this.#token;
    try {
      return { authorization: await token };
    } catch (error) {
      if (this.#token === token) this.#token = undefined;
      throw error;
    }
  }
  async #authenticate(endpoint: string, name: string, file: string | undefined): Promise<string> {
    const password = file === undefined ? '' : readFileSync(file, 'utf8').replace(/\r?\n$/, '');
    const timeoutMs = this.#options.settings.requestTimeoutSeconds * 1000;
    const post = { endpoint, path: '/v3/auth/authenticate', body: { name, password }, timeoutMs };
    const { status, body } = await this.#wire.call({ ...post, signal: this.#closed.signal });
    return (readAnswer(status, body) as { readonly token: string }).token;
  }

  /** Whether another attempt may go better; moves on to where it may. */
  #mayPass(endpoint: string, error: unknown): boolean {
    if (isTokenLost(error) && this.#token !== undefined) {
      this.#token = undefined;
      return true;
    }
    if (!isPassing(error)) return false;
    if (endpoint === this.endpoint) this.#leave(error instanceof LateError);
    return true;
  }
  #leave(isHung: boolean): void {
    this.#current += 1;
    if (!isHung) return;
    this.#streams.abort();
    this.#streams = new AbortController();
  }
  #answers(path: string): void {
    const isOver = WRITES.has(path) ? () => true : (code: FaultCode) => code !== 'store-full';
    const over = [...this.#troubles].filter(isOver);
    for (const code of over) this.#troubles.delete(code);
    if (over.length > 0) this.#options.notice('etcd answers again');
  }
  #fail(failures: ReadonlyMap<string, unknown>, last: unknown): Error {
    const failure = faultOf(failures, last);
    if (failure instanceof Fault && !this.#troubles.has(failure.code) && !this.#closed.signal.aborted) {
      this.#troubles.add(failure.code);
      this.#options.notice([failure.message, failure.details].filter((text) => text !== '').join(': '));
    }
    return failure;
  }
}

/** An etcd without space answers all others. */
const WRITES: ReadonlySet<string> = new Set(['/v3/kv/txn', '/v3/lease/grant']);

type StreamOf = {
  readonly endpoint: string;
  readonly lines: AsyncIterable<string>;
  readonly arrived: () => void;
};

function parseLine(line: string): StreamLine {
  try {
    return JSON.parse(line) as StreamLine;
  } catch {
    return { error: { grpc_code: CODE.unavailable, message: `not a line of etcd: ${line.slice(0, 80)}` } };
  }
}

/** etcd takes the name in a certificate for a user's, but not by its gateway. */
const NAMED =
  'where etcd has users, the certificate must have no common name (CN): the user is store.etcd.user';

/** Throws EtcdError for whatever is no answer of etcd. */
function readAnswer(status: number, text: string): unknown {
  let value: {
    readonly code?: number;
    readonly grpc_code?: number;
    readonly error?: unknown;
    readonly message?: unknown;
  };
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    if (text.includes('CommonName')) throw new EtcdError(CODE.unauthenticated, NAMED);
    throw new EtcdError(CODE.unimplemented, `HTTP ${status}, which is no answer of etcd's JSON gateway`);
  }
  if (status === 200) return value;
  const message = value.message ?? value.error;
  throw new EtcdError(
    value.code ?? value.grpc_code ?? CODE.unknown,
    typeof message === 'string' ? message : text.slice(0, 200),
  );
}
