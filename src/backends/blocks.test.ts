/** Nodes whose addresses are of blocks: a leg for each block and borrowed address, and rules that name none of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseForPeer } from './choose.ts';
import { advertOf, planNode, planPeer } from './node-plan.ts';
import { peerOf, selfOf } from './testing/nodes.ts';
import type { Self } from './backend.ts';
import type { NodeAdvert } from '#model/world.ts';
import { prefix } from '#net/prefix.ts';

function blockSelf(road: 'vxlan' | 'wireguard'): Self {
  const self = selfOf(road);
  const { settings } = self;
  const addresses = { ...settings.addresses, type: 'blocks' as const };
  return { ...self, subnets: { 4: prefix('10.244.1.0/26') }, settings: { ...settings, addresses } };
}

const PEER: NodeAdvert = {
  ...peerOf('vxlan'),
  subnets: { 4: prefix('10.244.2.0/26') },
  addressing: 'blocks',
  blocks: [prefix('10.244.2.0/26'), prefix('10.244.2.64/26'), prefix('10.244.1.9/32')],
};

test('a peer has a leg for each block and each address that it borrowed, also of this node’s', () => {
  const { legs, unreachable } = chooseForPeer(blockSelf('vxlan'), PEER);
  assert.deepEqual(unreachable, []);
  assert.deepEqual(
    legs.map((leg) => leg.prefix),
    ['10.244.2.0/26', '10.244.2.64/26', '10.244.1.9/32'],
  );
  const routes = planPeer(blockSelf('vxlan'), PEER).items.flatMap((item) =>
    item.kind === 'route' && item.type === 'unicast' ? `${item.prefix} via ${item.via}` : [],
  );
  assert.deepEqual(routes, [
    '10.244.2.0/26 via 10.244.2.0',
    '10.244.2.64/26 via 10.244.2.64',
    '10.244.1.9/32 via 10.244.1.9',
  ]);
});

test('a node with a subnet does not give way to blocks in it', () => {
  const own = { ...selfOf('vxlan'), subnets: { 4: prefix('10.244.1.0/24') } };
  const { legs, unreachable } = chooseForPeer(own, PEER);
  assert.deepEqual(
    legs.map((leg) => leg.prefix),
    ['10.244.2.0/26', '10.244.2.64/26'],
  );
  assert.match(unreachable[0]?.why ?? '', /10.244.1.9\/32, which overlaps this node’s own/);
});

test('the advert says that its subnet is a block, and no block', () => {
  const { addressing, subnets, blocks } = advertOf(blockSelf('vxlan'), true);
  assert.deepEqual([addressing, subnets, blocks], ['blocks', { 4: '10.244.1.0/26' }, undefined]);
});

for (const road of ['vxlan', 'wireguard'] as const) {
  test(`${road}: rules are the same whatever blocks the node has`, () => {
    const self = blockSelf(road);
    const strict = { ...self.settings.road.wireguard, strict: true };
    const settings = { ...self.settings, road: { ...self.settings.road, wireguard: strict } };
    const rulesOf = (one: Self): string =>
      planNode(one)
        .map((item) => (item.kind === 'nft-table' && item.family === 'inet' ? item.body : ''))
        .join('');
    const rules = rulesOf({ ...self, settings });
    assert.equal(rulesOf({ ...self, settings, subnets: { 4: prefix('10.244.200.0/26') } }), rules);
    assert.ok(!rules.includes('10.244.1.0'));
    assert.match(rules, /ip saddr 10\.244\.0\.0\/16 ip daddr 10\.244\.0\.0\/16 return/);
    if (road === 'wireguard') {
      const line =
        'iifname != "tartan.wg" ip saddr 10.244.0.0/16 iifname != "tt*" iifname != "lo" counter drop';
      assert.ok(rules.includes(line), rules);
    }
  });
}
