/**
 * As ./echoing-proxy.ts, before an API server: HTTP/2 in plain text on loopback, on to the server over TLS. It can also lose
 * the answers to calls, as many as it is told to.
 */
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect, createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { late, repeat } from './echoing-proxy.ts';

export type EchoingApi = AsyncDisposable & {
  readonly url: string;
  readonly echoes: () => number;
  /** The answers to the next so many calls of this method are not passed on: what was asked is done, and nobody hears of it. */
  lose(method: string, times: number): void;
};

export async function startEchoingApi(url: string, caFile: string): Promise<EchoingApi> {
  const upstream = connect(url, { ca: readFileSync(caFile) });
  let echoes = 0;
  const lost = new Map<string, number>();
  const pass = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    const { ':authority': _, ':scheme': __, ...kept } = headers;
    const asked = upstream.request(kept, { endStream: false });
    asked.on('error', () => stream.close());
    stream.on('error', () => asked.close());
    stream.on('close', () => asked.close());
    asked.on('response', ({ ':status': status, date, 'content-type': type }) => {
      const left = lost.get(String(headers[':method'])) ?? 0;
      if (left > 0) {
        lost.set(String(headers[':method']), left - 1);
        stream.close();
        return;
      }
      stream.respond({ ':status': status, ...(date === undefined ? {} : { date }), 'content-type': type });
      const isWatch = String(headers[':path']).includes('watch=true');
      const passed = isWatch ? repeat(asked, stream, () => (echoes += 1)) : late(asked, stream);
      passed.catch(() => stream.close());
    });
    stream.pipe(asked);
  };
  const server = createServer();
  server.on('stream', pass);
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
    echoes: () => echoes,
    lose: (method, times) => void lost.set(method, times),
    [Symbol.asyncDispose]: async () => {
      upstream.destroy();
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
