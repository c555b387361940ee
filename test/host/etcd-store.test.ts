/** The store contract against a real etcd, through a proxy that can be cut; and what only a store in etcd can meet. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/lib/clock.ts';
import { readManifests } from '../../src/model/manifest.ts';
import { manifestName } from '../../src/policy/inputs/reading.ts';
import { Follower, storeContract } from '../../src/stores/contract.ts';
import { type EtcdStore, openEtcdStore } from '../../src/stores/etcd/etcd.ts';
import { openObjects } from '../../src/stores/objects.ts';
import type { StoreKind } from '../../src/stores/store.ts';
import { type CuttingProxy, startProxy } from '../runtimes/cutting-proxy.ts';
import { type Etcd, noEtcd, startEtcd } from '../runtimes/etcd.ts';

let etcd: Etcd;
let proxy: CuttingProxy;
let count = 0;

if (noEtcd === false) {
  before(async () => {
    etcd = await startEtcd();
    proxy = await startProxy(Number(new URL(etcd.settings.endpoints[0] ?? '').port));
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await etcd[Symbol.asyncDispose]();
  });
}

type Opened = Disposable & {
  readonly store: EtcdStore;
  readonly settings: Etcd['settings'];
  readonly follow: (kind?: StoreKind) => Follower;
};

/** A cluster of its own, by way of the proxy where that is wanted. */
function openCluster(options: { prefix?: string; proxied?: boolean; holdMs?: number } = {}): Opened {
  const { prefix = `/tartan/t${(count += 1)}`, proxied = true, holdMs = 300 } = options;
  const endpoints = proxied ? [`http://127.0.0.1:${proxy.port}`] : etcd.settings.endpoints;
  const settings = { ...etcd.settings, endpoints, prefix };
  const store = openEtcdStore({ settings, holdMs });
  const stop = new AbortController();
  return {
    store,
    settings,
    follow: (kind = 'Node') => new Follower(store, kind, stop.signal),
    [Symbol.dispose]: () => {
      stop.abort();
      store.close();
    },
  };
}

if (noEtcd === false) {
  storeContract('etcd', async () => {
    const cluster = openCluster();
    const other = openCluster({ prefix: cluster.settings.prefix, proxied: false });
    const objects = await openObjects({ type: 'etcd', etcd: other.settings });
    const written = new Map<string, readonly string[]>();
    return {
      store: cluster.store,
      other: other.store,
      writeManifests: async (source, text = '') => {
        const { manifests } = readManifests(source, text);
        const found = manifests.map((manifest) => ({
          name: manifestName(manifest),
          value: manifest.value as Record<string, unknown>,
          origin: source,
        }));
        const names = found.map(({ name }) => name);
        await objects.apply(found);
        await objects.remove((written.get(source) ?? []).filter((name) => !names.includes(name)));
        written.set(source, names);
      },
      interrupt: async (noticed) => {
        proxy.refuse(true);
        proxy.cut();
        await noticed();
        proxy.refuse(false);
      },
      close: async () => {
        objects.close();
        cluster[Symbol.dispose]();
        other[Symbol.dispose]();
      },
    };
  });
} else test('etcd: the store contract', { skip: noEtcd });

const skip = noEtcd;

test(
  'a watch that was cut goes on where it was: nothing is missed, nothing told twice',
  { skip },
  async () => {
    using cluster = openCluster();
    using other = openCluster({ prefix: cluster.settings.prefix, proxied: false });
    await other.store.put('Node', 'a', { n: 0 });
    const follower = cluster.follow();
    await follower.synced();
    proxy.refuse(true);
    proxy.cut();
    await follower.until(() => follower.types.endsWith('gap'));
    for (const n of [1, 2, 3]) await other.store.put('Node', 'a', { n });
    await other.store.put('Node', 'b', { n: 1 });
    await other.store.remove('Node', 'b');
    proxy.refuse(false);
    await follower.until(() => follower.types.endsWith('removed'));
    // First what was known, then every change by itself: it was not listed again.
    assert.equal(follower.types, 'put synced gap put synced put put put put removed');
    const versions = follower.events.flatMap((event) => (event.type === 'put' ? [event.object.version] : []));
    assert.equal(new Set(versions).size, versions.length - 1);
  },
);

test('what was compacted meanwhile is listed again: a gap, then what is there', { skip }, async () => {
  using cluster = openCluster();
  using other = openCluster({ prefix: cluster.settings.prefix, proxied: false });
  for (const name of ['a', 'b', 'c']) await other.store.put('Node', name, { n: 0 });
  const follower = cluster.follow();
  await follower.synced();
  proxy.refuse(true);
  proxy.cut();
  await other.store.put('Node', 'a', { n: 1 });
  await other.store.remove('Node', 'b');
  await etcd.compact();
  proxy.refuse(false);
  await follower.until(() => follower.types.endsWith('put put synced') && !follower.objects.has('b'));
  assert.ok(!follower.types.includes('removed'), follower.types);
  assert.deepEqual(follower.objects.get('a')?.value, { n: 1 });
  await other.store.put('Node', 'd', { n: 1 });
  await follower.until(() => follower.objects.has('d'));
});

