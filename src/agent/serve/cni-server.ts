/**
 * The socket that CNI executables talk to, and the spool of DELs that found no agent. One request a connection: it
 * ends when the executable has said everything, and is answered with an exit code and standard output.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import type { Logger } from '#lib/log.ts';
import type { Metrics } from '../metrics.ts';
import { encodeError } from '#cni/error.ts';
import { decodeMessage, encodeReply, type Message } from '#cni/message.ts';
import { peerOf, takeWaiting } from '#kernel/peer.ts';
import { type Fault, toFault } from '#model/fault.ts';

const REQUEST_MAX = 6 << 20;
const IDLE_MS = 120_000;

/** Standard output of a request; throws a Fault for what the executable shall report. `peer` is the caller's process. */
export type Handle = (message: Message, pid?: number) => Promise<string>;

export type CniServerOptions = {
  readonly path: string;
  readonly handle: Handle;
  /** cniVersion to be used in an error about this message. */
  readonly versionOf: (message: Message) => Parameters<typeof encodeError>[1];
  readonly log: Logger;
  readonly metrics: Metrics;
};

export async function serveCni(options: CniServerOptions): Promise<Server> {
  mkdirSync(dirname(options.path), { recursive: true, mode: 0o700 });
  rmSync(options.path, { force: true });
  const half = { allowHalfOpen: true, pauseOnConnect: true };
  const server = createServer(half, (socket) => receive(options, socket));
  const before = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(options.path, resolve));
  } finally {
    process.umask(before);
  }
  chmodSync(options.path, 0o600);
  return server;
}

/**
 * The executable connects, says everything and ends within microseconds, so by now all of it waits as a rule: it is taken
 * at once, and so is the answer's end told. Streams would take three turns of the loop, each with its share of kernel
 * events, on the way of a pod's start.
 */
function receive(options: CniServerOptions, socket: Socket): void {
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  const caller = peerOf(fd);
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on('error', (error) => options.log.debug({ error: error.message }, 'a CNI connection broke'));
  const reply = (request: Buffer): void => {
    void answer(options, request, caller?.pid).then((text) => send(socket, text));
  };
  const { bytes, ended } = takeWaiting(fd, REQUEST_MAX);
  if (ended) return reply(bytes);
  const chunks = [bytes];
  let size = bytes.length;
  socket.on('data', (chunk) => {
    size += chunk.length;
    if (size > REQUEST_MAX) socket.destroy();
    else chunks.push(chunk);
  });
  socket.on('end', () => reply(Buffer.concat(chunks)));
  socket.resume();
}

function send(socket: Socket, text: string): void {
  socket.end(text);
  if (socket.writableLength === 0) socket.destroy();
  else socket.resume();
}

/** Never throws: what goes wrong becomes an error object. */
export async function answer(options: CniServerOptions, bytes: Uint8Array, pid?: number): Promise<string> {
  const started = performance.now();
  let verb = 'none';
  let message: Message | undefined;
  try {
    message = decodeMessage(bytes);
    verb = message.env['CNI_COMMAND'] ?? 'none';
    const stdout = await options.handle(message, pid);
    observe(options, { verb, code: '0', started });
    return encodeReply(0, stdout);
  } catch (error) {
    const fault = toFault(error);
    observe(options, { verb, code: String(fault.cni), started });
    const level = fault.code === 'internal' ? 'error' : 'warn';
    options.log[level](
      { verb, code: fault.code, container: message?.env['CNI_CONTAINERID'] },
      describe(fault),
    );
    return encodeReply(1, encodeError(fault, message === undefined ? undefined : options.versionOf(message)));
  }
}

function describe(fault: Fault): string {
  const stack = fault.code === 'internal' && fault.cause instanceof Error ? ` ${fault.cause.stack}` : '';
  return `${fault.message}${fault.details === '' ? '' : `: ${fault.details.replaceAll('\n', '; ')}`}${stack}`;
}

const VERBS = new Set(['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION']);

function observe(options: CniServerOptions, done: { verb: string; code: string; started: number }): void {
  const verb = VERBS.has(done.verb) ? done.verb : 'other';
  options.metrics.cniSeconds.observe({ verb, code: done.code }, (performance.now() - done.started) / 1000);
}

/**
 * Does the DELs that were spooled while the agent was away, oldest first; a file goes when its DEL is done. One of
 * another framing is set aside: the executable of another release wrote it, and that release can read it.
 */
export async function drainSpool(options: CniServerOptions): Promise<number> {
  const directory = join(dirname(options.path), 'spool');
  let done = 0;
  for (const name of listSpool(directory)) {
    const path = join(directory, name);
    if (statSync(path).size > REQUEST_MAX) continue;
    const bytes = readFileSync(path);
    if (!isReadable(bytes)) {
      options.log.warn({ name }, 'a spooled DEL is of another version, or cut off; it is set aside');
      renameSync(path, `${path}.unread`);
      continue;
    }
    const reply = await answer(options, bytes);
    if (!reply.startsWith('0'))
      options.log.warn({ name, reply: reply.slice(1, 300) }, 'a spooled DEL failed');
    rmSync(path, { force: true });
    done += 1;
  }
  return done;
}

function isReadable(bytes: Uint8Array): boolean {
  try {
    decodeMessage(bytes);
    return true;
  } catch {
    return false;
  }
}

function listSpool(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith('.del'))
      .sort();
  } catch {
    return [];
  }
}
