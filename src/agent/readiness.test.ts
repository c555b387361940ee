import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Agent } from './agent.ts';
import { Events, LogTail } from '#lib/log.ts';
import { openMetrics } from './metrics.ts';
import { openFeeds } from './parts.ts';
import { countPeers } from './readiness.ts';
import { parseSettings } from '#config/parse.ts';
import { systemClock } from '#lib/clock.ts';
import { FakeKernel } from '#kernel/fake.ts';
import type { Failure } from '#kernel/kernel.ts';
import type { Step } from '#model/diff.ts';
import type { NodeAdvert } from '#model/world.ts';
import { address } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import { interfaceAddress, prefix } from '#net/prefix.ts';
import { openKeep } from '#stores/last-good.ts';
import { openLedger } from '#stores/ledger.ts';
import { createMemoryStore } from '#stores/memory.ts';
import type { Store, StoreEvent } from '#stores/store.ts';

const FLANNEL = readFileSync(new URL('../../profiles/flannel.yaml', import.meta.url), 'utf8');
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const PEERS = 20;

function advert(number: number): NodeAdvert {
  return {
    name: `peer${number}`,
    addresses: { 4: address(`192.0.2.${number}`) },
    subnets: { 4: prefix(`10.244.${number}.0/24`) },
    road: 'vxlan',
    vxlan: { vni: 1, port: 8472, mac: { 4: mac(`02:00:00:00:00:${number.toString(16).padStart(2, '0')}`) } },
    mtu: 1500,
    ready: true,
  };
}

/** Refuses what `refuses` says, and tells of every change before it is made. */
class WatchedKernel extends FakeKernel {
  onApply: () => void = () => {};
  refuses: (step: Step) => boolean = () => false;
  override apply(steps: readonly Step[]): Failure[] {
    this.onApply();
    const refused = steps.filter(this.refuses);
    const failures = refused.map((step) => ({ step, code: 'EEXIST', message: 'in the way' }));
    return [...super.apply(steps.filter((step) => !this.refuses(step))), ...failures];
  }
  peerRoutes(): number {
    const items = [...this.observe({ sysctls: [], foreignLinks: [] }).values()];
    return items.filter((item) => item.kind === 'route' && item.via !== undefined).length;
  }
}

function makeKernel(): WatchedKernel {
  const kernel = new WatchedKernel();
  const flags = { up: true, loopback: false, pointToPoint: false, ours: false };
  const state = { dynamic: false, temporary: false, deprecated: false, tentative: false };
  const local = { address: interfaceAddress(address('192.0.2.200'), 24), scope: 'global', ...state } as const;
  kernel.setUnderlay({
    links: [{ name: 'eth0', index: 2, mtu: 1500, ...flags, addresses: [local] }],
    routes: [{ prefix: prefix('0.0.0.0/0'), link: 'eth0', metric: 0, via: address('192.0.2.254') }],
  });
  return kernel;
}

type Before = {
  /** On the journal's path. */
  readonly act?: (journal: string) => void;
  /** More lines of the settings. */
  readonly more?: string;
  /** A store that is watched otherwise. */
  readonly through?: (store: Store) => Store;
};

/** An agent on a host that was just started, with peers in the store. */
async function boot(t: TestContext, kernel: WatchedKernel, before: Before = {}): Promise<Agent> {
  const directory = mkdtempSync(join(tmpdir(), 'ar-ready-'));
  const paths = `paths: {run: ${directory}/run, state: ${directory}/state}`;
  const text = `apiVersion: tartan.dev/v1\nkind: Settings\nprofile: flannel\nnode: {name: n0}\n${paths}
network: {ipv4: {nodeSubnet: 10.244.250.0/24}}\n${before.more ?? ''}`;
  const { settings } = parseSettings([{ origin: 'test', text }], { flannel: FLANNEL });
  const store = createMemoryStore();
  for (let number = 1; number <= PEERS; number += 1) await store.put('Node', `peer${number}`, advert(number));
  const watched = before.through?.(store) ?? store;
  const stop = new AbortController();
  mkdirSync(join(directory, 'run'));
  const journal = join(directory, 'run/attachments.journal');
  before.act?.(journal);
  const events = new Events(log);
  const parts = { settings, clock: systemClock, log, signal: stop.signal, events, store: watched };
  const keep = settings.policy.enforce ? openKeep(join(directory, 'policies.journal')) : undefined;
  const agent = new Agent({
    ...parts,
    ...openFeeds(parts),
    version: 'test',
    logTail: new LogTail(),
    metrics: openMetrics('n0'),
    kernel,
    ledger: openLedger(journal),
    keep,
  });
  t.after(async () => {
    stop.abort();
    await agent.stopped;
    keep?.close();
    store.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return agent;
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!condition()) {
    assert.ok(Date.now() < end, `waited for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('a node is not ready before the kernel holds every peer in the store', async (t) => {
  const kernel = makeKernel();
  const agent = await boot(t, kernel);
  let looked = 0;
  kernel.onApply = () => {
    if (kernel.peerRoutes() === PEERS) return;
    looked += 1;
    assert.notDeepEqual(agent.notReadyReasons(), []);
  };
  assert.notDeepEqual(agent.notReadyReasons(), []);
  await until('the node to be ready', () => agent.notReadyReasons().length === 0);
  assert.equal(kernel.peerRoutes(), PEERS);
  assert.ok(looked > 0, 'it was looked at while peers were missing');
  assert.match(agent.events.list().at(-1)?.text ?? '', /20 of 20 peers/);
});

test('a node that is paused over its start is not ready by being resumed', async (t) => {
  const kernel = makeKernel();
  const agent = await boot(t, kernel, {
    act: (journal) => {
      const ledger = openLedger(journal);
      ledger.setMeta('paused', 'yes');
      ledger.close();
    },
  });
  await until('peers to be planned', () => countPeers(agent).pending === PEERS && agent.host.removalsAllowed);
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(kernel.peerRoutes(), 0);
  agent.release();
  assert.match(agent.notReadyReasons().join(), /0 of 20/);
  await until('the node to be ready', () => agent.notReadyReasons().length === 0);
  assert.equal(kernel.peerRoutes(), PEERS);
});

test('a peer that the kernel refuses keeps the node from being ready, and is named', async (t) => {
  const kernel = makeKernel();
  kernel.refuses = (step) => step.op !== 'remove' && step.key.startsWith('route 254 10.244.7.0/24');
  const agent = await boot(t, kernel);
  await until('the other peers', () => kernel.peerRoutes() === PEERS - 1 && agent.host.failures.size > 0);
  assert.match(agent.notReadyReasons().join(), /19 of 20, 1 refused by the kernel/);
  kernel.refuses = () => false;
  await until('the node to be ready', () => agent.notReadyReasons().length === 0);
  assert.equal(kernel.peerRoutes(), PEERS);
});

/** Of the operator's objects it is told last, when all else has been done. */
function slowManifests(store: Store): Store {
  async function* late(signal: AbortSignal): AsyncGenerator<StoreEvent> {
    await new Promise((resolve) => setTimeout(resolve, 300));
    yield* store.watch('Manifest', signal);
  }
  return {
    ...store,
    watch: (kind, signal) => (kind === 'Manifest' ? late(signal) : store.watch(kind, signal)),
  };
}

test('a node is ready when there is no policy, however late that is known', async (t) => {
  const agent = await boot(t, makeKernel(), { more: 'policy: {enforce: true}\n', through: slowManifests });
  await until('the node to be ready', () => agent.notReadyReasons().length === 0);
});