test('leases: renewed, moved to an object that stays, and ended by etcd', { skip }, async () => {
  using cluster = openCluster();
  const { store } = cluster;
  const leases = async (): Promise<number> =>
    ((await etcd.call('/v3/lease/leases', {})) as { leases?: unknown[] }).leases?.length ?? 0;
  const before = await leases();
  const claim = { node: 'a', subnet: '10.244.1.0/24', reserved: false };
  const first = await store.put('SubnetClaim', '10.244.1.0-24', claim, { expect: 'absent', ttlSeconds: 600 });
  const again = await store.put('SubnetClaim', '10.244.1.0-24', claim, {
    expect: first.version,
    ttlSeconds: 900,
  });
  const read = await store.get('SubnetClaim', '10.244.1.0-24');
  assert.equal(read?.version, again.version);
  // Counted by etcd, not by what the writer's clock said.
  assert.ok(Math.abs((read?.expiresAtMs ?? 0) - Date.now() - 900_000) < 60_000);
  await assert.rejects(
    store.put('SubnetClaim', '10.244.1.0-24', claim, { expect: first.version, ttlSeconds: 600 }),
    { code: 'store-conflict' },
  );
  const follower = new FollowedLeases(leases, before);
  await follower.settle(1);
  await store.put('SubnetClaim', '10.244.1.0-24', { ...claim, reserved: true });
  assert.equal((await store.get('SubnetClaim', '10.244.1.0-24'))?.expiresAtMs, undefined);
});

/** Revoking is not waited for by who causes it. */
class FollowedLeases {
  readonly #count: () => Promise<number>;
  readonly #before: number;
  constructor(count: () => Promise<number>, before: number) {
    this.#count = count;
    this.#before = before;
  }
  async settle(more: number): Promise<void> {
    for (let tries = 0; (await this.#count()) !== this.#before + more; tries += 1) {
      assert.ok(tries < 100, 'leases are left over');
      await sleep(50);
    }
  }
}

test('what expires does so by the time of etcd: clocks that jump change nothing', { skip }, async () => {
  using cluster = openCluster();
  const days = 2 * 86_400_000;
  const claim = { node: 'a', subnet: '10.244.1.0/24', reserved: false };
  await cluster.store.put('SubnetClaim', '10.244.1.0-24', claim, { ttlSeconds: 3600 });
  for (const jump of [days, -days]) {
    const clock = { ...systemClock, nowMs: () => Date.now() + jump };
    const other = openEtcdStore({ settings: cluster.settings, clock });
    const { expiresAtMs = 0 } = (await other.get('SubnetClaim', '10.244.1.0-24')) ?? {};
    assert.ok(
      Math.abs(expiresAtMs - clock.nowMs() - 3_600_000) < 60_000,
      'an hour is left by that clock too',
    );
    assert.equal((await other.list('SubnetClaim')).length, 1);
    await assert.rejects(other.put('SubnetClaim', '10.244.1.0-24', claim, { expect: 'absent' }), {
      code: 'store-conflict',
    });
    other.close();
  }
});

test('two clusters on one etcd do not see each other', { skip }, async () => {
  using one = openCluster();
  using two = openCluster({ prefix: `${one.settings.prefix}0` });
  const follower = one.follow();
  await follower.synced();
  await two.store.put('Node', 'stranger', { n: 1 });
  await one.store.put('Node', 'own', { n: 1 });
  await follower.until(() => follower.objects.has('own'));
  assert.deepEqual([...follower.objects.keys()], ['own']);
  assert.deepEqual(
    (await two.store.list('Node')).map(({ name }) => name),
    ['stranger'],
  );
});

const hasLost = ({ events }: Follower): boolean =>
  events.some((event) => event.type === 'gap' && event.isLoss === true);

/** As by mistake: etcdctl del --prefix */
async function deletePrefix(prefix: string): Promise<void> {
  const [key, end] = [`${prefix}/`, `${prefix}0`].map((text) => Buffer.from(text).toString('base64'));
  await etcd.call('/v3/kv/deleterange', { key, range_end: end });
}

test('a deleted prefix is a gap that waits for who writes his own again', { skip }, async () => {
  using cluster = openCluster();
  using other = openCluster({ prefix: cluster.settings.prefix, proxied: false });
  await cluster.store.put('Node', 'a', { n: 1 });
  await other.store.put('Node', 'b', { n: 2 });
  await other.store.put('SubnetClaim', 'single', { n: 2 });
  const objects = await openObjects({ type: 'etcd', etcd: cluster.settings });
  const value = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'a' } };
  await objects.apply([{ name: 'v1/Namespace/a', value, origin: 'test' }]);
  objects.close();
  const [mine, theirs] = [cluster.follow(), other.follow()];
  const single = [cluster.follow('Manifest'), cluster.follow('SubnetClaim')];
  await Promise.all([mine, theirs, ...single].map((follower) => follower.synced()));
  await deletePrefix(cluster.settings.prefix);
  for (const follower of [mine, theirs, ...single]) await follower.until(() => hasLost(follower));
  await cluster.store.put('Node', 'a', { n: 1 }, { expect: 'absent' });
  await other.store.put('Node', 'b', { n: 2 }, { expect: 'absent' });
  for (const follower of [mine, theirs]) {
    await follower.synced(2);
    assert.ok(!follower.types.includes('removed'), follower.types);
    assert.deepEqual([...follower.objects.keys()].sort(), ['a', 'b']);
  }
  // What nobody has any more: a gap that lasts until there is something.
  for (const follower of single) {
    assert.equal(follower.types, 'put synced gap');
    assert.equal(follower.objects.size, 1);
  }
});

