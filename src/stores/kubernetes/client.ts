import { backoffMs } from '#lib/backoff.ts';
import type { Clock } from '#lib/clock.ts';
import { Fault, type FaultCode } from '#model/fault.ts';
import { FIELD_MANAGER } from '#model/kubernetes-kinds.ts';
import type { ApiServerSettings } from '#model/settings.ts';
import { type Access, AccessReader } from './access.ts';
import { parseBody, type Reader, readEvents, refusalOf } from './answers.ts';
import { ListReader, type Page } from './list-reader.ts';
import type { KubernetesObject, WatchLine } from './messages.ts';
import { faultOf, isExpired, isPassing, isStatus, KubernetesError } from './refusal.ts';
import { ServerClock } from './server-clock.ts';
import { type Ask, Wire } from './wire.ts';

/**
 * Calls to the API server. A call may be made more than once, when no answer has come, so what it says must bear that.
 * All go over one connection, watches too.
 */
export type ClientOptions = {
  readonly settings: ApiServerSettings;
  readonly clock: Clock;
  /** Told when the API server stops answering, and when it answers again. */
  readonly notice: (text: string) => void;
  /** Of another place than usual. */
  readonly access?: AccessReader;
};

export type Query = Readonly<Record<string, string | number | undefined>>;

export type Call = {
  readonly method: Ask['method'];
  readonly path: string;
  readonly query?: Query;
  readonly body?: unknown;
  /** Of a PATCH. */
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal;
};

/** `read`: what is kept of each object; absent: all of it. */
export type ListOptions<T> = Pick<Call, 'accept' | 'signal'> & {
  readonly read?: (object: KubernetesObject) => T;
};
export type Listing<T> = { readonly items: readonly T[]; readonly resourceVersion: string };

export type Stream = {
  /** Of the connection that it comes by: with another one, it may be another server. */
  readonly connection: number;
  /** Ends, or throws, with the connection; throws KubernetesError where the API server says so. */
  readonly events: AsyncGenerator<WatchLine, void>;
  close(): void;
};

export const APPLY = 'application/apply-patch+yaml';
export const MERGE = 'application/merge-patch+json';

const RETRY = { firstMs: 100, maxMs: 3000 } as const;
const ATTEMPTS = 4;
/** Of a server that is too busy, which says when to come again. */
const BUSY_ATTEMPTS = 10;
const MAX_WAIT_MS = 30_000;
const PAGE = 500;
const LIST_ATTEMPTS = 5;
/** Where something is wrong that is no path. */
const CREDENTIALS = 'credentials';

export class KubernetesClient {
  readonly #options: ClientOptions;
  readonly #access: AccessReader;
  readonly #wire = new Wire();
  readonly #serverClock = new ServerClock();
  readonly #closed = new AbortController();
  /** What was told of and lasts. */
  readonly #troubles = new Map<string, Trouble>();

  constructor(options: ClientOptions) {
    this.#options = options;
    const { settings, clock } = options;
    this.#access = options.access ?? new AccessReader({ settings, clock });
  }
  close(): void {
    this.#closed.abort();
    this.#wire.close();
  }
  /** Counts up with every new connection. */
  get connection(): number {
    return this.#wire.connection;
  }

