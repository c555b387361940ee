import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { XfrmPolicyItem, XfrmStateItem } from '#model/host.ts';
import type { IpsecSelf } from '#model/ipsec.ts';
import type { NodeAdvert } from '#model/world.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { overheadOf, type Self } from './backend.ts';
import { ipsec, spiOf } from './ipsec.ts';
import { advertOf, planPeer } from './node-plan.ts';
import { selfOf } from './testing/nodes.ts';

const idOf = (secret: number): string => `s${secret}:0123456789abcde${secret}`;

/** Node 1 or 2, each with its secrets, the newest first. */
function nodeOf(number: 1 | 2, secrets: readonly number[], more: Partial<IpsecSelf> = {}): Self {
  const base = selfOf('ipsec');
  const own = { 4: address(`192.0.2.${number}`) };
  const ids = secrets.map(idOf);
  return {
    ...base,
    name: `node-${number}`,
    subnets: { 4: prefix(`10.244.${number}.0/24`), 6: prefix(`fd00:244:0:${number}::/64`) },
    underlay: { ...base.underlay, local: own, announced: own },
    ipsec: {
      nonce: Buffer.alloc(16, number).toString('base64url'),
      again: {},
      secrets: ids,
      announced: ids,
      ...more,
    },
  };
}

const behindNat = (self: Self): Self => ({
  ...self,
  underlay: { ...self.underlay, local: { 4: address('10.0.0.9') } },
});

function planned(self: Self, peer: NodeAdvert): { states: XfrmStateItem[]; policies: XfrmPolicyItem[] } {
  const { items, unreachable } = planPeer(self, peer);
  assert.deepEqual(unreachable, []);
  return {
    states: items.filter((item) => item.kind === 'xfrm-state'),
    policies: items.filter((item) => item.kind === 'xfrm-policy'),
  };
}

const why = (self: Self, peer: NodeAdvert): string => planPeer(self, peer).unreachable[0]?.why ?? '';

test('what one node sends by, the other takes in by, in either direction and in UDP', () => {
  const secrets = fc.shuffledSubarray([1, 2, 3], { minLength: 1 });
  const count = fc.nat(3);
  fc.assert(
    fc.property(secrets, secrets, fc.tuple(count, count), fc.boolean(), (a, b, [againA, againB], nat) => {
      fc.pre(a.some((each) => b.includes(each)));
      const one = nodeOf(1, a, { again: { 'node-2': againA } });
      const two = nodeOf(2, b, { again: { 'node-1': againB } });
      const ends = [nat ? behindNat(one) : one, two] as const;
      const adverts = ends.map((end) => advertOf(end, true)) as [NodeAdvert, NodeAdvert];
      const plans = [planned(ends[0], adverts[1]), planned(ends[1], adverts[0])] as const;
      for (const [index, plan] of plans.entries()) {
        const far = plans[1 - index] ?? plan;
        const spi = plan.policies.find(({ direction }) => direction === 'out')?.spi;
        const out = plan.states.find((state) => state.spi === spi);
        const taken = far.states.find((state) => state.spi === spi);
        assert.ok(out !== undefined && taken !== undefined);
        assert.equal(taken.key, out.key);
        assert.equal(taken.sourcePort, out.sourcePort);
        assert.equal(out.sourcePort !== undefined, nat);
        const newest = (index === 0 ? a : b).find((each) => (index === 0 ? b : a).includes(each));
        assert.ok(out.key.startsWith(`${idOf(newest ?? 0)} `), 'the newest that both have');
      }
      const names = plans.flatMap(({ states }) => states.map(({ key }) => key));
      assert.equal(new Set(names.map(spiOf)).size, new Set(names).size);
    }),
  );
});

test('a name is another when anything that must be new is', () => {
  const names = (self: Self, peer: Self): string[] =>
    planned(self, advertOf(peer, true)).states.map(({ key }) => key);
  const base = names(nodeOf(1, [1]), nodeOf(2, [1]));
  const nonce = 'x'.repeat(22);
  for (const [self, peer] of [
    [nodeOf(1, [1], { nonce }), nodeOf(2, [1])],
    [nodeOf(1, [1]), nodeOf(2, [1], { nonce })],
    [nodeOf(1, [1], { again: { 'node-2': 1 } }), nodeOf(2, [1])],
    [nodeOf(1, [1]), nodeOf(2, [1], { again: { 'node-1': 1 } })],
    [nodeOf(1, [2]), nodeOf(2, [2])],
    [behindNat(nodeOf(1, [1])), nodeOf(2, [1])],
  ] as const) {
    assert.equal(names(self, peer).filter((name) => base.includes(name)).length, 0);
  }
  assert.equal(new Set(base).size, 2, 'a direction, a key');
});

test('the overhead is what the kernel takes, padding included', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1400, max: 9000 }), (mtu) => {
      const self = { ...nodeOf(1, [1]) };
      const inner = mtu - overheadOf(ipsec, { ...self, underlay: { ...self.underlay, mtu } });
      // net/xfrm: xfrm_state_mtu of ESP with AES-GCM in UDP: header 20 + 8 + 8 + 8, tag 16, blocks of 4, trailer 2.
      assert.equal(inner, ((mtu - 44 - 16) & ~3) - 2);
    }),
  );
});

test('why two nodes cannot seal', () => {
  const self = nodeOf(1, [1]);
  const peer = advertOf(nodeOf(2, [1]), true);
  const { ipsec: told, ...silent } = peer;
  assert.ok(told !== undefined);
  assert.match(why(self, silent), /does not tell its IPsec parameters/);
  const { ipsec: _, ...bare } = self;
  assert.match(why(bare, peer), /this node has no IPsec secrets/);
  assert.match(why(self, { ...peer, ipsec: { ...told, nonce: 'short' } }), /no usable IPsec parameters/);
  assert.match(why(self, { ...peer, ipsec: { ...told, port: 0 } }), /no usable IPsec parameters/);
  assert.match(why(self, advertOf(nodeOf(2, [2]), true)), /none of this node’s IPsec secrets \(s1\), but s2/);
  const other = { ...told, secrets: ['s1:ffffffffffffffff'] };
  assert.match(why(self, { ...peer, ipsec: other }), /another IPsec secret by the name s1/);
});