test('what nobody writes again is removed when the others have come to rest', { skip }, async () => {
  using cluster = openCluster();
  const prefix = cluster.settings.prefix;
  await cluster.store.put('Node', 'mine', { n: 1 });
  {
    using gone = openCluster({ prefix, proxied: false });
    await gone.store.put('Node', 'gone', { n: 1 });
  }
  const follower = cluster.follow();
  await follower.synced();
  await deletePrefix(prefix);
  await follower.until(() => hasLost(follower));
  assert.equal(follower.objects.size, 2);
  await cluster.store.put('Node', 'mine', { n: 1 });
  await follower.synced(2);
  assert.deepEqual([...follower.objects.keys()], ['mine']);
  assert.ok(!follower.types.includes('removed'));
});

test('the operator may remove all of his at once', { skip }, async () => {
  using cluster = openCluster();
  const objects = await openObjects({ type: 'etcd', etcd: cluster.settings });
  const namespaces = ['a', 'b', 'c'].map((name) => ({
    name: `v1/Namespace/${name}`,
    value: { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
    origin: 'test',
  }));
  await objects.apply(namespaces);
  const follower = cluster.follow('Manifest');
  await follower.synced();
  await objects.remove(namespaces.map(({ name }) => name));
  await follower.until(() => follower.objects.size === 0);
  assert.equal(follower.types, 'put put put synced removed removed removed');
  objects.close();
});

test('what cannot be read is told of, and what was there before stays', { skip }, async () => {
  using cluster = openCluster();
  await cluster.store.put('Node', 'a', { n: 1 });
  const follower = cluster.follow();
  await follower.synced();
  const key = Buffer.from(`${cluster.settings.prefix}/Node/a`).toString('base64');
  await etcd.call('/v3/kv/put', { key, value: Buffer.from('{"broken').toString('base64') });
  await follower.until(() => follower.types.endsWith('malformed put'));
  assert.deepEqual(follower.objects.get('a')?.value, { n: 1 });
  await assert.rejects(cluster.store.get('Node', 'a'), { code: 'store-malformed' });
  await assert.rejects(cluster.store.put('Node', 'a', { n: 2 }, { expect: 'absent' }), {
    code: 'store-malformed',
  });
  await cluster.store.put('Node', 'a', { n: 2 });
  await follower.until(() => JSON.stringify(follower.objects.get('a')?.value) === '{"n":2}');
});

test('values and names have bounds', { skip }, async () => {
  using cluster = openCluster();
  const malformed = { code: 'store-malformed' };
  for (const name of ['', '..', 'a/b', 'x'.repeat(245)])
    await assert.rejects(cluster.store.put('Node', name, {}), malformed);
  await assert.rejects(cluster.store.put('Node', 'big', { text: 'x'.repeat(1 << 20) }), malformed);
  for (const value of [1, null, [], 'text'])
    await assert.rejects(cluster.store.put('Node', 'a', value), malformed);
  const large = { text: 'x'.repeat(900_000) };
  await cluster.store.put('Node', 'large', large);
  assert.deepEqual((await cluster.store.get('Node', 'large'))?.value, large);
  const follower = cluster.follow();
  await follower.synced();
  await cluster.store.put('Node', 'large', { text: 'y'.repeat(900_000) });
  await follower.until(() => JSON.stringify(follower.objects.get('large')?.value).includes('yyy'));
});
