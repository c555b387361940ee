import { readFileSync } from 'node:fs';
import {
  Agent as HttpAgent,
  type ClientRequest,
  type IncomingMessage,
  request as requestHttp,
} from 'node:http';
import { Agent as HttpsAgent, type AgentOptions, request as requestHttps } from 'node:https';
import type { EtcdSettings } from '#model/settings.ts';

/**
 * HTTP to one endpoint of etcd: a POST of JSON, answered whole or as a stream of lines. Certificates are read again when
 * a request fails, so that new ones are used without a restart.
 */
export type Post = {
  readonly endpoint: string;
  readonly path: string;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Until the answer (of a stream: its first line) is there. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
};

export type Answer = { readonly status: number; readonly body: string };

/** A process that hangs keeps its connections and answers nothing. */
export class LateError extends Error {}

/** A dead peer is noticed after about this and ten seconds more. */
const KEEPALIVE_MS = 10_000;
/** Calls at the same time; more wait. Watches have connections of their own. */
const POOL = { keepAlive: true, maxSockets: 32 } as const;

type Tls = Pick<AgentOptions, 'ca' | 'cert' | 'key'>;

export class Wire {
  readonly #settings: EtcdSettings;
  readonly #open = new Set<ClientRequest>();
  readonly #http = new HttpAgent(POOL);
  #https: { readonly agent: HttpsAgent; readonly tls: Tls } | undefined;

  constructor(settings: EtcdSettings) {
    this.#settings = settings;
  }
  close(): void {
    for (const request of this.#open) request.destroy();
    this.#http.destroy();
    this.#https?.agent.destroy();
  }

  /** Throws what the socket throws. */
  async call(post: Post): Promise<Answer> {
    const { response, arrived } = await this.#post(post, true);
    try {
      let body = '';
      response.setEncoding('utf8');
      for await (const text of response as AsyncIterable<string>) body += text;
      return { status: response.statusCode ?? 0, body };
    } finally {
      arrived();
    }
  }

  /** `arrived` ends the timeout; the lines end, or throw, with the connection. */
  async stream(post: Post): Promise<{ lines: AsyncIterable<string>; arrived: () => void }> {
    const { response, arrived } = await this.#post(post, false);
    return { lines: linesOf(response), arrived };
  }

  #post(post: Post, isCall: boolean): Promise<{ response: IncomingMessage; arrived: () => void }> {
    return new Promise((resolve, reject) => {
      const { request, arrived } = this.#request(post, isCall);
      request.on('error', (error) => {
        arrived();
        this.#refreshTls();
        reject(error);
      });
      request.on('close', () => this.#open.delete(request));
      request.on('response', (response) => resolve({ response, arrived }));
      request.setSocketKeepAlive(true, KEEPALIVE_MS);
      request.end(JSON.stringify(post.body));
    });
  }
  #request(post: Post, isCall: boolean): { request: ClientRequest; arrived: () => void } {
    const { endpoint, path, headers = {}, timeoutMs, signal } = post;
    const isUnix = endpoint.startsWith('unix:');
    const url = new URL(path, isUnix ? 'http://localhost' : endpoint);
    const isTls = url.protocol === 'https:';
    const options = {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      ...(isUnix ? { socketPath: endpoint.replace(/^unix:(?:\/\/)?/, '') } : {}),
      ...(signal === undefined ? {} : { signal }),
    };
    const request = isTls
      ? requestHttps(url, { ...options, ...this.#tls, agent: isCall ? this.#pool.agent : false })
      : requestHttp(url, { ...options, agent: isCall ? this.#http : false });
    this.#open.add(request);
    const late = (): void => void request.destroy(new LateError(`no answer within ${timeoutMs / 1000} s`));
    const timer = setTimeout(late, timeoutMs);
    return { request, arrived: () => clearTimeout(timer) };
  }

  get #pool(): { readonly agent: HttpsAgent; readonly tls: Tls } {
    if (this.#https === undefined) {
      const tls = readTls(this.#settings);
      this.#https = { agent: new HttpsAgent({ ...POOL, ...tls }), tls };
    }
    return this.#https;
  }
  get #tls(): Tls {
    return this.#pool.tls;
  }
  /** Calls that are under way keep their connections; files that are being exchanged are read the next time. */
  #refreshTls(): void {
    if (this.#https === undefined) return;
    try {
      const now = readTls(this.#settings);
      if (JSON.stringify(now) !== JSON.stringify(this.#https.tls)) this.#https = undefined;
    } catch {
      // What was read before still counts.
    }
  }
}

/** Throws when a file cannot be read. */
function readTls({ caFile, certFile, keyFile }: EtcdSettings): Tls {
  const read = (name: string, file: string | undefined): Tls =>
    file === undefined ? {} : { [name]: readFileSync(file, 'utf8') };
  return { ...read('ca', caFile), ...read('cert', certFile), ...read('key', keyFile) };
}

async function* linesOf(response: IncomingMessage): AsyncGenerator<string, void> {
  response.setEncoding('utf8');
  let rest = '';
  for await (const text of response as AsyncIterable<string>) {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}
