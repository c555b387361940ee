/** What objects of stores say of each other, and what becomes of those that do not fit together. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readManifests } from '#model/manifest.ts';
import { address } from '#net/address.ts';
import { evaluate } from '../evaluate.ts';
import { createInputs, type PolicyInputs, readInputs } from './inputs.ts';
import { manifestName } from './reading.ts';
import { restore, snapshotOf } from './snapshot.ts';

function put(inputs: PolicyInputs, ...texts: readonly string[]): string[] {
  return texts.map((text) => {
    const [manifest] = readManifests('test.yaml', text).manifests;
    assert.ok(manifest !== undefined, text);
    inputs.setManifest(manifestName(manifest), manifest);
    return manifestName(manifest);
  });
}

/** `head`: `apiVersion Kind`. */
function object(head: string, place: string, fields: string, labels = ''): string {
  const [apiVersion, kind] = head.split(' ');
  const [name, namespace] = place.split('/').reverse();
  const inside = namespace === undefined ? '' : `, namespace: ${namespace}`;
  return `{apiVersion: ${apiVersion}, kind: ${kind}, metadata: {name: ${name}${inside}, labels: {${labels}}}, ${fields}}\n`;
}

const calico = (kind: string, place: string, spec: string): string =>
  object(`projectcalico.org/v3 ${kind}`, place, `spec: {${spec}}`);
const core = (kind: string, place: string, fields: string, labels = ''): string =>
  object(`v1 ${kind}`, place, fields, labels);

const TIER = calico('Tier', 'ops', 'order: 5');
const IN_TIER = calico(
  'GlobalNetworkPolicy',
  'ops.shut',
  'tier: ops, selector: "app == \'web\'", ingress: [{action: Deny}]',
);

function inForce(inputs: PolicyInputs): string[] {
  return inputs
    .view()
    .book.enforced.flatMap(({ tier, policies }) => policies.map(({ name }) => `${tier.name}: ${name}`));
}

const messages = (inputs: PolicyInputs): string[] => inputs.view().problems.map(({ message }) => message);

/** Whether the first packet from one address to another may pass, at TCP port 80. */
function mayPass(inputs: PolicyInputs, from: string, to: string): boolean {
  const { book, world } = inputs.view();
  const flow = {
    protocol: 6,
    source: address(from),
    destination: address(to),
    sourcePort: 9,
    destinationPort: 80,
  };
  return evaluate(book, world, flow).action === 'allow';
}

test('a tier that goes stays as it was while policies are in it, so that what they deny does not pass', () => {
  const inputs = createInputs({ node: 'a' });
  const [tier = '', policy = ''] = put(
    inputs,
    TIER,
    IN_TIER,
    core('Pod', 'x/web', 'status: {podIP: 10.0.0.1}', 'app: web'),
  );
  assert.equal(mayPass(inputs, '10.0.0.9', '10.0.0.1'), false);
  inputs.setManifest(tier, undefined);
  assert.equal(mayPass(inputs, '10.0.0.9', '10.0.0.1'), false);
  assert.deepEqual(inForce(inputs), ['ops: ops.shut']);
  assert.deepEqual(messages(inputs), [
    'is gone, but stays as it was while policies are in it: GlobalNetworkPolicy ops.shut',
  ]);
  const again = restore(snapshotOf(inputs));
  assert.deepEqual(again.view(), inputs.view());
  inputs.setManifest(policy, undefined);
  assert.deepEqual(messages(inputs), []);
  put(inputs, IN_TIER);
  assert.deepEqual(inForce(inputs), []);
  assert.deepEqual(messages(inputs), ['there is no tier ops']);
});

test('a policy in a tier that nobody has told of is left out, and in force as soon as the tier comes', () => {
  const inputs = createInputs({ node: 'a' });
  put(inputs, IN_TIER);
  assert.deepEqual(inForce(inputs), []);
  assert.deepEqual(messages(inputs), ['there is no tier ops']);
  put(inputs, TIER);
  assert.deepEqual(inForce(inputs), ['ops: ops.shut']);
  assert.deepEqual(messages(inputs), []);
});

