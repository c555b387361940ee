import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Complaints } from '#lib/complaints.ts';
import { holdersOf } from './holders.ts';
import { Policies } from './policies.ts';
import { Events } from '#lib/log.ts';
import { parseSettings } from '#config/parse.ts';
import { systemClock } from '#lib/clock.ts';
import { FakeKernel } from '#kernel/fake.ts';
import type { Attachment } from '#model/attachment.ts';
import { type Manifest, manifestOf } from '#model/manifest.ts';
import type { NodeWorkloads } from '#model/workload.ts';
import { address } from '#net/address.ts';
import { interfaceAddress, prefix } from '#net/prefix.ts';
import { openKeep } from '#stores/last-good.ts';

const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const SETTINGS = `apiVersion: tartan.dev/v1
kind: Settings
node: { name: n1 }
network: { ipv4: { range: 10.244.0.0/16 } }
policy: { enforce: true }
brake: { share: 0.5, minimum: 3 }
`;

type Bench = {
  readonly policies: Policies;
  readonly kernel: FakeKernel;
  readonly attachments: Attachment[];
  synced: boolean;
  readonly told: NodeWorkloads[];
  readonly texts: () => string[];
  /** What keeps accepted objects goes on in a successor. */
  readonly directory: string;
};

function start(t: TestContext, before?: Bench, placed = true): Bench {
  const directory = before?.directory ?? mkdtempSync(join(tmpdir(), 'tartan-policies-'));
  const kernel = before?.kernel ?? new FakeKernel();
  const stop = new AbortController();
  const keep = openKeep(join(directory, 'journal'));
  const { settings } = parseSettings([{ origin: 'test', text: SETTINGS }], { flannel: '' });
  const events = new Events(log);
  const attachments: Attachment[] = [];
  const bench = { synced: false };
  const told: NodeWorkloads[] = [];
  const policies = new Policies({
    settings,
    kernel,
    ledger: { list: () => attachments } as never,
    keep,
    clock: systemClock,
    log,
    events,
    // However long a loaded machine takes, all complaints are of one moment.
    complaints: new Complaints(events, { ...systemClock, monotonicMs: () => 0 }, stop.signal),
    signal: stop.signal,
    linkOf: () => undefined,
    routedTo: () => undefined,
    isSynced: () => bench.synced,
    onOwnPods: (pods) => told.push(pods),
    onLoaded: () => {},
    onLeave: () => {},
  });
  policies.begin();
  if (placed) policies.setPlace([], holdersOf([]));
  t.after(async () => {
    stop.abort();
    await policies.stopped;
    keep.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return Object.assign(bench, {
    policies,
    told,
    kernel,
    attachments,
    directory,
    texts: () => events.list().map(({ text }) => text),
  });
}

const attached = (name: string, ip: string, app: string): Attachment =>
  ({
    pod: { namespace: 'shop', name },
    addresses: [interfaceAddress(address(ip), 32)],
    labels: { app },
  }) as unknown as Attachment;

function isolate(app: string, extra: object = {}): [name: string, manifest: Manifest] {
  const value = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: app, namespace: 'shop' },
    spec: { podSelector: { matchLabels: { app } }, ...extra },
  };
  return [`networking.k8s.io/v1/NetworkPolicy/shop/${app}`, manifestOf(`${app}.yaml`, value)];
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const selected = ({ kernel }: Bench, ip: string): boolean =>
  kernel.policy.entries?.has(`ingress4 ${ip}`) === true;

test('nothing is loaded, and no pod added, before every source has told all', async (t) => {
  const bench = start(t, undefined, false);
  const { policies, kernel, attachments } = bench;
  attachments.push(attached('db', '10.244.0.2', 'db'));
  policies.setManifest(...isolate('db'));
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(kernel.policy.entries, undefined);
  assert.deepEqual(policies.notReady(), ['the policies have not been read yet']);
  bench.synced = true;
  policies.dismiss();
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(kernel.policy.entries, undefined, 'the node’s own addresses are not known');
  policies.setPlace([address('192.0.2.1')], holdersOf([]));
  await until('the table', () => selected(bench, '10.244.0.2'));
  assert.deepEqual(policies.notReady(), []);
});

const POD = 'v1/Pod/shop/web';
const podObject = (uid: string): Manifest =>
  manifestOf('api', {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: 'shop', name: 'web', uid, labels: { app: 'web' } },
    spec: { containers: [{ ports: [{ name: 'http', containerPort: 80 }] }] },
  });

