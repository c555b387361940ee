/** A relay in this process, on loopback, before any store; whoever has the token may read. */
import { makeCredentials } from '../certificate.ts';
import type { Gate } from '../gate.ts';
import { Logs } from '../logs.ts';
import { RelayServer, type ServerOptions } from '../server.ts';
import { systemClock } from '#lib/clock.ts';
import type { RelayAdvert } from '#model/relay.ts';
import type { Store } from '#stores/store.ts';

export const TOKEN = 'a-token';

export type TestRelay = AsyncDisposable & {
  readonly server: RelayServer;
  readonly advert: RelayAdvert;
  readonly logs: Logs;
};

export async function startRelay(
  store: Pick<Store, 'watch'>,
  options: Partial<ServerOptions> = {},
): Promise<TestRelay> {
  const credentials = makeCredentials();
  const nothing = (): void => undefined;
  const gate: Gate = {
    admit: async (token) => (token === TOKEN ? IN : { status: 401, reason: 'the token is not known' }),
  };
  const logs = new Logs({ store, clock: systemClock, warn: nothing, onEvent: nothing });
  const server = new RelayServer({
    credentials,
    logs,
    gate,
    clock: systemClock,
    maxReaders: 100,
    ...options,
  });
  const port = await server.listen('127.0.0.1', 0);
  return {
    server,
    logs,
    advert: { address: '127.0.0.1', port, certificate: credentials.cert, version: 'test' },
    async [Symbol.asyncDispose]() {
      logs.close();
      await server.close(0);
    },
  };
}
const IN = { status: 200, reason: '' } as const;