test('of objects that tell of the same the first by name counts, whichever came first, and the others are problems', () => {
  const stored = TIER.replace('projectcalico.org/v3', 'crd.projectcalico.org/v1').replace(
    'order: 5',
    'order: 6',
  );
  for (const texts of [
    [TIER, stored],
    [stored, TIER],
  ]) {
    const inputs = createInputs({ node: 'a' });
    put(inputs, ...texts);
    assert.equal(inputs.view().book.enforced[0]?.tier.order, 6);
    assert.deepEqual(messages(inputs), ['Tier ops is also in test.yaml:1']);
    inputs.setManifest('crd.projectcalico.org/v1/Tier/ops', undefined);
    assert.equal(inputs.view().book.enforced[0]?.tier.order, 5);
    assert.deepEqual(messages(inputs), []);
  }
});

test('offline, of documents of the same name the first file’s stays', () => {
  const view = readInputs(
    new Map([
      ['b.yaml', TIER],
      ['a.yaml', TIER.replace('5', '6')],
    ]),
    { node: 'a' },
  );
  assert.equal(view.book.enforced[0]?.tier.order, 5);
  assert.deepEqual(view.problems, [
    { path: 'a.yaml:1', message: 'projectcalico.org/v3/Tier/ops is also in b.yaml:1' },
  ]);
});

test('kinds that say nothing about traffic are warned of once each; policies of others are problems', () => {
  const inputs = createInputs({ node: 'a' });
  put(
    inputs,
    object('apps/v1 Deployment', 'x/a', 'spec: {}'),
    object('apps/v1 Deployment', 'x/b', 'spec: {}'),
    object('tuned.example/v1 Profile', 'x/p', 'spec: {}'),
    object('cilium.io/v2 CiliumNetworkPolicy', 'x/a', 'spec: {}'),
    object('networking.k8s.io/v2 NetworkPolicy', 'x/a', 'spec: {}'),
    object('discovery.k8s.io/v1beta1 EndpointSlice', 'x/a', 'addressType: IPv4'),
  );
  const { problems, warnings } = inputs.view();
  assert.deepEqual(
    warnings.map(({ message }) => message.split(' is ')[0]),
    ['Deployment of apps/v1', 'Profile of tuned.example/v1'],
  );
  assert.deepEqual(problems.map(({ message }) => message.slice(0, 40)).sort(), [
    'must be discovery.k8s.io/v1, not "discov',
    'must be networking.k8s.io/v1 or projectc',
    'must be one of NetworkPolicy, ClusterNet',
  ]);
});

test('what is wrong in the fields that are used is told at its line, what is wrong elsewhere is not asked', () => {
  const inputs = createInputs({ node: 'a' });
  const wrong = core(
    'Pod',
    'x/web',
    'spec: {nodeName: 7, containers: [{ports: [{containerPort: 0}], image: 9}]},\n status: {podIP: 10.0.0}',
  );
  const [name = ''] = put(inputs, wrong);
  assert.deepEqual(
    inputs.view().problems.map(({ path }) => path),
    [
      'test.yaml:1 spec.nodeName',
      'test.yaml:1 spec.containers.0.ports.0.containerPort',
      'test.yaml:2 status.podIP',
    ],
  );
  put(
    inputs,
    core('Pod', 'x/web', 'spec: {containers: [{image: 9, unknown: {}}]}, status: {podIP: "", phase: 1x}'),
  );
  assert.deepEqual(inputs.view().problems, []);
  assert.equal(inputs.view().world.endpoints.length, 1);
  inputs.setManifest(name, undefined);
  put(
    inputs,
    core('Node', 'n', 'status: {addresses: [{type: Hostname, address: n}, {type: InternalIP, address: n}]}'),
    object(
      'discovery.k8s.io/v1 EndpointSlice',
      'x/s',
      'addressType: IPv4, endpoints: [{addresses: [here]}]',
      'kubernetes.io/service-name: s',
    ),
    object(
      'discovery.k8s.io/v1 EndpointSlice',
      'x/t',
      'addressType: FQDN, endpoints: [{addresses: [here]}]',
      'kubernetes.io/service-name: s',
    ),
  );
  assert.deepEqual(
    inputs.view().problems.map(({ path }) => path),
    ['test.yaml:1 endpoints.0.addresses.0', 'test.yaml:1 status.addresses.1.address'],
  );
});