test('a pod whose object is gone keeps its labels as long as it is attached, over a restart too', async (t) => {
  const first = start(t);
  first.synced = true;
  first.attachments.push({
    ...attached('web', '10.244.0.2', ''),
    labels: {},
    pod: { namespace: 'shop', name: 'web', uid: 'u1' },
  });
  first.policies.setManifest(POD, podObject('u1'));
  first.policies.setManifest(...isolate('web'));
  first.policies.dismiss();
  await until('the policy selects it', () => selected(first, '10.244.0.2'));
  first.policies.setManifest(POD, undefined);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.ok(selected(first, '10.244.0.2'));

  const second = start(t, first);
  second.attachments.push(...first.attachments);
  const [name, policy] = isolate('web');
  second.policies.setManifest(name, policy);
  second.policies.forgetOthers(new Set([name]));
  second.synced = true;
  second.policies.dismiss();
  await until('the policies are loaded', () => second.policies.notReady().length === 0);
  assert.ok(selected(second, '10.244.0.2'));
  second.attachments.pop();
  second.policies.dismiss();
  await until('it is let go', () => !selected(second, '10.244.0.2'));
});

test('another pod of that name has its own labels', async (t) => {
  const bench = start(t);
  bench.synced = true;
  bench.attachments.push({
    ...attached('web', '10.244.0.2', ''),
    labels: {},
    pod: { namespace: 'shop', name: 'web', uid: 'u2' },
  });
  bench.policies.setManifest(POD, podObject('u1'));
  bench.policies.setManifest(...isolate('web'));
  bench.policies.dismiss();
  await until('the policy selects it', () => selected(bench, '10.244.0.2'));
  bench.policies.setManifest(POD, undefined);
  await until('it is let go', () => !selected(bench, '10.244.0.2'));
});

test('the other nodes are told of pods with what their objects say, and not before these are known', async (t) => {
  const bench = start(t);
  bench.attachments.push({
    ...attached('web', '10.244.0.2', ''),
    labels: {},
    pod: { namespace: 'shop', name: 'web', uid: 'u1' },
  });
  bench.policies.dismiss();
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(bench.told.length, 0);
  bench.synced = true;
  bench.policies.setManifest(POD, podObject('u1'));
  await until('told', () => bench.told.length > 0);
  assert.deepEqual(bench.told[0]?.pods, [
    {
      namespace: 'shop',
      name: 'web',
      addresses: ['10.244.0.2'],
      labels: { app: 'web' },
      ports: [{ name: 'http', protocol: 6, port: 80 }],
    },
  ]);
});

test('a pod’s rules are in the kernel when it is admitted, and a pod without them is not', async (t) => {
  const bench = start(t);
  const { policies, kernel, attachments } = bench;
  policies.setManifest(...isolate('db'));
  bench.synced = true;
  policies.nudge();
  await until('the table', () => kernel.policy.entries !== undefined);
  attachments.push(attached('db', '10.244.0.2', 'db'));
  policies.admit();
  assert.ok(selected(bench, '10.244.0.2'));
  attachments.push(attached('other', '10.244.0.3', 'db'));
  kernel.policy.refusals = 2;
  assert.throws(() => policies.admit(), { code: 'policy-load' });
  assert.ok(!selected(bench, '10.244.0.3') && selected(bench, '10.244.0.2'), 'what was there stays');
  await until('the load to be made up for', () => selected(bench, '10.244.0.3'));
});

test('a wrong object stays in force as it was, also for a successor', async (t) => {
  const bench = start(t);
  bench.attachments.push(attached('db', '10.244.0.2', 'db'));
  bench.synced = true;
  bench.policies.setManifest(...isolate('db'));
  bench.policies.setManifest(...isolate('db', { podSelector: { app: 'db' } }));
  bench.policies.dismiss();
  await until('the table', () => selected(bench, '10.244.0.2'));
  assert.match(bench.texts().join('\n'), /unknown field; it stays in force as it was/);
  const later = start(t, bench);
  later.attachments.push(attached('db', '10.244.0.2', 'db'));
  later.policies.setManifest(...isolate('db', { podSelector: { app: 'db' } }));
  later.synced = true;
  later.policies.dismiss();
  await until('the successor’s table', () => later.policies.notReady().length === 0);
  assert.ok(selected(later, '10.244.0.2'));
  assert.equal(later.policies.describe().problems.length, 1);
});

