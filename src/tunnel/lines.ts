/** Requests and answers as lines of JSON over a unix socket: the tunnel's process, and who gives it orders. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Answer, Failed, Request } from './order.ts';
import type { TunnelEvent } from './tunnel.ts';

type Numbered = Request & { readonly id: number };

export type LineServer = {
  tell(event: TunnelEvent): void;
  /** The path is free at once; what was written is still sent, and then it resolves. */
  close(): Promise<void>;
};

/** Answers requests, those of one connection in their order. */
export async function serveLines(
  path: string,
  answer: (request: Request) => Promise<unknown>,
): Promise<LineServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
    void answerAll(socket, answer);
  });
  await listen(server, path);
  return {
    tell: (event) => {
      for (const socket of sockets) write(socket, { event });
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroySoon();
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => resolve());
  });
}

function write(socket: Socket, answer: Answer): void {
  if (socket.writable) socket.write(`${JSON.stringify(answer)}\n`);
}

async function answerAll(socket: Socket, answer: (request: Request) => Promise<unknown>): Promise<void> {
  try {
    for await (const line of createInterface({ input: socket })) {
      const { id, ...request } = JSON.parse(line) as Numbered;
      try {
        write(socket, { id, value: (await answer(request)) ?? null });
      } catch (error) {
        write(socket, { id, failed: failedBy(error) });
      }
    }
  } catch {
    socket.destroy();
  }
}

function failedBy(error: unknown): Failed {
  if (!(error instanceof Error)) return { code: 'EIO', message: String(error) };
  return { code: 'code' in error ? String(error.code) : 'EINVAL', message: error.message };
}

/** What the other side refused to do. */
export class Refused extends Error {
  readonly code: string;
  constructor({ code, message }: Failed) {
    super(message);
    this.name = 'Refused';
    this.code = code;
  }
}

export type LineClient = {
  /** Throws Refused, or an Error when the connection ends first. */
  ask<T>(request: Request): Promise<T>;
  /** Resolves when the connection has ended. */
  readonly closed: Promise<void>;
  close(): void;
};

type Waiting = { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void };

/** Rejects when nobody listens. */
export async function openLines(path: string, onEvent: (event: TunnelEvent) => void): Promise<LineClient> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  const waiting = new Map<number, Waiting>();
  let last = 0;
  const take = (line: string): void => {
    const answer = JSON.parse(line) as Answer;
    if ('event' in answer) return onEvent(answer.event);
    const { resolve, reject } = waiting.get(answer.id) ?? {};
    waiting.delete(answer.id);
    if ('failed' in answer) reject?.(new Refused(answer.failed));
    else resolve?.(answer.value);
  };
  // It tells of the socket's errors too.
  createInterface({ input: socket })
    .on('line', take)
    .on('error', () => socket.destroy());
  socket.on('error', () => socket.destroy());
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => {
      for (const { reject } of waiting.values()) reject(new Error('the tunnel’s process has ended'));
      resolve();
    });
  });
  return {
    closed,
    close: () => socket.destroy(),
    ask: <T>(request: Request) =>
      new Promise<T>((resolve, reject) => {
        if (socket.destroyed) return reject(new Error('the tunnel’s process has ended'));
        last += 1;
        waiting.set(last, { resolve: resolve as (value: unknown) => void, reject });
        socket.write(`${JSON.stringify({ id: last, ...request })}\n`);
      }),
  };
}