test('a pod that only its agent tells of is judged by its labels, and its addresses are nobody else’s', () => {
  const inputs = createInputs({ node: 'a' });
  put(inputs, TIER, IN_TIER, core('Pod', 'x/old', 'spec: {nodeName: a}, status: {podIP: 10.0.0.1}'));
  assert.equal(mayPass(inputs, '10.0.0.9', '10.0.0.1'), true);
  inputs.setOwn([{ namespace: 'x', name: 'new', labels: { app: 'web' }, addresses: [address('10.0.0.1')] }]);
  assert.equal(mayPass(inputs, '10.0.0.9', '10.0.0.1'), false);
  const pods = inputs
    .view()
    .world.endpoints.map((each) => `${each.name} ${'addresses' in each ? each.addresses.join() : ''}`);
  assert.deepEqual(pods, ['new 10.0.0.1', 'old ']);
});

test('a finished pod of this node is judged for as long as it has its address', () => {
  const inputs = createInputs({ node: 'a' });
  inputs.setOwn([{ namespace: 'x', name: 'web', labels: {}, addresses: [address('10.0.0.1')] }]);
  put(
    inputs,
    TIER,
    IN_TIER,
    core('Pod', 'x/web', 'spec: {nodeName: a}, status: {phase: Succeeded, podIP: 10.0.0.1}', 'app: web'),
  );
  assert.equal(mayPass(inputs, '10.0.0.9', '10.0.0.1'), false);
  inputs.setOwn([]);
  assert.deepEqual(
    inputs.view().world.endpoints.map((each) => 'addresses' in each && each.addresses),
    [[]],
  );
});

test('a pod that has a network of its own is no host-network pod, whatever is written of it', () => {
  const inputs = createInputs({ node: 'a' });
  put(inputs, TIER, IN_TIER, core('Pod', 'x/web', 'spec: {nodeName: a, hostNetwork: true}', 'app: web'));
  inputs.setOwn([{ namespace: 'x', name: 'web', labels: {}, addresses: [address('10.0.0.1')] }]);
  assert.equal(mayPass(inputs, '10.0.0.9', '10.0.0.1'), false);
});

test('host endpoints without interface follow the links of their node', () => {
  const links = new Map([['192.0.2.1', 'eth0']]);
  const inputs = createInputs({ node: 'a', linkOf: (asked) => links.get(asked) });
  put(
    inputs,
    calico('HostEndpoint', 'here', 'node: a, expectedIPs: [192.0.2.1]'),
    calico('HostEndpoint', 'there', 'node: b, expectedIPs: [192.0.2.1]'),
  );
  const interfaces = (): string[] =>
    inputs.view().world.endpoints.map((each) => (each.kind === 'host' ? each.interface : '-'));
  assert.deepEqual(interfaces(), ['eth0', '']);
  const before = inputs.view();
  assert.equal(inputs.view(), before);
  links.set('192.0.2.1', 'bond0');
  assert.deepEqual(interfaces(), ['bond0', '']);
});

test('namespaces have the label of their name, and a namespace that nobody tells of has it too', () => {
  const inputs = createInputs({ node: 'a' });
  const namespaced = (name: string): string =>
    object(
      'networking.k8s.io/v1 NetworkPolicy',
      'x/only',
      `spec: {podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ${name}}}}]}]}`,
    );
  put(
    inputs,
    core('Pod', 'x/web', 'status: {podIP: 10.0.0.1}'),
    core('Pod', 'y/web', 'status: {podIP: 10.0.0.2}'),
  );
  put(inputs, core('Namespace', 'y', 'spec: {}', 'team: t'), namespaced('y'));
  assert.equal(mayPass(inputs, '10.0.0.2', '10.0.0.1'), true);
  inputs.setManifest('v1/Namespace/y', undefined);
  assert.equal(mayPass(inputs, '10.0.0.2', '10.0.0.1'), true);
  put(inputs, namespaced('z'));
  assert.equal(mayPass(inputs, '10.0.0.2', '10.0.0.1'), false);
});

test('objects that name no namespace are in the default one', () => {
  const inputs = createInputs({ node: 'a', defaultNamespace: 'shop' });
  put(inputs, core('Pod', 'web', 'spec: {}'));
  assert.deepEqual(
    inputs.view().world.endpoints.map((each) => 'namespace' in each && each.namespace),
    ['shop'],
  );
});

