/** Starts and stops a controller. */
import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import { hostname } from 'node:os';
import { Controller, type ControllerParts } from './controller.ts';
import type { DefinitionsOptions } from './definitions.ts';
import { openMetrics } from './metrics.ts';
import { releaseBrake } from './release.ts';
import { systemClock } from '#lib/clock.ts';
import { Complaints } from '#lib/complaints.ts';
import { LogTail, openEvents, openLog } from '#lib/log.ts';
import { serveTexts } from '#lib/text-server.ts';
import { CLUSTER_STATUS, type ClusterStatus } from '#model/cluster-status.ts';
import type { Settings } from '#model/settings.ts';
import { Feeds } from '#stores/feed.ts';
import type { EventSender } from '#stores/kubernetes/event-sender.ts';
import type { KubernetesStore } from '#stores/kubernetes/kubernetes.ts';
import { type OpenStore, openStore } from '#stores/open.ts';

export type RunOptions = {
  readonly version: string;
  /** Aborts: the lease is given up once nothing is under way, and the process may end. */
  readonly signal: AbortSignal;
};

/** Runs until the signal aborts. Throws a Fault when it cannot start. */
export async function runController(settings: Settings, { version, signal }: RunOptions): Promise<void> {
  const identity = `${hostname()}_${randomUUID()}`;
  const log = openLog(settings.log.level, identity, new LogTail());
  const events = openEvents(log);
  const store = await openStore(settings.store, { notice: (text) => events.add('warning', text) });
  const complaints = new Complaints(events, systemClock, signal);
  const onMalformed = (text: string): void => complaints.add(`not read: ${text}`);
  const clock = systemClock;
  const metrics = openMetrics();
  const feeds = new Feeds({ store, clock, log, signal, onMalformed });
  const define = await definer(settings, store, { version, tell: (text) => events.add('info', text) });
  const parts = { settings, version, identity, signal, clock, log, events, metrics, store, feeds };
  const sender = await sendEvents(store, parts);
  const controller = new Controller({ ...parts, define });
  const server = await serve(settings, controller, () => {
    metrics.leading.set(controller.leadership.isLeading ? 1 : 0);
    return metrics.registry.metrics();
  });
  log.info({ version, store: settings.store.type }, 'the controller runs');
  await controller.run();
  await sender?.stopped;
  server?.close();
  server?.closeAllConnections();
  store.close();
}

/** What a controller that leads, or led, has written; undefined: there is nothing. */
export async function readStatus(settings: Settings): Promise<ClusterStatus | undefined> {
  const store = await openStore(settings.store);
  try {
    const found = await store.get('ClusterStatus', CLUSTER_STATUS);
    return found?.value as ClusterStatus | undefined;
  } finally {
    store.close();
  }
}

/** What `tartan resume --cluster` does: throws as `releaseBrake`. */
export async function resumeCluster(settings: Settings): Promise<string> {
  const store = await openStore(settings.store);
  try {
    return await releaseBrake(store);
  } finally {
    store.close();
  }
}

/** Undefined: the store has no Events, or the operator wants none. */
async function sendEvents(
  store: OpenStore,
  { settings, events, log, clock, signal }: Omit<ControllerParts, 'define'>,
): Promise<EventSender | undefined> {
  if (settings.store.type !== 'kubernetes' || !settings.kubernetes.events) return undefined;
  const { startControllerEvents } = await import('./events.ts');
  const { client } = store as KubernetesStore;
  const onError = (error: unknown): void =>
    log.warn({ error: String(error) }, 'Events were not sent; trying again');
  const sender = startControllerEvents({ client, host: hostname(), clock, signal, onError });
  events.onAdd = sender.note;
  return sender;
}

/** Undefined: the store needs no definitions. */
async function definer(
  settings: Settings,
  store: OpenStore,
  options: Pick<DefinitionsOptions, 'version' | 'tell'>,
): Promise<ControllerParts['define']> {
  if (settings.store.type !== 'kubernetes') return undefined;
  const { client } = store as KubernetesStore;
  const { installDefinitions } = await import('./definitions.ts');
  return (ensure) => installDefinitions({ ...options, client, ensure });
}

async function serve(
  { controller: { listen } }: Settings,
  controller: Controller,
  metrics: () => Promise<string>,
): Promise<Server | undefined> {
  if (listen === undefined) return undefined;
  return serveTexts(listen, {
    '/metrics': async () => ({ status: 200, body: await metrics() }),
    '/healthz': () => ({ status: 200, body: 'ok\n' }),
    '/readyz': () => {
      const reasons = controller.notReadyReasons();
      return { status: reasons.length === 0 ? 200 : 503, body: `${reasons.join('\n') || 'ok'}\n` };
    },
  });
}
