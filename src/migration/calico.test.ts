import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CalicoObject, objectsOfKeys, planCalico } from './calico.ts';

const OPTIONS = {
  format: (numbers: readonly number[]): string => numbers.join(),
  lengths: () => ({ min: 20, max: 30 }),
};

function object(kind: string, name: string, spec: object, apiVersion = 'projectcalico.org/v3'): CalicoObject {
  const value = { apiVersion, kind, metadata: { name }, spec };
  return { name: `${apiVersion}/${kind}/${name}`, origin: `f ${kind} ${name}`, value };
}

const POOL = object('IPPool', 'p', { cidr: '10.0.0.0/16', ipipMode: 'CrossSubnet', natOutgoing: true });
const pod = (handle: string, node: string): object => ({
  handle_id: handle,
  secondary: { pod: 'x', namespace: 'y', node },
});
const block = (spec: object): CalicoObject =>
  object('IPAMBlock', 'b', { cidr: '10.0.0.8/29', affinity: 'host:a', ...spec }, 'crd.projectcalico.org/v1');
const plan = (...objects: CalicoObject[]) => planCalico([POOL, ...objects], OPTIONS);

test('every address stays in the same hands, and what is free keeps its order', () => {
  const { blocks, pods, notes, problems } = plan(
    block({
      allocations: [0, 1, null, 2, null, null, 3, 4],
      attributes: [
        { handle_id: 'ipip-tunnel-addr-a', secondary: { node: 'a', type: 'ipipTunnelAddress' } },
        pod('k8s-pod-network.c1', 'a'),
        pod('k8s-pod-network.c3', 'b'),
        { handle_id: 'mine', secondary: { node: 'a' } },
        { ...pod('k8s-pod-network.c7', 'a'), releasedAt: '2026-01-01T00:00:00Z' },
      ],
      unallocated: [5, 2, 4],
    }),
  );
  assert.deepEqual(problems, []);
  assert.deepEqual(blocks, [
    {
      prefix: '10.0.0.8/29',
      node: 'a',
      free: '5,2,4,7',
      holders: { a: { numbers: '1,6', term: 0 }, b: { numbers: '3', term: 0 } },
    },
  ]);
  assert.deepEqual(
    [...pods],
    [
      ['a', [{ address: '10.0.0.9', containerId: 'c1', ifname: 'eth0', pod: { namespace: 'y', name: 'x' } }]],
      [
        'b',
        [{ address: '10.0.0.11', containerId: 'c3', ifname: 'eth0', pod: { namespace: 'y', name: 'x' } }],
      ],
    ],
  );
  assert.deepEqual(
    notes.map(({ message }) => message.replace(/:.*/, '')),
    ['10.0.0.8 (ipip-tunnel-addr-a) is given back', '10.0.0.14 (mine) is no pod’s that is known'],
  );
});

test('property: each number but the first is in exactly one list', () => {
  const allocation = fc.option(fc.nat(2));
  fc.assert(
    fc.property(
      fc.array(allocation, { minLength: 7, maxLength: 7 }),
      fc.array(fc.nat(9), { maxLength: 9 }),
      fc.option(fc.constantFrom('a', 'b')),
      (tail, unallocated, node) => {
        const attributes = [pod('n.c0', 'a'), pod('n.c1', 'b'), { handle_id: 'vxlan-tunnel-addr-a' }];
        const affinity = node === null ? null : `host:${node}`;
        const { blocks } = plan(block({ affinity, allocations: [null, ...tail], attributes, unallocated }));
        const [{ free, holders }] = blocks as [(typeof blocks)[0]];
        const lists = [free, ...Object.values(holders).map(({ numbers }) => numbers)];
        const numbers = lists.flatMap((list) => (list === '' ? [] : list.split(',').map(Number)));
        assert.deepEqual(
          numbers.toSorted((x, y) => x - y),
          [1, 2, 3, 4, 5, 6, 7],
        );
        for (const [at, index] of tail.entries())
          if (index === 0 || index === 1)
            assert.ok(holders[index === 0 ? 'a' : 'b']?.numbers.split(',').includes(String(at + 1)));
      },
    ),
  );
});

