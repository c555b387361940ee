import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2';
import type { Access } from './access.ts';
import { LateError, LengthError } from './refusal.ts';

/**
 * HTTP/2 to the API server: all calls and watches of an agent share one connection, which is made when it is needed and
 * again when it has ended, when the server wants another (GOAWAY), or when certificates were exchanged. Who is silent is
 * asked by a ping, so that a server that hangs, or is gone without a word, is noticed.
 */
export type Ask = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** Without a byte for so long, the call has failed. Of a stream: until its head is there. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
};

export type Answer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
};

export type LineStream = Omit<Answer, 'body'> & {
  /** Of the connection: another number, and it is another one. */
  readonly connection: number;
  readonly lines: AsyncGenerator<string, void>;
  /** Also when no line was asked for. */
  readonly close: () => void;
  /** The rest, where it is no stream of lines but a refusal. */
  readonly text: () => Promise<string>;
};

/** Nothing that is kept for agents comes near. */
const MAX_BODY = 256 << 20;
const MAX_LINE = 16 << 20;
/** From one ping to the next, in the time that an answer may take. */
const PING_TIMES = 1.5;
const WINDOW = { stream: 1 << 20, connection: 8 << 20 } as const;

type Connection = {
  readonly number: number;
  readonly access: Access;
  readonly session: Promise<ClientHttp2Session>;
};

export class Wire {
  readonly #open = new Set<ClientHttp2Session>();
  #current: Connection | undefined;
  #count = 0;
  #isClosed = false;

  close(): void {
    this.#isClosed = true;
    for (const session of this.#open) session.destroy();
  }
  /** The connection that is in use, or was. */
  get connection(): number {
    return this.#count;
  }

  /** Throws what the socket throws, LateError or LengthError. `take`: gets the body of status 200, which is then empty. */
  async call(access: Access, ask: Ask, take?: (part: Buffer) => void): Promise<Answer> {
    const { stream, headers, arrived } = await this.#ask(access, ask);
    const status = Number(headers[':status']);
    try {
      const body =
        status === 200 && take !== undefined
          ? await readBody(stream, arrived, take).then(() => '')
          : await readText(stream, arrived);
      return { status, headers, body };
    } finally {
      arrived(true);
      stream.destroy();
    }
  }

  /** As `call`; the lines end, or throw, with the connection. */
  async stream(access: Access, ask: Ask): Promise<LineStream> {
    const { stream, headers, arrived } = await this.#ask(access, ask);
    arrived(true);
    return {
      status: Number(headers[':status']),
      headers,
      connection: this.#count,
      lines: linesOf(stream),
      close: () => stream.destroy(),
      text: () => readText(stream, () => undefined),
    };
  }

  async #ask(access: Access, ask: Ask): Promise<Asked> {
    const session = await this.#session(access, ask.timeoutMs);
    return new Promise((resolve, reject) => {
      const stream = this.#request(session, ask);
      const late = (): void =>
        void stream.destroy(new LateError(`no answer within ${ask.timeoutMs / 1000} s`));
      let timer = setTimeout(late, ask.timeoutMs);
      const arrived = (isLast?: true): void => {
        clearTimeout(timer);
        if (isLast !== true) timer = setTimeout(late, ask.timeoutMs);
      };
      stream.on('response', (headers) => resolve({ stream, headers, arrived }));
      stream.on('error', (error) => {
        arrived(true);
        reject(error);
      });
      stream.on('close', () => {
        arrived(true);
        reject(new Error('the connection has ended'));
      });
      stream.end(ask.body);
    });
  }
  #request(session: ClientHttp2Session, { method, path, headers, body, signal }: Ask): ClientHttp2Stream {
    const head = { ':method': method, ':path': path, ...headers };
    return session.request(head, {
      endStream: body === undefined,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  #session(access: Access, timeoutMs: number): Promise<ClientHttp2Session> {
    if (this.#isClosed) throw new Error('the store is closed');
    const current = this.#current;
    if (current !== undefined && isSameWay(current.access, access)) return current.session;
    // What is under way on the old one goes on there.
    void current?.session.then((session) => session.close()).catch(() => undefined);
    this.#count += 1;
    const made: Connection = {
      number: this.#count,
      access,
      session: this.#connect(access, timeoutMs, () => {
        if (this.#current === made) this.#current = undefined;
      }),
    };
    this.#current = made;
    return made.session;
  }
  #connect(access: Access, timeoutMs: number, forget: () => void): Promise<ClientHttp2Session> {
    const { server, serverName, ca, cert, key } = access;
    const session = connect(server, {
      settings: { enablePush: false, initialWindowSize: WINDOW.stream },
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
      ...(serverName === undefined ? {} : { servername: serverName }),
    });
    this.#open.add(session);
    return new Promise((resolve, reject) => {
      const late = (): void => session.destroy(new LateError(`no connection within ${timeoutMs / 1000} s`));
      const timer = setTimeout(late, timeoutMs);
      const ping = (): void => guardSession(session, timeoutMs);
      const guard = setInterval(ping, PING_TIMES * timeoutMs).unref();
      session.on('connect', () => {
        clearTimeout(timer);
        session.setLocalWindowSize(WINDOW.connection);
        resolve(session);
      });
      session.on('goaway', forget);
      session.on('error', (error) => {
        forget();
        reject(error);
      });
      session.on('close', () => {
        clearTimeout(timer);
        clearInterval(guard);
        this.#open.delete(session);
        forget();
        reject(new Error('the connection has ended'));
      });
    });
  }
}

type Asked = {
  readonly stream: ClientHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  /** Begins the time anew, or ends it. */
  readonly arrived: (isLast?: true) => void;
};

/** A token is sent with each request; the rest belongs to the connection. */
function isSameWay(a: Access, b: Access): boolean {
  return (['server', 'serverName', 'ca', 'cert', 'key'] as const).every((field) => a[field] === b[field]);
}

/** One that does not answer a ping in time is given up. */
function guardSession(session: ClientHttp2Session, timeoutMs: number): void {
  if (session.destroyed || session.connecting) return;
  let isAnswered = false;
  const isSent = session.ping((error) => (isAnswered = error === null));
  const check = (): void => {
    if (!isAnswered && !session.destroyed)
      session.destroy(
        new LateError(`no answer to a ping within ${timeoutMs / 1000} s`),
        constants.NGHTTP2_CANCEL,
      );
  };
  if (isSent) setTimeout(check, timeoutMs).unref();
}

async function readText(stream: ClientHttp2Stream, arrived: () => void): Promise<string> {
  const parts: Buffer[] = [];
  await readBody(stream, arrived, (part) => parts.push(part));
  return Buffer.concat(parts).toString('utf8');
}

async function readBody(
  stream: ClientHttp2Stream,
  arrived: () => void,
  take: (part: Buffer) => void,
): Promise<void> {
  let bytes = 0;
  for await (const part of stream as AsyncIterable<Buffer>) {
    arrived();
    bytes += part.length;
    if (bytes > MAX_BODY) throw new LengthError(`an answer is larger than ${MAX_BODY} bytes`);
    take(part);
  }
}

/** What stands after the last end of a line was cut off, and is nothing. */
async function* linesOf(stream: ClientHttp2Stream): AsyncGenerator<string, void> {
  stream.setEncoding('utf8');
  let rest = '';
  for await (const text of stream as AsyncIterable<string>) {
    const lines = text.split('\n');
    lines[0] = rest + (lines[0] ?? '');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE) throw new LengthError(`a line is larger than ${MAX_LINE} bytes`);
    yield* lines;
  }
}