test('backends of a service come of its slices, of its Endpoints, or else of the pods that it selects', () => {
  const inputs = createInputs({ node: 'a' });
  const backends = (): string[] =>
    (inputs.view().world.services.get('x/s') ?? []).map(
      (each) => `${each.protocol} ${each.address}:${each.port}`,
    );
  put(
    inputs,
    core(
      'Service',
      'x/s',
      'spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}, {port: 53, protocol: UDP}]}',
    ),
    core(
      'Pod',
      'x/web',
      'spec: {containers: [{ports: [{name: http, containerPort: 8080}]}]}, status: {podIP: 10.0.0.1}',
      'app: web',
    ),
    core('Pod', 'y/web', 'status: {podIP: 10.0.0.2}', 'app: web'),
    core(
      'Pod',
      'x/late',
      'status: {podIP: 10.0.0.3, conditions: [{type: Ready, status: "False"}]}',
      'app: web',
    ),
  );
  assert.deepEqual(backends(), ['6 10.0.0.1:8080', '17 10.0.0.1:53']);
  put(
    inputs,
    core(
      'Endpoints',
      'x/s',
      'subsets: [{addresses: [{ip: 10.0.0.7}], notReadyAddresses: [{ip: 10.0.0.8}], ports: [{port: 1, protocol: UDP}, {port: 1}]}]',
    ),
  );
  assert.deepEqual(backends(), ['6 10.0.0.7:1', '17 10.0.0.7:1']);
  const [slice = ''] = put(
    inputs,
    object(
      'discovery.k8s.io/v1 EndpointSlice',
      'x/s-1',
      'addressType: IPv4, ports: [{port: 2, protocol: SCTP}, {name: all}], endpoints: [{addresses: [10.0.0.4]}, {addresses: [10.0.0.5], conditions: {ready: false, serving: true}}, {addresses: [10.0.0.6], conditions: {ready: false}}]',
      'kubernetes.io/service-name: s',
    ),
  );
  assert.deepEqual(backends(), ['132 10.0.0.4:2', '132 10.0.0.5:2']);
  inputs.setManifest(slice, undefined);
  inputs.setManifest('v1/Endpoints/x/s', undefined);
  assert.deepEqual(backends(), ['6 10.0.0.1:8080', '17 10.0.0.1:53']);
  put(
    inputs,
    core('Service', 'x/s', 'spec: {type: ExternalName, selector: {app: web}, ports: [{port: 80}]}'),
  );
  assert.deepEqual(backends(), []);
});

test('whose answers about names are believed: addresses and backends of the cluster’s DNS, and of no other service', () => {
  const inputs = createInputs({ node: 'a' });
  const spec = (clusterIP: string, more = ''): string =>
    `spec: {clusterIP: ${clusterIP}${more}, ports: [{port: 53}]}`;
  put(
    inputs,
    core(
      'Service',
      'kube-system/kube-dns',
      spec('10.96.0.10', ', clusterIPs: [10.96.0.10, "fd00::a"]'),
      'k8s-app: kube-dns',
    ),
    core('Service', 'kube-system/headless', spec('None'), 'k8s-app: kube-dns'),
    core(
      'Endpoints',
      'kube-system/headless',
      'subsets: [{addresses: [{ip: 10.0.0.53}], ports: [{port: 53}]}]',
    ),
    core('Service', 'shop/kube-dns', spec('10.96.0.66'), 'k8s-app: kube-dns'),
    core('Service', 'kube-system/metrics', spec('10.96.0.67'), 'k8s-app: metrics'),
  );
  inputs.view();
  assert.deepEqual(inputs.dnsServers().sort(), ['10.0.0.53', '10.96.0.10', 'fd00::a']);
  inputs.setManifest('v1/Service/kube-system/kube-dns', undefined);
  inputs.view();
  assert.deepEqual(inputs.dnsServers(), ['10.0.0.53']);
});

test('addresses of names are in the world, in the snapshot, and only new where they are', () => {
  const inputs = createInputs({ node: 'a' });
  const before = inputs.view();
  const names = new Map([['*.example.org', new Set([address('192.0.2.1')])]]);
  inputs.setNames(names);
  assert.equal(inputs.view().world.names, names);
  assert.equal(inputs.view().world.endpoints, before.world.endpoints);
  assert.equal(inputs.view(), inputs.view());
  const again = restore(JSON.parse(JSON.stringify(snapshotOf(inputs))) as ReturnType<typeof snapshotOf>);
  assert.deepEqual(again.view().world.names, names);
});
