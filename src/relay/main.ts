/** Starts and stops a relay: one of any number, which know nothing of each other (docs/decisions/0020-relay.md). */
import { randomBytes } from 'node:crypto';
import type { Server } from 'node:http';
import { hostname } from 'node:os';
import { Advertiser } from './advert.ts';
import { makeCredentials } from './certificate.ts';
import { KubernetesGate } from './gate.ts';
import { Logs } from './logs.ts';
import { openMetrics } from './metrics.ts';
import { RelayServer } from './server.ts';
import { systemClock } from '#lib/clock.ts';
import { LogTail, openEvents, openLog } from '#lib/log.ts';
import { serveTexts } from '#lib/text-server.ts';
import { Fault } from '#model/fault.ts';
import type { ApiServerSettings, Settings } from '#model/settings.ts';
import { type KubernetesStore, openKubernetesStore } from '#stores/kubernetes/kubernetes.ts';

export type RunOptions = {
  readonly version: string;
  /** Aborts: readers are let go one by one, and the process may end. */
  readonly signal: AbortSignal;
};

/** Readers go elsewhere within this time. */
const LEAVE_MS = 10_000;

/** Runs until the signal aborts. Throws a Fault when it cannot start. */
export async function runRelay(settings: Settings, { version, signal }: RunOptions): Promise<void> {
  const address = addressOf(settings);
  const name = `${hostname().toLowerCase()}-${randomBytes(4).toString('hex')}`;
  const log = openLog(settings.log.level, name, new LogTail());
  const events = openEvents(log);
  const warn = (text: string): void => events.add('warning', text);
  const store = openKubernetesStore({ settings: apiServerOf(settings), notice: warn });
  const { port, maxReaders, listen } = settings.relay;
  const relay = openRelay({ store, maxReaders, warn });
  const bound = await relay.server.listen(address, port);
  const advert = { address, port: bound, certificate: relay.certificate, version };
  const advertiser = new Advertiser({ store, clock: systemClock, signal, warn, name, advert });
  const health = await serve(listen, {
    problem: () => (advertiser.isTold ? relay.logs.away : 'agents have not been told of it'),
    metrics: () => relay.metrics(),
  });
  log.info({ version, address, port: bound }, 'the relay runs');
  await advertiser.run();
  await relay.server.close(LEAVE_MS);
  relay.logs.close();
  health?.close();
  health?.closeAllConnections();
  store.close();
}

type Parts = {
  readonly store: KubernetesStore;
  readonly maxReaders: number;
  readonly warn: (text: string) => void;
};
type Relay = {
  readonly logs: Logs;
  readonly server: RelayServer;
  readonly certificate: string;
  readonly metrics: () => Promise<string>;
};

function openRelay({ store, maxReaders, warn }: Parts): Relay {
  const clock = systemClock;
  const metrics = openMetrics();
  const onEvent = (kind: string, type: string): void => metrics.events.inc({ kind, type });
  const logs = new Logs({ store, clock, warn, onEvent });
  const credentials = makeCredentials();
  const server = new RelayServer({
    credentials,
    logs,
    gate: new KubernetesGate({ client: store.client, clock }),
    clock,
    maxReaders,
    onCut: () => metrics.cut.inc(),
    onRefused: (status) => metrics.refused.inc({ status }),
  });
  const tell = (): Promise<string> => {
    metrics.connections.set(server.counts.sessions);
    metrics.readers.set(server.counts.readers);
    metrics.objects.set(logs.all().reduce((sum, each) => sum + each.log.size, 0));
    metrics.away.set(logs.away === undefined ? 0 : 1);
    return metrics.registry.metrics();
  };
  return { logs, server, certificate: credentials.cert, metrics: tell };
}

/** Throws Fault `settings-invalid`. */
function addressOf({ relay: { address } }: Settings): string {
  if (address !== undefined) return address;
  throw new Fault('settings-invalid', 'relay.address is missing: where agents reach this relay');
}

/** Throws Fault `settings-invalid`. */
function apiServerOf({ store }: Settings): ApiServerSettings {
  if (store.type === 'kubernetes') return store.kubernetes;
  const why =
    store.type === 'etcd'
      ? 'etcd bears many watches by itself, and does not say who its readers are'
      : 'a directory is on one host';
  throw new Fault('settings-invalid', `a relay is for store.type kubernetes: ${why}`);
}

type Told = { readonly problem: () => string | undefined; readonly metrics: () => Promise<string> };

async function serve(listen: string | undefined, { problem, metrics }: Told): Promise<Server | undefined> {
  if (listen === undefined) return undefined;
  return serveTexts(listen, {
    '/metrics': async () => ({ status: 200, body: await metrics() }),
    '/healthz': () => ({ status: 200, body: 'ok\n' }),
    '/readyz': () => {
      const reason = problem();
      return { status: reason === undefined ? 200 : 503, body: `${reason ?? 'ok'}\n` };
    },
  });
}