test('a tier that is gone while policies are in it stays, also for a successor', async (t) => {
  const calico = (kind: string, name: string, spec: object): [string, Manifest] => {
    const value = { apiVersion: 'projectcalico.org/v3', kind, metadata: { name }, spec };
    return [`projectcalico.org/v3/${kind}/${name}`, manifestOf(`${name}.yaml`, value)];
  };
  const tier = calico('Tier', 'ops', { order: 10 });
  const policy = calico('GlobalNetworkPolicy', 'ops.all', { tier: 'ops', types: ['Ingress'] });
  const bench = start(t);
  bench.attachments.push(attached('db', '10.244.0.2', 'db'));
  bench.synced = true;
  bench.policies.setManifest(...tier);
  bench.policies.setManifest(...policy);
  bench.policies.dismiss();
  await until('the table', () => selected(bench, '10.244.0.2'));
  bench.policies.setManifest(tier[0], undefined);
  await until('the problem', () => bench.policies.describe().problems.length > 0);
  assert.ok(selected(bench, '10.244.0.2'));
  const later = start(t, bench);
  later.attachments.push(attached('db', '10.244.0.2', 'db'));
  later.policies.setManifest(...policy);
  later.policies.forgetOthers(new Set([policy[0]]));
  later.synced = true;
  later.policies.dismiss();
  await until('the successor’s table', () => later.policies.notReady().length === 0);
  assert.ok(selected(later, '10.244.0.2'));
});

test('too much that vanishes at once stays until the operator agrees', async (t) => {
  const bench = start(t);
  const { policies, attachments } = bench;
  const apps = ['a', 'b', 'c', 'd', 'e'];
  for (const [index, app] of apps.entries()) {
    attachments.push(attached(app, `10.244.0.${index + 2}`, app));
    policies.setManifest(...isolate(app));
  }
  bench.synced = true;
  policies.dismiss();
  await until('the table', () => selected(bench, '10.244.0.6'));
  for (const app of apps.slice(0, 4)) policies.setManifest(isolate(app)[0], undefined);
  await until('the brake', () => policies.braked !== undefined);
  assert.ok(selected(bench, '10.244.0.2'));
  assert.match(policies.describe().braked ?? '', /4 of 5/);
  policies.release();
  await until('the removal', () => !selected(bench, '10.244.0.2'));
  assert.ok(selected(bench, '10.244.0.6'));
  assert.equal(policies.braked, undefined);
});

test('ten thousand wrong objects are ten events and a number', async (t) => {
  const bench = start(t);
  for (let index = 0; index < 10_000; index += 1)
    bench.policies.setManifest(...isolate(`w${index}`, { ingress: index }));
  assert.equal(bench.texts().length, 10);
  await until('the sum', () => bench.texts().length > 10);
  assert.match(bench.texts().at(-1) ?? '', /^9990 more objects are wrong/);
});

test('what a dead node told of its pods counts for nothing where its subnet is another’s', async (t) => {
  const bench = start(t);
  const { policies } = bench;
  const pods = (node: string, app: string): void =>
    policies.setWorkloads(node, {
      node,
      pods: [{ namespace: 'shop', name: app, addresses: [address('10.244.7.2')], labels: { app } }],
    });
  const labels = (): unknown[] =>
    policies
      .view()
      .world.endpoints.flatMap((each) =>
        each.kind === 'pod' && each.addresses.includes(address('10.244.7.2')) ? [each.labels['app']] : [],
      );
  const claims = (node: string): void =>
    policies.setPlace([], holdersOf([{ node, subnet: prefix('10.244.7.0/24'), reserved: false }]));
  pods('dead', 'trusted');
  claims('dead');
  assert.deepEqual(labels(), ['trusted']);
  claims('alive');
  assert.deepEqual(labels(), []);
  pods('alive', 'other');
  assert.deepEqual(labels(), ['other']);
  claims('dead');
  assert.deepEqual(labels(), ['trusted']);
});

test('what a change denies is cut, also where a new pod has loaded it before', async (t) => {
  const bench = start(t);
  const { policies, kernel, attachments } = bench;
  attachments.push(attached('db', '10.244.0.2', 'db'));
  bench.synced = true;
  policies.dismiss();
  await until('the table', () => kernel.policy.entries !== undefined);
  const walks = kernel.walks;
  policies.setManifest(...isolate('db'));
  attachments.push(attached('other', '10.244.0.3', 'other'));
  policies.admit();
  assert.ok(selected(bench, '10.244.0.2'));
  await until('the walk', () => kernel.walks > walks);
});

test('a paused node’s table stays as it is', async (t) => {
  const bench = start(t);
  const { policies, attachments } = bench;
  attachments.push(attached('db', '10.244.0.2', 'db'));
  bench.synced = true;
  policies.setManifest(...isolate('db'));
  policies.dismiss();
  await until('the table', () => selected(bench, '10.244.0.2'));
  policies.paused = true;
  policies.setManifest(isolate('db')[0], undefined);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.ok(selected(bench, '10.244.0.2'));
  policies.release();
  await until('the removal', () => !selected(bench, '10.244.0.2'));
});
