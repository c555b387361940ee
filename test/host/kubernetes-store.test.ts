/** The store contract against a real API server, through a proxy that can be cut; and what only a store in one can meet. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { stateContract } from '../../src/stores/contract.ts';
import { type KubernetesStore, openKubernetesStore } from '../../src/stores/kubernetes/kubernetes.ts';
import { openObjects } from '../../src/stores/objects.ts';
import type { Stored } from '../../src/stores/store.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import { type ApiServer, noApiServer, startApiServer } from '../kubernetes/api-server.ts';
import { clearState, define, defineState } from '../kubernetes/definitions.ts';
import { type CuttingProxy, startProxy } from '../runtimes/cutting-proxy.ts';
import { type Way, wayTo } from '../runtimes/store-way.ts';

const skip = noApiServer ?? false;
let server: ApiServer;
let proxy: CuttingProxy;

if (noApiServer === undefined) {
  before(async () => {
    server = await startApiServer({ audit: true, users: { reader: { name: 'reader' } } });
    await defineState(server);
    proxy = await startProxy(Number(new URL(server.url).port));
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
}

type Opened = Way<KubernetesStore> & { readonly notices: string[] };

/** By way of the proxy where that is wanted. */
function open({ proxied = true, node }: { proxied?: boolean; node?: string } = {}): Opened {
  const url = proxied ? `https://127.0.0.1:${proxy.port}` : server.url;
  const settings = { kubeconfig: server.kubeconfig(), server: url, requestTimeoutSeconds: 5 };
  const notices: string[] = [];
  const store = openKubernetesStore({ settings, node, holdMs: 500, notice: (text) => notices.push(text) });
  return { ...wayTo(store), notices };
}

if (noApiServer === undefined) {
  stateContract('kubernetes', async () => {
    await clearState(server);
    const cluster = open();
    const other = open({ proxied: false });
    return {
      store: cluster.store,
      other: other.store,
      interrupt: async (noticed) => {
        proxy.refuse(true);
        proxy.cut();
        await noticed();
        proxy.refuse(false);
      },
      close: async () => {
        cluster[Symbol.dispose]();
        other[Symbol.dispose]();
      },
    };
  });
} else test('kubernetes: the store contract', { skip });

const WAIT_MS = 30_000;

async function made(path: string, body: object): Promise<void> {
  const { status, body: answer } = await server.ask(path, { method: 'POST', body });
  assert.equal(status, 201, JSON.stringify(answer));
}
const namespaced = (group: string, plural: string, namespace = 'default'): string =>
  `${group}/namespaces/${namespace}/${plural}`;
const POLICIES = namespaced('/apis/networking.k8s.io/v1', 'networkpolicies');
const policy = (name: string, app: string) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}', own: 'a' } },
  spec: { podSelector: { matchLabels: { app } } },
});
const pod = (name: string, nodeName: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels: { app: name } },
  spec: {
    nodeName,
    containers: [
      {
        name: 'main',
        image: 'none',
        env: [{ name: 'A', value: 'b' }],
        ports: [{ name: 'web', containerPort: 80 }],
      },
    ],
  },
});
const valueOf = (stored: Stored | undefined): Record<string, unknown> =>
  ((stored?.value as Manifest | undefined)?.value ?? {}) as Record<string, unknown>;

