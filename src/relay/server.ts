/**
 * Where readers come to: HTTP/2 with TLS, one stream for each kind that is followed. Nobody hears anything whom the gate has
 * not let in. All that a stranger or a slow reader can take up is bounded.
 */
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from 'node:http2';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Credentials } from './certificate.ts';
import type { Gate } from './gate.ts';
import type { Followed, Logs } from './logs.ts';
import { Reader } from './reader.ts';
import type { Clock } from '#lib/clock.ts';
import { type Known, NOW_HEADER, parsePath, type Wanted } from '#stores/relay/lines.ts';
import { STORE_KINDS } from '#stores/store.ts';

export type ServerOptions = {
  readonly credentials: Credentials;
  readonly logs: Logs;
  readonly gate: Gate;
  readonly clock: Clock;
  /** Connections; each agent has one. */
  readonly maxReaders: number;
  /** A reader that takes nothing for so long is cut. */
  readonly slowMs?: number;
  /** A connection ends after once to twice as long: so readers come to be spread over the relays that there are. */
  readonly lifeMs?: number;
  readonly onCut?: () => void;
  readonly onRefused?: (status: number) => void;
};

const SLOW_MS = 30_000;
const LIFE_MS = 20 * 60_000;
/** By then a stranger has to have said what he wants, and a log to have been read. */
const FIRST_MS = 10_000;
const READY_MS = 8000;
const MAX_STREAMS = 32;
/** What a reader knows of a kind: names and versions of 100,000 objects. */
const MAX_KNOWN = 8 << 20;

export class RelayServer {
  readonly #options: Required<ServerOptions>;
  readonly #server: Http2SecureServer;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #readers = new Set<Reader>();
  readonly #guard: NodeJS.Timeout;

