/**
 * An HTTP proxy on loopback before etcd's gateway that repeats itself: lines of a watch come twice, old ones again, and
 * answers to calls after a while, so that later calls are answered earlier.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

export type EchoingProxy = AsyncDisposable & {
  readonly port: number;
  readonly echoes: () => number;
  /** Answers to this path are not passed on: what was asked is done, and nobody hears of it. */
  lose(path: string | undefined): void;
  readonly losses: () => number;
  /** Of what is open nothing more is passed on, as if the process behind it hung. */
  hush(): void;
};

export async function startEchoingProxy(target: number): Promise<EchoingProxy> {
  let echoes = 0;
  let losses = 0;
  let lost: string | undefined;
  const open = new Set<IncomingMessage>();
  const server = createServer((asked, answer) => {
    const options = { host: '127.0.0.1', port: target, path: asked.url, method: asked.method, agent: false };
    const upstream = request({ ...options, headers: asked.headers }, (response) => {
      if (asked.url === lost) {
        losses += 1;
        answer.destroy();
        return;
      }
      open.add(response);
      response.on('close', () => open.delete(response));
      answer.writeHead(response.statusCode ?? 502, { 'content-type': 'application/json' });
      const passed =
        asked.url === '/v3/watch' ? repeat(response, answer, () => (echoes += 1)) : late(response, answer);
      passed.catch(() => answer.destroy());
    });
    upstream.on('error', () => answer.destroy());
    answer.on('close', () => upstream.destroy());
    asked.pipe(upstream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    echoes: () => echoes,
    lose: (path) => (lost = path),
    losses: () => losses,
    hush: () => open.forEach((response) => response.socket.pause()),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** What a stream begins with comes once. */
const isChange = (line: string): boolean => /"events"|"type":"(?:ADDED|MODIFIED|DELETED)"/.test(line);

export async function repeat(response: Readable, answer: Writable, onEcho: () => void): Promise<void> {
  const told: string[] = [];
  let rest = '';
  response.setEncoding('utf8');
  for await (const text of response as AsyncIterable<string>) {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const old = told[Math.floor(Math.random() * told.length)];
      for (const each of [line, line, ...(old === undefined ? [] : [old])]) answer.write(`${each}\n`);
      if (isChange(line)) told.push(line);
      onEcho();
    }
  }
  answer.end();
}

export async function late(response: Readable, answer: Writable): Promise<void> {
  const parts: Buffer[] = [];
  for await (const part of response as AsyncIterable<Buffer>) parts.push(part);
  await sleep(Math.random() * 30);
  answer.end(Buffer.concat(parts));
}