test('operators’ objects: the kinds that are there, pods of the own node, stripped', { skip }, async () => {
  using cluster = open({ node: 'node1' });
  await made('/api/v1/namespaces', {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'shop', labels: { a: 'b' } },
  });
  await made(POLICIES, policy('web', 'one'));
  await made(namespaced('/api/v1', 'pods'), pod('here', 'node1'));
  await made(namespaced('/api/v1', 'pods'), pod('there', 'node2'));
  // v1 is of Kubernetes 1.21, and v1beta1 went with 1.25.
  const isOld = (await server.ask('/apis/discovery.k8s.io/v1')).status === 404;
  const version = `discovery.k8s.io/${isOld ? 'v1beta1' : 'v1'}`;
  const where = isOld ? { topology: { 'kubernetes.io/hostname': 'node1' } } : { nodeName: 'node1' };
  await made(namespaced(`/apis/${version}`, 'endpointslices'), {
    apiVersion: version,
    kind: 'EndpointSlice',
    metadata: { name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.1.1.1'], ...where }],
    ports: [{ port: 80, protocol: 'TCP' }],
  });
  const follower = cluster.follow('Manifest');
  await follower.synced();
  const { objects } = follower;
  const NAME = 'networking.k8s.io/v1/NetworkPolicy/default/web';
  assert.deepEqual(valueOf(objects.get(NAME)), {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'web', namespace: 'default', annotations: { own: 'a' } },
    spec: { podSelector: { matchLabels: { app: 'one' } }, policyTypes: ['Ingress'] },
  });
  // From 1.21 on the API server adds a label with the name.
  const labels = { a: 'b', ...(isOld ? {} : { 'kubernetes.io/metadata.name': 'shop' }) };
  const shop = valueOf(objects.get('v1/Namespace/shop'));
  assert.deepEqual(shop, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels } });
  assert.ok(objects.has('v1/Pod/default/here') && !objects.has('v1/Pod/default/there'));
  const { spec, status } = valueOf(objects.get('v1/Pod/default/here')) as Record<
    string,
    Record<string, unknown>
  >;
  assert.deepEqual(spec?.['containers'], [
    { name: 'main', ports: [{ name: 'web', containerPort: 80, protocol: 'TCP' }] },
  ]);
  assert.equal(status?.['phase'], 'Pending');
  const slice = valueOf(objects.get('discovery.k8s.io/v1/EndpointSlice/default/web-1'));
  assert.equal((slice['endpoints'] as { nodeName?: string }[])[0]?.nodeName, 'node1');
  assert.deepEqual(valueOf(await cluster.store.get('Manifest', NAME)), valueOf(objects.get(NAME)));
  assert.equal(await cluster.store.get('Manifest', 'v1/Namespace/none'), undefined);
  assert.equal((await cluster.store.list('Manifest')).length, objects.size);
  await assert.rejects(cluster.store.put('Manifest', NAME, {}), { code: 'store-conflict' });
  await assert.rejects(cluster.store.remove('Manifest', NAME), { code: 'store-conflict' });

  // Changes that say nothing to anybody are not told; others once.
  const before = follower.events.length;
  const note = {
    metadata: { annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{"b":1}' } },
  };
  await server.ask(`${POLICIES}/web`, { method: 'PATCH', body: note });
  await server.ask(`${POLICIES}/web`, { method: 'PATCH', body: policy('web', 'two') });
  await server.ask(`${POLICIES}/web`, { method: 'DELETE' });
  await follower.until(() => !objects.has(NAME), WAIT_MS);
  assert.deepEqual(
    follower.events.slice(before).map(({ type }) => type),
    ['put', 'removed'],
  );
});