  constructor(options: ServerOptions) {
    const nothing = (): void => undefined;
    this.#options = { slowMs: SLOW_MS, lifeMs: LIFE_MS, onCut: nothing, onRefused: nothing, ...options };
    this.#server = createSecureServer({
      ...options.credentials,
      minVersion: 'TLSv1.3',
      handshakeTimeout: FIRST_MS,
      settings: { maxConcurrentStreams: MAX_STREAMS, enablePush: false },
    });
    this.#server.on('session', (session) => this.#onSession(session));
    this.#server.on('stream', (stream, headers) => this.#onStream(stream, headers));
    this.#server.on('connection', (socket: Socket) => socket.setKeepAlive(true, FIRST_MS));
    this.#server.maxConnections = 2 * options.maxReaders;
    // Strangers may say anything: their connections end, and no more.
    this.#server.on('sessionError', nothing);
    this.#server.on('tlsClientError', nothing);
    this.#guard = setInterval(() => this.#cutSlow(), this.#options.slowMs / 4).unref();
  }
  /** By connections, and by what they follow. */
  get counts(): { readonly sessions: number; readonly readers: number } {
    return { sessions: this.#sessions.size, readers: this.#readers.size };
  }

  /** Answers the port. Rejects where nothing can listen. */
  async listen(host: string, port: number): Promise<number> {
    const options = { host, port };
    await new Promise<void>((resolve, reject) => this.#server.once('error', reject).listen(options, resolve));
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  }
  /** Readers are let go one by one, so that they do not come elsewhere all at once. */
  async close(withinMs: number): Promise<void> {
    this.#server.close();
    const { clock } = this.#options;
    const sessions = [...this.#sessions];
    for (const session of sessions) {
      endSession(session);
      await clock.sleep(withinMs / sessions.length);
    }
    clearInterval(this.#guard);
    for (const session of this.#sessions) session.destroy();
  }

  #onSession(session: ServerHttp2Session): void {
    if (this.#sessions.size >= this.#options.maxReaders) return session.destroy();
    this.#sessions.add(session);
    const idle = setTimeout(() => session.destroy(), FIRST_MS).unref();
    const lifeMs = this.#options.lifeMs * (1 + Math.random());
    const life = setTimeout(() => endSession(session), lifeMs).unref();
    session.once('stream', () => clearTimeout(idle));
    session.on('error', () => undefined);
    session.on('close', () => {
      clearTimeout(idle);
      clearTimeout(life);
      this.#sessions.delete(session);
    });
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on('error', () => undefined);
    this.#answer(stream, headers).catch(() => stream.destroy());
  }
  async #answer(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const wanted = wantedOf(headers);
    if (wanted === undefined) return this.#refuse(stream, 404, 'there is nothing of that name');
    const { status, reason } = await this.#options.gate.admit(tokenOf(headers), wanted);
    if (status !== 200) return this.#refuse(stream, status, reason);
    const known = await readKnown(stream);
    if (known === undefined) return this.#refuse(stream, 400, 'what the reader knows cannot be read');
    const followed = this.#options.logs.of(wanted);
    await this.#begun(followed, stream);
    if (stream.destroyed) return;
    const { away = followed.log.isSynced ? followed.lost : 'all is not read yet' } = followed.log;
    if (away !== undefined) return this.#refuse(stream, 503, away);
    this.#serve(stream, followed, known);
  }
  #serve(stream: ServerHttp2Stream, followed: Followed, known: Known): void {
    const { clock } = this.#options;
    stream.respond({ ':status': 200, [NOW_HEADER]: String(clock.nowMs()) });
    const reader = new Reader(stream, followed, { known, now: () => clock.monotonicMs() });
    this.#readers.add(reader);
    stream.on('close', () => this.#readers.delete(reader));
  }
  #refuse(stream: ServerHttp2Stream, status: number, reason: string): void {
    if (stream.destroyed) return;
    this.#options.onRefused(status);
    stream.respond({ ':status': status });
    stream.end(`${reason}\n`);
  }

  /** Waits for a log's first snapshot, not for long. */
  async #begun({ log, round }: Followed, stream: ServerHttp2Stream): Promise<void> {
    if (log.isSynced) return;
    const stop = new AbortController();
    const wake = (): void => {
      if (log.isSynced) stop.abort();
    };
    const leave = (): void => stop.abort();
    stream.once('close', leave);
    round.readers.add(wake);
    await this.#options.clock.sleep(READY_MS, stop.signal);
    round.readers.delete(wake);
    stream.off('close', leave);
  }

  #cutSlow(): void {
    const { clock, slowMs, onCut } = this.#options;
    const since = clock.monotonicMs() - slowMs;
    for (const reader of this.#readers) {
      if ((reader.blockedSinceMs ?? Infinity) > since) continue;
      onCut();
      this.#readers.delete(reader);
      reader.cut();
    }
  }
}

function endSession(session: ServerHttp2Session): void {
  if (session.destroyed) return;
  session.goaway();
  session.destroy();
}

function wantedOf(headers: IncomingHttpHeaders): Wanted | undefined {
  const wanted = headers[':method'] === 'POST' ? parsePath(headers[':path'] ?? '') : undefined;
  return wanted !== undefined && STORE_KINDS.includes(wanted.kind) ? wanted : undefined;
}

function tokenOf({ authorization }: IncomingHttpHeaders): string {
  return /^Bearer (\S{1,8192})$/.exec(authorization ?? '')?.[1] ?? '';
}

/** Undefined: it is too long, or says something else. */
async function readKnown(stream: ServerHttp2Stream): Promise<Known | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of stream as AsyncIterable<Buffer>) {
    parts.push(part);
    bytes += part.length;
    if (bytes > MAX_KNOWN) return undefined;
  }
  try {
    const known = JSON.parse(Buffer.concat(parts).toString('utf8') || '{}') as unknown;
    return typeof known === 'object' && known !== null ? (known as Known) : undefined;
  } catch {
    return undefined;
  }
}
