/** What objects of stores make of the book and the world, case by case. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manifestOf, readManifests } from '#model/manifest.ts';
import type { Pod, Workload } from '#model/workload.ts';
import { address } from '#net/address.ts';
import { createInputs, type PolicyInputs } from './inputs.ts';
import { readInputs } from './inputs.ts';
import { manifestName } from './reading.ts';
import { restore, snapshotOf } from './snapshot.ts';

const NODE = 'a';

function put(inputs: PolicyInputs, text: string): string[] {
  return readManifests('test.yaml', text).manifests.map((manifest) => {
    inputs.setManifest(manifestName(manifest), manifest);
    return manifestName(manifest);
  });
}

function made(text: string): PolicyInputs {
  const inputs = createInputs({ node: NODE });
  put(inputs, text);
  return inputs;
}

function pods(inputs: PolicyInputs): Pod[] {
  return inputs.view().world.endpoints.filter((each): each is Pod => each.kind === 'pod');
}

function names(inputs: PolicyInputs): string[] {
  return inputs
    .view()
    .book.enforced.flatMap(({ tier, policies }) => policies.map(({ name }) => `${tier.name}: ${name}`));
}

const run = (place: string, addresses: readonly string[], labels: Workload['labels'] = {}): Workload => {
  const [namespace = '', name = ''] = place.split('/');
  return { namespace, name, addresses: addresses.map(address), labels };
};

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {}}
`;

const POD = `apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  nodeName: b
  serviceAccountName: robot
  containers:
    - ports: [{name: http, containerPort: 8080}, {containerPort: 9}]
  initContainers:
    - ports: [{name: once, containerPort: 1}]
    - restartPolicy: Always
      ports: [{name: side, containerPort: 2, protocol: UDP}]
status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}
`;

test('a Pod object becomes an endpoint with its labels, account, addresses and named ports', () => {
  assert.deepEqual(pods(made(POD)), [
    {
      kind: 'pod',
      namespace: 'shop',
      name: 'web',
      labels: { app: 'web' },
      node: 'b',
      account: 'robot',
      addresses: ['10.0.0.1', 'fd00::1'],
      ports: [
        { name: 'http', protocol: 6, port: 8080 },
        { name: 'side', protocol: 17, port: 2 },
      ],
      hostNetwork: false,
    },
  ]);
});

test('the view is the same object until something changes, and so are its parts', () => {
  const inputs = made(POLICY + '---\n' + POD);
  const before = inputs.view();
  assert.equal(inputs.view(), before);
  put(inputs, POD.replace('phase: Running', 'phase: Running, startTime: later'));
  assert.equal(inputs.view(), before);
  put(inputs, POD.replace('app: web', 'app: db'));
  const after = inputs.view();
  assert.notEqual(after.world, before.world);
  assert.equal(after.book, before.book);
  assert.equal(after.world.namespaces, before.world.namespaces);
});

test('a wrong object leaves its last good self in force until it is removed', () => {
  const inputs = createInputs({ node: NODE });
  const [name = ''] = put(inputs, POLICY);
  const wrong = readManifests('test.yaml', POLICY.replace('podSelector', 'podSelectors')).manifests[0];
  assert.ok(wrong);
  const problems = inputs.setManifest(name, wrong);
  assert.ok(problems.length > 0);
  assert.deepEqual(inputs.view().problems, problems);
  assert.deepEqual(names(inputs), ['default: shop/web']);
  inputs.setManifest(name, undefined);
  assert.deepEqual(names(inputs), []);
  assert.deepEqual(inputs.view().problems, []);
});

test('offline: texts by file, with problems at their lines', () => {
  const view = readInputs(
    new Map([
      ['a.yaml', POLICY],
      ['b.yaml', `${POLICY}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n`],
      ['c.yaml', 'a: [\n'],
    ]),
    { node: NODE },
  );
  assert.equal(view.problems.length, 2);
  assert.equal(view.problems[0]?.path, 'b.yaml:1');
  assert.match(view.problems[1]?.path ?? '', /^c\.yaml:/);
  assert.equal(view.warnings.length, 1);
});

test('what a node tells of its pods says elsewhere what their objects say here', () => {
  const mine = POD.replace('nodeName: b', `nodeName: ${NODE}`);
  const here = made(mine);
  here.setOwn([run('shop/db', ['10.0.0.2']), run('shop/web', ['10.0.0.9'], { app: 'old' })]);
  const there = createInputs({ node: 'b' });
  const tell = (): void =>
    there.setWorkloads(NODE, { node: NODE, pods: JSON.parse(JSON.stringify(here.told())) });
  tell();
  assert.deepEqual(pods(there), pods(here));
  assert.deepEqual(pods(there)[1]?.labels, { app: 'web' });
  assert.equal(pods(there)[1]?.account, 'robot');
  // What has finished is nobody elsewhere; here its rules stay as long as its link does.
  put(here, mine.replace('phase: Running', 'phase: Failed'));
  tell();
  assert.deepEqual(pods(there)[1]?.addresses, []);
  assert.deepEqual(pods(here)[1]?.addresses, ['10.0.0.9']);
});

test('a snapshot, as JSON and back, makes the same view', () => {
  const inputs = made(`${POLICY}---\n${POD}`);
  inputs.setOwn([run('shop/db', ['10.0.0.2'])]);
  inputs.setNode('b', [address('192.0.2.2')]);
  inputs.setManifest('bad', manifestOf('bad.yaml', { kind: 'NetworkPolicy', apiVersion: 'v7' }));
  const again = restore(JSON.parse(JSON.stringify(snapshotOf(inputs))) as ReturnType<typeof snapshotOf>);
  assert.deepEqual(again.view(), inputs.view());
  assert.equal(inputs.view().problems.length, 1);
});