test('kinds that come later are found, each with one watch, and go', { skip }, async () => {
  using cluster = open({ node: 'node1' });
  const follower = cluster.follow('Manifest');
  await follower.synced();
  const group = 'crd.projectcalico.org';
  const names = { kind: 'GlobalNetworkPolicy', plural: 'globalnetworkpolicies' };
  await define(server, { group, version: 'v1', names });
  const path = `/apis/${group}/v1/${names.plural}`;
  await made(path, {
    apiVersion: `${group}/v1`,
    kind: names.kind,
    metadata: { name: 'late' },
    spec: { order: 1 },
  });
  const NAME = `${group}/v1/GlobalNetworkPolicy/late`;
  await follower.until(() => follower.objects.has(NAME), WAIT_MS);
  assert.ok(!follower.types.includes('removed') && !follower.types.includes('gap'), follower.types);
  await server.ask(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${names.plural}.${group}`, {
    method: 'DELETE',
  });
  await follower.until(() => !follower.objects.has(NAME), WAIT_MS);
  await follower.until(
    () => follower.types.endsWith('synced') || follower.types.endsWith('removed'),
    WAIT_MS,
  );
});

test(
  'each kind is watched once over one connection, and nothing is written that changes nothing',
  { skip },
  async () => {
    await clearState(server);
    using cluster = open({ proxied: false, node: 'node1' });
    const since = server.audited().length;
    const followers = (['Manifest', 'Node', 'SubnetClaim'] as const).map((kind) => cluster.follow(kind));
    for (const follower of followers) await follower.synced();
    await cluster.store.put('Node', 'a', { n: 1 });
    for (let times = 0; times < 5; times += 1) await cluster.store.put('Node', 'a', { n: 1 });
    const asked = server.audited().slice(since);
    assert.equal(asked.filter(({ verb }) => verb === 'create' || verb === 'update').length, 1);
    assert.equal(cluster.store.client.connection, 1);
    await cluster.store.put('Node', 'a', { n: 2 });
    const watched = cluster.store.client.connection;
    assert.equal(watched, 1);
  },
);

test('ends by the server’s clock: clocks that jump change nothing', { skip }, async () => {
  using cluster = open();
  const days = 2 * 86_400_000;
  const claim = { node: 'a', subnet: '10.244.1.0/24', reserved: false };
  await cluster.store.put('SubnetClaim', '10.244.1.0-24', claim, { ttlSeconds: 3600 });
  for (const jump of [days, -days]) {
    const clock = { ...systemClock, nowMs: () => Date.now() + jump };
    const settings = { kubeconfig: server.kubeconfig(), requestTimeoutSeconds: 5 };
    const other = openKubernetesStore({ settings, clock });
    const { expiresAtMs = 0 } = (await other.get('SubnetClaim', '10.244.1.0-24')) ?? {};
    assert.ok(
      Math.abs(expiresAtMs - clock.nowMs() - 3_600_000) < 60_000,
      'an hour is left by that clock too',
    );
    assert.equal((await other.list('SubnetClaim')).length, 1);
    await assert.rejects(other.put('SubnetClaim', '10.244.1.0-24', claim, { expect: 'absent' }), {
      code: 'store-conflict',
    });
    await other.put('SubnetClaim', '10.244.2.0-24', claim, { ttlSeconds: 3600 });
    assert.ok((await cluster.store.get('SubnetClaim', '10.244.2.0-24')) !== undefined);
    await other.remove('SubnetClaim', '10.244.2.0-24');
    other.close();
  }
  await clearState(server);
});

test(
  'all of a kind of agents gone at once is doubted; an operator may remove all of his',
  { skip },
  async () => {
    await clearState(server);
    using cluster = open();
    for (const name of ['a', 'b']) await cluster.store.put('Node', name, { n: 1 });
    await made(POLICIES, policy('only', 'one'));
    const [nodes, manifests] = [cluster.follow(), cluster.follow('Manifest')];
    await Promise.all([nodes.synced(), manifests.synced()]);
    const NAME = 'networking.k8s.io/v1/NetworkPolicy/default/only';
    assert.ok(manifests.objects.has(NAME));
    proxy.refuse(true);
    proxy.cut();
    for (const each of [nodes, manifests]) await each.until(() => each.types.endsWith('gap'), WAIT_MS);
    await clearState(server);
    await server.ask(`${POLICIES}/only`, { method: 'DELETE' });
    // History that is gone: all is listed again.
    await server.kill();
    await server.etcd.compact();
    await server.start();
    proxy.refuse(false);
    await manifests.until(() => !manifests.objects.has(NAME), WAIT_MS);
    await nodes.until(
      () => nodes.events.some((event) => event.type === 'gap' && event.isLoss === true),
      WAIT_MS,
    );
    assert.deepEqual([...nodes.objects.keys()].sort(), ['a', 'b']);
    await cluster.store.put('Node', 'a', { n: 1 });
    await nodes.until(() => nodes.objects.size === 1, WAIT_MS);
    assert.ok(!nodes.types.includes('removed'), nodes.types);
  },
);

test('leases stand where Kubernetes has them, beside those of others', { skip }, async () => {
  const path = namespaced('/apis/coordination.k8s.io/v1', 'leases', 'kube-system');
  await made(path, {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: 'stranger' },
    spec: {},
  });
  using cluster = open();
  const follower = cluster.follow('Lease');
  await follower.synced();
  const lease = {
    holderIdentity: 'a',
    leaseDurationSeconds: 15,
    acquireTime: '2026-11-22T00:00:00.000000Z',
    renewTime: '2026-11-22T00:00:00.000000Z',
    leaseTransitions: 0,
  };
  const first = await cluster.store.put('Lease', 'tartan-controller', lease, { expect: 'absent' });
  await follower.until(() => follower.objects.has('tartan-controller'), WAIT_MS);
  assert.deepEqual(follower.objects.get('tartan-controller')?.value, lease);
  assert.deepEqual(
    (await cluster.store.list('Lease')).map(({ name }) => name),
    ['tartan-controller'],
  );
  await cluster.store.remove('Lease', 'tartan-controller', { expect: first.version });
  assert.equal((await server.ask(`${path}/stranger`)).status, 200);
});

test('without definitions, and without rights: told, and nothing is believed', { skip }, async () => {
  const settings = { kubeconfig: server.kubeconfig('reader'), requestTimeoutSeconds: 5 };
  const notices: string[] = [];
  const store = openKubernetesStore({ settings, notice: (text) => notices.push(text) });
  using reader = wayTo(store);
  const follower = reader.follow('Node');
  await assert.rejects(store.list('Node'), { code: 'store-refused' });
  await follower.until(() => notices.length > 0, WAIT_MS);
  assert.match(notices.join(), /refuses this user/);
  // It is not over because something else is answered.
  for (let times = 0; times < 3; times += 1) {
    await store.client.call({ method: 'GET', path: '/version' });
    await assert.rejects(store.list('Node'), { code: 'store-refused' });
  }
  assert.equal(new Set(notices).size, notices.length, `each once: ${notices.join('; ')}`);
  assert.equal(follower.events.length, 0);
});

test('objects are applied, tried first, moved and removed', { skip }, async () => {
  const objects = await openObjects({
    type: 'kubernetes',
    kubernetes: { kubeconfig: server.kubeconfig(), requestTimeoutSeconds: 5 },
  });
  const wish = (value: Record<string, unknown>, name: string) => ({ name, value, origin: 'file' });
  const namespace = wish(
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'new' } },
    'v1/Namespace/new',
  );
  const own = (app: string) => ({ ...policy('web', app), metadata: { name: 'web', namespace: 'new' } });
  const NAME = 'networking.k8s.io/v1/NetworkPolicy/new/web';
  const claim = wish(
    {
      apiVersion: 'tartan.dev/v1',
      kind: 'SubnetClaim',
      metadata: { name: 'fd00:1::-64' },
      spec: { node: 'z' },
    },
    'tartan.dev/v1/SubnetClaim/fd00:1::-64',
  );
  const all = [wish(own('one'), NAME), namespace, claim];
  const outcomes = async (wishes: typeof all, isTrial = false): Promise<string> =>
    (await objects.apply(wishes, isTrial)).map(({ outcome }) => outcome).join(' ');
  assert.equal(await outcomes(all, true), 'created created created');
  assert.equal(await outcomes(all), 'created created created');
  assert.equal(await outcomes(all), 'unchanged unchanged unchanged');
  const since = server.audited().length;
  assert.equal(await outcomes(all), 'unchanged unchanged unchanged');
  const writes = server
    .audited()
    .slice(since)
    .filter(({ verb, requestURI }) => verb !== 'get' && !requestURI.includes('dryRun'));
  assert.deepEqual(writes, []);
  assert.equal(await outcomes([wish(own('two'), NAME)]), 'changed');
  // What another has set stays.
  await server.ask(`/apis/networking.k8s.io/v1/namespaces/new/networkpolicies/web`, {
    method: 'PATCH',
    body: { metadata: { labels: { theirs: 'x' } } },
  });
  assert.equal(await outcomes([wish(own('three'), NAME)]), 'changed');
  const listed = (await objects.list()).find(({ name }) => name === NAME);
  assert.match(JSON.stringify(listed?.value), /"theirs":"x".*three/);
  const odd = wish({ apiVersion: 'a.b/v1', kind: 'Odd', metadata: { name: 'a' } }, 'a.b/v1/Odd/a');
  const bad = wish({ ...own('four'), spec: { podSelector: 1 } }, NAME);
  await assert.rejects(objects.apply([namespace, odd, bad]), (error: Error & { problems?: unknown[] }) => {
    assert.equal(error.problems?.length, 2, JSON.stringify(error));
    return /nothing is changed/.test(error.message);
  });
  const removed = await objects.remove([NAME, claim.name, 'v1/Namespace/none']);
  assert.deepEqual(
    removed.map(({ outcome }) => outcome),
    ['removed', 'removed', 'absent'],
  );
  objects.close();
});