  /** Throws Fault `store-away`, `store-refused` or `store-full`, or KubernetesError for what the caller has to know. */
  async call<T = KubernetesObject>(call: Call): Promise<T> {
    return (await this.#call(call)) as T;
  }
  async #call(call: Call, open?: () => Reader): Promise<unknown> {
    let refused: Access | undefined;
    for (let attempt = 1; ; attempt += 1) {
      const access = await this.#read(refused);
      try {
        const answer = await this.#callOnce(access, call, open?.());
        this.#answers(call);
        return answer;
      } catch (error) {
        if (error instanceof KubernetesError) error.attempts = attempt;
        // The token may just have been exchanged: once.
        const isNewToken = isStatus(error, 401) && refused === undefined;
        if (!isNewToken && !this.#mayRetry(error, attempt, call)) throw this.#fail(error, call.path);
        if (isNewToken) refused = access;
        else await this.#wait(error, attempt);
      }
    }
  }

  /** Everything at one version, in pieces; from the start when the pieces take too long. Throws as `call`. */
  async list<T = KubernetesObject>(
    path: string,
    query: Query = {},
    more: ListOptions<T> = {},
  ): Promise<Listing<T>> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#listOnce(path, query, more);
      } catch (error) {
        if (!isExpired(error) || attempt === LIST_ATTEMPTS) throw error;
      }
    }
  }
  async #listOnce<T>(path: string, query: Query, options: ListOptions<T>): Promise<Listing<T>> {
    const { read = (object) => object as T, ...more } = options;
    const items: T[] = [];
    let token: string | undefined;
    for (;;) {
      // A token says which version it is of.
      const page =
        token === undefined
          ? query
          : { ...query, resourceVersion: undefined, resourceVersionMatch: undefined };
      const call = {
        method: 'GET',
        path,
        query: { ...page, limit: PAGE, continue: token },
        ...more,
      } as const;
      const list = (await this.#call(call, () => new ListReader(read))) as Page<T>;
      for (const item of list.items) items.push(item);
      token = list.metadata.continue;
      if (token === undefined || token === '')
        return { items, resourceVersion: list.metadata.resourceVersion ?? '' };
    }
  }

  /** One attempt at a watch. Throws as `call`. */
  async watch(path: string, query: Query, more: Pick<Call, 'accept' | 'signal'> = {}): Promise<Stream> {
    const call: Call = {
      method: 'GET',
      path,
      query: { ...query, watch: 'true', allowWatchBookmarks: 'true' },
      ...more,
    };
    let refused: Access | undefined;
    for (;;) {
      const access = await this.#read(refused);
      try {
        return await this.#watchOnce(access, call);
      } catch (error) {
        if (!isStatus(error, 401) || refused !== undefined) throw this.#fail(error, path);
        refused = access;
      }
    }
  }
  async #watchOnce(access: Access, call: Call): Promise<Stream> {
    const sentMs = this.#options.clock.monotonicMs();
    const stream = await this.#wire.stream(access, this.#askOf(access, call));
    this.#observe(stream.headers.date, sentMs);
    if (stream.status !== 200) throw refusalOf({ ...stream, body: await stream.text() });
    this.#answers(call);
    return { connection: stream.connection, events: readEvents(stream.lines), close: stream.close };
  }

  /** The server's wall clock; asks it where it has not answered yet. Throws as `call`. */
  async serverTime(): Promise<{ readonly lowMs: number; readonly highMs: number }> {
    for (;;) {
      const time = this.knownServerTime();
      if (time !== undefined) return time;
      await this.call({ method: 'GET', path: '/version' });
    }
  }
  knownServerTime(): { readonly lowMs: number; readonly highMs: number } | undefined {
    return this.#serverClock.at(this.#options.clock.monotonicMs());
  }

  async #read(refused: Access | undefined): Promise<Access> {
    try {
      return await this.#access.read(refused);
    } catch (error) {
      throw this.#fail(error, CREDENTIALS);
    }
  }
  async #callOnce(access: Access, call: Call, reader?: Reader): Promise<unknown> {
    const sentMs = this.#options.clock.monotonicMs();
    const answer = await this.#wire.call(
      access,
      this.#askOf(access, call),
      reader && ((part) => reader.take(part)),
    );
    this.#observe(answer.headers.date, sentMs);
    if (answer.status < 200 || answer.status > 299) throw refusalOf(answer);
    return reader === undefined ? parseBody(answer.body) : reader.end();
  }
  #askOf({ token }: Access, call: Call): Ask {
    const { method, path, query = {}, body, contentType = 'application/json' } = call;
    const closed = this.#closed.signal;
    return {
      method,
      path: path + formatQuery(query),
      headers: {
        accept: call.accept ?? 'application/json',
        'user-agent': FIELD_MANAGER,
        ...(body === undefined ? {} : { 'content-type': contentType }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      timeoutMs: this.#options.settings.requestTimeoutSeconds * 1000,
      signal: call.signal === undefined ? closed : AbortSignal.any([call.signal, closed]),
    };
  }
  #observe(date: string | undefined, sentMs: number): void {
    const receivedMs = this.#options.clock.monotonicMs();
    this.#serverClock.observe({ dateMs: Date.parse(date ?? ''), sentMs, receivedMs });
  }

  #mayRetry(error: unknown, attempt: number, { signal }: Call): boolean {
    if (this.#closed.signal.aborted || signal?.aborted === true || !isPassing(error)) return false;
    return attempt < (isStatus(error, 429) ? BUSY_ATTEMPTS : ATTEMPTS);
  }
  #wait(error: unknown, attempt: number): Promise<void> {
    const asked = error instanceof KubernetesError ? (error.retryAfterMs ?? 0) : 0;
    // Many are told the same: they do not all come at once.
    const waitMs = Math.min(asked, MAX_WAIT_MS) * (1 + Math.random() / 2);
    const ms = Math.max(waitMs, backoffMs(RETRY, attempt - 1, Math.random()));
    return this.#options.clock.sleep(ms, this.#closed.signal);
  }
  #answers(call: Call): void {
    const over = [...this.#troubles].filter(([, trouble]) => isOver(trouble, call));
    for (const [key] of over) this.#troubles.delete(key);
    if (over.length > 0) this.#options.notice('the API server answers again');
  }
  #fail(error: unknown, where: string): Error {
    const failure = faultOf(error, where);
    if (!(failure instanceof Fault)) return failure;
    const trouble = { code: failure.code, where };
    const key = failure.code === 'store-refused' ? `${failure.code} ${where}` : failure.code;
    if (!this.#troubles.has(key) && !this.#closed.signal.aborted) {
      this.#troubles.set(key, trouble);
      this.#options.notice([failure.message, failure.details].filter((text) => text !== '').join(': '));
    }
    return failure;
  }
}

type Trouble = { readonly code: FaultCode; readonly where: string };

/** Who is refused one thing is answered others; and reading says nothing of whether there is space. */
function isOver({ code, where }: Trouble, { method, path }: Call): boolean {
  if (code === 'store-refused') return where === path || where === CREDENTIALS;
  return code !== 'store-full' || method !== 'GET';
}

function formatQuery(query: Query): string {
  const words = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(value)}`],
  );
  return words.length === 0 ? '' : `?${words.join('&')}`;
}
