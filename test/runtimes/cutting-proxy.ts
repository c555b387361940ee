/** A TCP proxy on loopback that cuts: connections as they are, new ones, or each after so many bytes of answers. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export type CuttingProxy = AsyncDisposable & {
  readonly port: number;
  /** New connections end at once. */
  refuse(isRefused: boolean): void;
  /** Ends all connections there are. */
  cut(): void;
  /** What is sent arrives, in both directions, when it is held no more: a partition of the network. */
  hold(isHeld: boolean): void;
  /** Each connection ends after so many bytes from the server; undefined: none does. Answers are cut within a line too. */
  cutAfter(bytes: (() => number) | undefined): void;
  /** Connections that were cut. */
  readonly cuts: () => number;
};

export async function startProxy(target: number): Promise<CuttingProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let [isRefused, isHeld, cuts] = [false, false, 0];
  const carry = ([client, upstream]: readonly [Socket, Socket]): void => {
    if (isHeld) client.unpipe(upstream).pause();
    else client.pipe(upstream);
    upstream[isHeld ? 'pause' : 'resume']();
  };
  let limit: (() => number) | undefined;
  const server = createServer((client) => {
    if (isRefused) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(target, '127.0.0.1');
    const pair = [client, upstream] as const;
    pairs.add(pair);
    const end = (): void => {
      pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) socket.setNoDelay().on('error', end).on('close', end);
    let left = limit?.() ?? Infinity;
    upstream.on('data', (bytes: Buffer) => {
      client.write(bytes.subarray(0, left));
      left -= bytes.length;
      if (left > 0) return;
      cuts += 1;
      client.end(() => end());
    });
    carry(pair);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const cut = (): void => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
  };
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    refuse: (refused) => (isRefused = refused),
    cut,
    hold: (held) => {
      isHeld = held;
      pairs.forEach(carry);
    },
    cutAfter: (bytes) => (limit = bytes),
    cuts: () => cuts,
    [Symbol.asyncDispose]: async () => {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
