import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { overlaps, prefix, type Prefix, prefixFamily } from '#net/prefix.ts';
import { familyValues } from '#net/per-family.ts';
import type { NodeAdvert, SubnetClaim } from '#model/world.ts';
import { resolveClaims, SubnetUse } from './conflict.ts';

function advert(name: string, ...subnets: string[]): [string, NodeAdvert] {
  const byFamily = Object.fromEntries(subnets.map((text) => [prefixFamily(prefix(text)), prefix(text)]));
  return [name, { name, addresses: {}, subnets: byFamily, road: 'vxlan', mtu: 1500, ready: true }];
}
const claim = (node: string, subnet: string, reserved = false): SubnetClaim => ({
  node,
  subnet: prefix(subnet),
  reserved,
});
const S = '10.0.1.0/24';

test('reservation over claim over advert over name; the loser keeps its other subnets', () => {
  const nodes = new Map([advert('a', S, 'fd00:a::/64'), advert('b', S, 'fd00:b::/64')]);
  const loser = (claims: SubnetClaim[]): string[] =>
    resolveClaims(nodes, claims).conflicts.map((c) => c.node);
  assert.deepEqual(loser([]), ['b']);
  assert.deepEqual(loser([claim('b', S)]), ['a']);
  assert.deepEqual(loser([claim('b', '10.0.0.0/23')]), ['a'], 'a wider claim holds it too');
  assert.deepEqual(loser([claim('b', '10.0.1.128/25')]), ['a'], 'and a narrower one is in the way');
  assert.deepEqual(loser([claim('b', S), claim('a', S, true)]), ['b']);
  const { nodes: left, conflicts } = resolveClaims(nodes, [claim('b', S)]);
  assert.deepEqual(left.get('a')?.subnets, { 6: 'fd00:a::/64' });
  assert.equal(left.get('b'), nodes.get('b'), 'the same object');
  assert.equal(conflicts[0]?.why, `node a may not use ${S}: node b holds it, because it has the claim`);
});

test('a claim holds its subnet while its node is silent', () => {
  const { nodes, conflicts } = resolveClaims(new Map([advert('a', S)]), [claim('z', S)]);
  assert.deepEqual(nodes.get('a')?.subnets, {});
  assert.equal(conflicts[0]?.holder, 'z');
});

test('without a conflict the same map comes back', () => {
  const nodes = new Map([advert('a', S), advert('b', '10.0.2.0/24')]);
  assert.equal(resolveClaims(nodes, [claim('a', S)]).nodes, nodes);
});

test('what is accepted never overlaps between nodes, and every loser has a holder in its way', () => {
  const subnet = fc.constantFrom<Prefix>(
    ...[
      '10.0.0.0/22',
      '10.0.0.0/23',
      '10.0.0.0/24',
      '10.0.1.0/24',
      '10.0.1.0/25',
      '10.0.2.0/24',
      '10.0.3.0/26',
    ].map(prefix),
  );
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const claims = fc.array(fc.record({ node: name, subnet, reserved: fc.boolean() }), { maxLength: 5 });
  fc.assert(
    fc.property(fc.array(fc.tuple(name, subnet), { maxLength: 6 }), claims, (adverts, claims) => {
      const nodes = new Map(adverts.map(([node, own]) => advert(node, own)));
      const result = resolveClaims(nodes, claims);
      const accepted = [...result.nodes.values()].flatMap((n) =>
        familyValues(n.subnets).map((s) => [n.name, s] as const),
      );
      for (const [a, s] of accepted)
        for (const [b, t] of accepted) assert.ok(a === b || !overlaps(s, t), `${s} ${t}`);
      for (const { node, subnet, holder, heldSubnet } of result.conflicts) {
        assert.notEqual(node, holder);
        assert.ok(overlaps(subnet, heldSubnet));
      }
      for (const [node, own] of nodes) {
        const kept = result.nodes.get(node)?.subnets[4] !== undefined;
        const lost = result.conflicts.some((c) => c.node === node && c.subnet === own.subnets[4]);
        assert.notEqual(kept, lost);
      }
    }),
  );
});

test('where nothing is contested, no claim of a user of its subnet decides anything', () => {
  const subnet = fc.constantFrom<Prefix>(
    ...['10.0.0.0/24', '10.0.1.0/24', '10.0.2.0/24', '10.0.0.0/23', 'fd00:a::/64', 'fd00:b::/64'].map(prefix),
  );
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const change = fc.tuple(name, fc.uniqueArray(subnet, { maxLength: 2, selector: prefixFamily }));
  const reached = { contested: 0, free: 0 };
  fc.assert(
    fc.property(fc.array(change, { maxLength: 12 }), fc.boolean(), (changes, reserved) => {
      const use = new SubnetUse();
      const nodes = new Map<string, NodeAdvert>();
      for (const [node, subnets] of changes) {
        use.set(node, subnets);
        nodes.set(...advert(node, ...subnets));
      }
      const held = [...nodes].flatMap(([node, { subnets }]) =>
        familyValues(subnets).map((prefix) => ({ node, prefix })),
      );
      const lengths = new Set(held.map(({ prefix }) => `${prefixFamily(prefix)}/${prefix.split('/')[1]}`));
      const mixed = lengths.size > new Set(held.map(({ prefix }) => prefixFamily(prefix))).size;
      const shared = new Set(held.map(({ prefix }) => prefix)).size < held.length;
      assert.equal(use.contested, mixed || shared);
      reached[use.contested ? 'contested' : 'free'] += 1;
      if (use.contested) return;
      const claims = held.map(({ node, prefix }) => claim(node, prefix, reserved));
      assert.equal(resolveClaims(nodes, claims).nodes, nodes);
    }),
  );
  assert.ok(reached.contested > 10 && reached.free > 10, JSON.stringify(reached));
});
