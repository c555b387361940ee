/**
 * After any changes the view is that of the plainest reader: one that keeps what was told last and makes the whole
 * world of it; it is that of a snapshot too, and what has not changed is the object that it was.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { manifestOf } from '#model/manifest.ts';
import type { PolicySnapshot } from '#model/policy-snapshot.ts';
import type { Endpoint, Labels, NodeWorkloads, Workload } from '#model/workload.ts';
import { address, type Address } from '#net/address.ts';
import { compile, createCompiler } from '../compile/compiler.ts';
import { createInputs, type PolicyInputs, type PolicyView } from './inputs.ts';
import { restore, snapshotOf } from './snapshot.ts';
import { plainWorld, type Told } from './testing/plain.ts';

const oneOf = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const NODES = ['a', 'b', 'c'];
const PLACES = ['one/p', 'one/q', 'two/p'];
const ADDRESSES = ['10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1'].map(address);
const labels = fc
  .dictionary(oneOf(['app', 'role']), oneOf(['x', 'y']), { maxKeys: 2 })
  .map((made): Labels => ({ ...made }));
const some = fc.subarray(ADDRESSES, { maxLength: 2 });

const maybe = <T>(value: fc.Arbitrary<T>, weight = 3): fc.Arbitrary<T | undefined> =>
  fc.oneof({ arbitrary: value, weight }, { arbitrary: fc.constant(undefined), weight: 1 });

type Fields = Readonly<Record<string, unknown>>;

function objects(
  [apiVersion, kind]: readonly [string, string],
  places: readonly string[],
  fields: fc.Arbitrary<Fields>,
): fc.Arbitrary<Told> {
  return fc.tuple(oneOf(places), maybe(fc.tuple(maybe(labels), fields))).map(([place, made]): Told => {
    const [name, namespace] = place.split('/').reverse();
    const id = `${apiVersion}/${kind}/${place}`;
    if (made === undefined) return { what: 'object', name: id, value: undefined };
    const metadata = { name, namespace, labels: made[0] };
    const value: unknown = JSON.parse(JSON.stringify({ apiVersion, kind, metadata, ...made[1] }));
    return { what: 'object', name: id, value };
  });
}

const ports = fc.subarray([
  { name: 'http', containerPort: 80 },
  { name: 'dns', containerPort: 53, protocol: 'UDP' },
  { containerPort: 9 },
]);
const pods = objects(
  ['v1', 'Pod'],
  PLACES,
  fc
    .record({
      node: maybe(oneOf(NODES)),
      account: maybe(oneOf(['robot', ''])),
      ports,
      sidecar: maybe(ports, 1),
      hostNetwork: oneOf([undefined, undefined, undefined, true]),
      phase: oneOf([undefined, 'Running', 'Running', 'Succeeded', 'Failed']),
      ips: some,
      ready: oneOf([undefined, 'True', 'False']),
    })
    .map(({ node, account, ports, sidecar, hostNetwork, phase, ips, ready }) => ({
      spec: {
        nodeName: node,
        serviceAccountName: account,
        hostNetwork,
        containers: [{ name: 'main', image: 'i', ports }],
        initContainers: [{ ports }, { restartPolicy: 'Always', ports: sidecar }],
      },
      status: {
        phase,
        podIP: ips[0],
        podIPs: ips.map((ip) => ({ ip })),
        conditions: ready === undefined ? undefined : [{ type: 'Ready', status: ready }],
      },
    })),
);

const SERVICES = ['one/s', 'two/s'];
const services = objects(
  ['v1', 'Service'],
  SERVICES,
  fc
    .record({
      selector: maybe(labels, 5),
      port: oneOf([80, 81]),
      target: oneOf([undefined, 8080, 'http', 'dns']),
      protocol: oneOf([undefined, 'UDP']),
      ipFamilies: oneOf([undefined, ['IPv4'], ['IPv6', 'IPv4']]),
      early: oneOf([undefined, true]),
    })
    .map(({ selector, port, target, protocol, ipFamilies, early }) => ({
      spec: {
        selector,
        ports: [{ port, targetPort: target, protocol }],
        ipFamilies,
        publishNotReadyAddresses: early,
      },
    })),
);
const conditions = fc.record({
  ready: oneOf([undefined, true, false]),
  serving: oneOf([undefined, true, false]),
});
const slices = fc
  .tuple(
    oneOf(['one/x', 'one/y', 'two/x']),
    maybe(fc.array(fc.record({ addresses: some, conditions }), { maxLength: 2 }), 1),
  )
  .map(([place, endpoints]): Told => {
    const [namespace = '', name = ''] = place.split('/');
    const metadata = { namespace, name, labels: { 'kubernetes.io/service-name': 's' } };
    const about = { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata };
    const value = JSON.parse(
      JSON.stringify({
        ...about,
        addressType: 'IPv4',
        endpoints,
        ports: [{ port: 80 }, { protocol: 'UDP' }],
      }),
    ) as unknown;
    const id = `discovery.k8s.io/v1/EndpointSlice/${place}`;
    return { what: 'object', name: id, value: endpoints === undefined ? undefined : value };
  });
const endpoints = objects(
  ['v1', 'Endpoints'],
  SERVICES,
  some.map((ips) => ({ subsets: [{ addresses: ips.map((ip) => ({ ip })), ports: [{ port: 80 }] }] })),
);
const others = fc.oneof(
  objects(['v1', 'Namespace'], ['one', 'two'], fc.constant({})),
  objects(['v1', 'ServiceAccount'], ['one/robot', 'two/default'], fc.constant({})),
  objects(
    ['v1', 'Node'],
    NODES,
    some.map((ips) => ({
      status: {
        addresses: [
          { type: 'Hostname', address: 'x' },
          ...ips.map((ip) => ({ type: 'InternalIP', address: ip })),
        ],
      },
    })),
  ),
);
const policies = fc.oneof(
  objects(
    ['networking.k8s.io/v1', 'NetworkPolicy'],
    PLACES,
    labels.map((matchLabels) => ({
      spec: { podSelector: { matchLabels }, ingress: [{ from: [{ podSelector: { matchLabels } }] }] },
    })),
  ),
  objects(
    ['projectcalico.org/v3', 'GlobalNetworkPolicy'],
    ['ops.g', 'default.g'],
    oneOf(['ops', 'default']).map((tier) => ({
      spec: {
        tier,
        selector: 'all()',
        egress: [{ action: 'Allow', destination: { services: { name: 's', namespace: 'one' } } }],
      },
    })),
  ),
  objects(
    ['projectcalico.org/v3', 'Tier'],
    ['ops'],
    oneOf([1, 2]).map((order) => ({ spec: { order } })),
  ),
  objects(
    ['projectcalico.org/v3', 'Profile'],
    ['p'],
    maybe(labels).map((labelsToApply) => ({ spec: { labelsToApply } })),
  ),
  objects(
    ['projectcalico.org/v3', 'HostEndpoint'],
    ['h'],
    fc
      .record({
        node: oneOf(NODES),
        interfaceName: oneOf(['', 'eth9']),
        expectedIPs: fc.constant(ADDRESSES.slice(0, 2)),
        profiles: fc.subarray(['p']),
      })
      .map((spec) => ({ spec })),
  ),
  objects(['crd.projectcalico.org/v1', 'Tier'], ['ops'], fc.constant({ spec: { order: 3 } })),
);

const runs = fc.array(fc.tuple(oneOf(PLACES), some, labels), { maxLength: 3 }).map((list) =>
  list.map(([place, addresses, labels]): Workload => {
    const [namespace = '', name = ''] = place.split('/');
    return { namespace, name, addresses, labels };
  }),
);
const changes: fc.Arbitrary<Told[]> = fc.array(
  fc.oneof(
    { arbitrary: pods, weight: 6 },
    { arbitrary: services, weight: 3 },
    { arbitrary: slices, weight: 2 },
    { arbitrary: endpoints, weight: 1 },
    { arbitrary: others, weight: 2 },
    { arbitrary: policies, weight: 5 },
    {
      arbitrary: fc
        .tuple(oneOf(NODES), maybe(runs))
        .map(([node, pods]): Told => ({ what: 'workloads', node, pods })),
      weight: 4,
    },
    { arbitrary: runs.map((pods): Told => ({ what: 'own', pods })), weight: 2 },
    {
      arbitrary: fc
        .tuple(oneOf(NODES), maybe(some))
        .map(([node, addresses]): Told => ({ what: 'node', node, addresses })),
      weight: 1,
    },
    { arbitrary: fc.constant<Told>({ what: 'look' }), weight: 2 },
  ),
  { maxLength: 25, size: 'max' },
);

const linkOf = (asked: Address): string | undefined => (asked === ADDRESSES[1] ? 'eth0' : undefined);

function newInputs(): PolicyInputs {
  return createInputs({ node: 'a', linkOf });
}

function apply(inputs: PolicyInputs, told: Told): void {
  if (told.what === 'object') {
    const manifest = told.value === undefined ? undefined : manifestOf(`${told.name}.yaml`, told.value);
    assert.deepEqual(inputs.setManifest(told.name, manifest), [], JSON.stringify(told.value));
  }
  if (told.what === 'workloads') {
    const value: NodeWorkloads | undefined = told.pods && { node: told.node, pods: told.pods };
    inputs.setWorkloads(told.node, value);
  }
  if (told.what === 'own') inputs.setOwn(told.pods);
  if (told.what === 'node') inputs.setNode(told.node, told.addresses);
  if (told.what === 'look') inputs.view();
}

test('after any changes the world is that of the plainest reader, of a snapshot, and of whoever comes late', () => {
  const seen = { pods: 0, twice: 0, backends: 0, taken: 0, hosts: 0 };
  fc.assert(
    fc.property(changes, (list) => {
      const inputs = newInputs();
      for (const told of list) apply(inputs, told);
      const { world, book, problems, warnings } = inputs.view();
      assert.deepEqual(world, { ...world, ...plainWorld(list, { node: 'a', linkOf }) });
      const again = restore(JSON.parse(JSON.stringify(snapshotOf(inputs))) as PolicySnapshot);
      assert.deepEqual(again.view(), { world, book, problems, warnings });
      note(seen, world.endpoints, world.services);
    }),
    { numRuns: 300 },
  );
  for (const [what, count] of Object.entries(seen)) assert.ok(count > 30, `${what}: only ${count}`);
});

function note(
  seen: Record<string, number>,
  endpoints: readonly Endpoint[],
  services: PolicyView['world']['services'],
): void {
  const found = endpoints.filter((each) => each.kind === 'pod').map((pod) => `${pod.namespace}/${pod.name}`);
  const add = (what: string, count: number): void => void (seen[what] = (seen[what] ?? 0) + count);
  add('pods', found.length);
  add('twice', found.length - new Set(found).size);
  add('hosts', endpoints.length - found.length);
  add('backends', [...services.values()].flat().length);
  const own = endpoints.filter(
    (each) => each.kind === 'pod' && each.node === 'a' && each.addresses.length > 0,
  );
  add('taken', own.length);
}

test('looked at after each change it is the same, what has not changed is the same object, and a compiler that follows says what one from nothing says', () => {
  fc.assert(
    fc.property(changes, (list) => {
      const inputs = newInputs();
      const compiler = createCompiler('a');
      let before = inputs.view();
      for (const told of list) {
        apply(inputs, told);
        const view = inputs.view();
        assertKept(before, view);
        compiler.update(view.book, view.world);
        before = view;
      }
      assert.deepEqual(before.world, { ...before.world, ...plainWorld(list, { node: 'a', linkOf }) });
      const { chains, entries } = compiler.program();
      const whole = compile(before.book, before.world, { node: 'a' });
      assert.equal(entries.size, whole.entries.size);
      assert.equal(chains.size, whole.chains.size);
    }),
    { numRuns: 300 },
  );
});

function assertKept(before: PolicyView, now: PolicyView): void {
  const keys = Object.keys(now.world) as (keyof PolicyView['world'])[];
  const old = new Map(before.world.endpoints.map((each) => [keyOf(each), each]));
  const pairs: (readonly [unknown, unknown])[] = [
    [before, now],
    [before.world, now.world],
    [before.problems, now.problems],
    [before.warnings, now.warnings],
    ...keys.map((key) => [before.world[key], now.world[key]] as const),
    ...now.world.endpoints.map((each) => [old.get(keyOf(each)), each] as const),
  ];
  for (const [was, is] of pairs) if (isDeepStrictEqual(was, is)) assert.ok(was === is);
}

function keyOf(endpoint: Endpoint): string {
  return endpoint.kind === 'pod' ? `${endpoint.namespace}/${endpoint.name} ${endpoint.node}` : endpoint.name;
}
