import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyOf } from '#model/host.ts';
import type { NodeAdvert, Station } from '#model/world.ts';
import { address } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import { bridgeMac, type Self } from './backend.ts';
import { chooseForPeer } from './choose.ts';
import { advertOf, planNode, planPeer } from './node-plan.ts';
import { peerOf, selfOf } from './testing/nodes.ts';

const whys = (self: Self, peer: NodeAdvert): string =>
  chooseForPeer(self, peer)
    .unreachable.map((each) => each.why)
    .join('\n');

test('a segment: stations of the peer by its own addresses, copies for everybody, and nothing without a bridge or beside policies', () => {
  const self = selfOf('layer2');
  const station = (ip: string, end: string) => ({
    mac: mac(`02:00:00:00:00:${end}`),
    addresses: [address(ip)],
  });
  const peer = (stations: readonly Station[]): NodeAdvert => ({
    ...peerOf('layer2'),
    inside: { 4: address('10.244.2.1') },
    layer2: { vni: 2, port: 8472, stations },
  });
  const known = (node: NodeAdvert) => planPeer(self, node).items.map(keyOf).toSorted();
  const bridge = bridgeMac('peer-2');
  assert.deepEqual(known(peer([station('10.244.2.7', '07'), station('10.244.9.9', '09')])), [
    'fdb tartan.2 00:00:00:00:00:00 192.0.2.2',
    'fdb tartan.2 02:00:00:00:00:07',
    `fdb tartan.2 ${bridge}`,
    'neighbor cni0 10.244.2.1',
    'neighbor cni0 10.244.2.7',
    'nft-element peers4 192.0.2.2',
    'station tartan.2 02:00:00:00:00:07',
    `station tartan.2 ${bridge}`,
  ]);
  const group = { mac: mac('01:00:5e:00:00:01'), addresses: [address('10.244.2.8')] };
  assert.deepEqual(known(peer([group])), known(peer([])), 'a group address is nobody’s');
  const narrow = planPeer(self, { ...peer([]), mtu: 1400 }).items.find(({ kind }) => kind === 'route');
  assert.ok(narrow?.kind === 'route' && narrow.prefix === '192.0.2.2/32' && narrow.mtu === 1400);
  const { settings } = self;
  const routed: Self = { ...self, settings: { ...settings, wiring: { ...settings.wiring, type: 'routed' } } };
  const judged: Self = { ...self, settings: { ...settings, policy: { ...settings.policy, enforce: true } } };
  for (const [node, why] of [
    [routed, /has no bridge/],
    [judged, /enforces policies/],
  ] as const) {
    assert.match(whys(node, peer([])), why);
    assert.equal(advertOf(node, true).layer2, undefined);
    assert.ok(!planNode(node).some((item) => item.kind === 'link' && item.type === 'vxlan'));
  }
  assert.match(whys(self, { ...peer([]), layer2: { vni: 3, port: 8472 } }), /has VNI 3, this node 2/);
  assert.match(whys(selfOf('fou'), { ...peerOf('fou'), fou: { port: 1 } }), /has the port 1, this node 5555/);
});