test('what cannot be ours is a problem at its object, all at once', () => {
  const { problems, blocks } = plan(
    block({
      allocations: [0, null, null, null, null, null, null, null],
      attributes: [pod('n.c', 'a')],
      unallocated: [],
    }),
    block({ cidr: '10.0.0.5/32', allocations: [null], attributes: [] }),
    block({ allocations: [null], attributes: [] }),
    block({ allocations: [null, 3, null, null, null, null, null, null], attributes: [] }),
    block({ cidr: '10.9.0.0/29', allocations: Array(8).fill(null), attributes: [] }),
  );
  assert.equal(blocks.length, 2);
  for (const [at, pattern] of [
    /first address/,
    /no block of ours/,
    /list of 8/,
    /no attributes/,
    /in no IPPool/,
  ].entries())
    assert.match(problems[at]?.message ?? '', pattern);
});

test('settings follow pools and Felix; the range holds all pools', () => {
  const settingsOf = (...objects: CalicoObject[]) => planCalico(objects, OPTIONS).settings;
  const pool = (more: object) => object('IPPool', 'p', { cidr: '10.1.0.0/16', ...more });
  const felix = object('FelixConfiguration', 'default', { vxlanPort: 4800 });
  assert.deepEqual(settingsOf(pool({ vxlanMode: 'Always' }), felix), {
    'network.ipv4.range': '10.1.0.0/16',
    'road.type': 'vxlan',
    'road.mode': 'Always',
    'road.vxlan.vni': 4096,
    'road.vxlan.port': 4800,
  });
  const two = settingsOf(pool({ ipipMode: 'CrossSubnet' }), object('IPPool', 'q', { cidr: '10.6.0.0/24' }));
  assert.deepEqual(
    [two['network.ipv4.range'], two['road.type'], two['road.mode']],
    ['10.0.0.0/13', 'bgp-ipip', 'CrossSubnet'],
  );
  assert.deepEqual(settingsOf(pool({}))['road.type'], 'bgp');
  const strict = object(
    'IPAMConfig',
    'default',
    { strictAffinity: true, maxBlocksPerHost: 4 },
    'crd.projectcalico.org/v1',
  );
  assert.equal(settingsOf(pool({}), strict)['addresses.blocks.strictAffinity'], true);
});

test('policies, pools and peers stay as they are; the rest is named one by one', () => {
  const kept = [object('GlobalNetworkPolicy', 'g', {}), object('BGPPeer', 'q', { peerIP: '192.0.2.1' })];
  const kubernetes = { ...object('NetworkPolicy', 'n', {}, 'networking.k8s.io/v1') };
  const { objects, notes } = plan(
    ...kept,
    kubernetes,
    object('ClusterInformation', 'default', {}),
    object('Strange', 's', {}),
    object('FelixConfiguration', 'default', { vxlanPort: 1, bpfEnabled: true }),
    object('BlockAffinity', 'a-10-0-0-0-26', {}),
  );
  assert.deepEqual(objects, [POOL, ...kept, kubernetes]);
  assert.deepEqual(
    notes.map(({ path }) => path.replace('projectcalico.org/v3/', '')),
    ['FelixConfiguration/default spec.bpfEnabled', 'ClusterInformation/default', 'Strange/s'],
  );
});

test('etcd’s layout: resources and blocks, and keys that are neither', () => {
  const spec = { cidr: '10.0.0.8/29', affinity: 'host:a', allocations: [], attributes: [] };
  const { objects, problems } = objectsOfKeys([
    { key: '/calico/resources/v3/projectcalico.org/ippools/p', value: JSON.stringify(POOL.value) },
    { key: '/calico/ipam/v2/assignment/ipv4/block/10.0.0.8-29', value: JSON.stringify(spec) },
    { key: '/calico/ipam/v2/host/a/ipv4/block/10.0.0.8-29', value: '{}' },
    { key: '/calico/resources/v3/projectcalico.org/tiers/t', value: '{' },
  ]);
  assert.deepEqual(
    objects.map(({ name }) => name),
    ['projectcalico.org/v3/IPPool/p', 'crd.projectcalico.org/v1/IPAMBlock/10.0.0.8-29'],
  );
  assert.deepEqual(objects[1]?.value['spec'], spec);
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['/calico/resources/v3/projectcalico.org/tiers/t'],
  );
});
