import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nthSubnet, overlaps, prefix, type Prefix, prefixFamily } from '#net/prefix.ts';
import { subnetDefaults } from '#net/subnet-range.ts';
import type { SubnetSettings } from '#model/settings.ts';
import type { SubnetClaim } from '#model/world.ts';
import { chooseSubnet, claimName, parseClaimName } from './subnet.ts';

function settingsOf(range: string, length?: number): SubnetSettings {
  const result = subnetDefaults(prefix(range), length);
  assert.ok('length' in result);
  return result;
}
const claim = (node: string, subnet: string, reserved = false): SubnetClaim => ({
  node,
  subnet: prefix(subnet),
  reserved,
});
const settings = settingsOf('10.244.0.0/16');

test('own claim, reservation, previous, free: in this order', () => {
  const ask = (claims: SubnetClaim[], previous?: string): string => {
    const asked = { settings, claims, node: 'a', random: 0 };
    const { subnet, source } = chooseSubnet(
      previous === undefined ? asked : { ...asked, previous: prefix(previous) },
    );
    return `${source} ${subnet}`;
  };
  const own = claim('a', '10.244.7.0/24');
  const reserved = claim('a', '10.244.3.0/24', true);
  assert.equal(ask([reserved, own], '10.244.9.0/24'), 'claim 10.244.7.0/24');
  assert.equal(ask([reserved, claim('b', '10.244.1.0/24')], '10.244.9.0/24'), 'reservation 10.244.3.0/24');
  assert.equal(ask([claim('b', '10.244.1.0/24')], '10.244.9.0/24'), 'previous 10.244.9.0/24');
  assert.equal(ask([claim('b', '10.244.9.0/24')], '10.244.9.0/24'), 'free 10.244.1.0/24');
  assert.equal(ask([claim('b', '10.244.0.0/22')]), 'free 10.244.4.0/24');
  assert.equal(
    ask([own, claim('b', '10.244.7.0/24', true)]),
    'free 10.244.1.0/24',
    'another’s reservation wins',
  );
  assert.equal(ask([claim('a', 'fd00::/64')]), 'free 10.244.1.0/24', 'the other family does not count');
  assert.equal(ask([claim('a', '10.244.0.0/24', true)]), 'reservation 10.244.0.0/24', 'may lie before min');
});

test('claims that no longer fit are named', () => {
  const old = claim('a', '10.244.7.0/25');
  const { unfit, source } = chooseSubnet({ settings, claims: [old], node: 'a', random: 0.99 });
  assert.deepEqual([unfit, source], [[old], 'free']);
});

test('exhaustion says how many', () => {
  const small = settingsOf('10.0.0.0/28');
  const claims = [1n, 2n, 3n].map((n) => claim(`n${n}`, nthSubnet(small.range, 30, n)));
  assert.throws(() => chooseSubnet({ settings: small, claims, node: 'a', random: 0 }), {
    code: 'subnet-exhausted',
    message: 'no free /30 between 10.0.0.4/30 and 10.0.0.12/30: 3 claims of other nodes are in 10.0.0.0/28',
  });
});

test('names of claims go both ways', () => {
  for (const text of ['10.244.1.0/24', 'fd00:1::/64', '::/64']) {
    assert.equal(parseClaimName(claimName(prefix(text))), text);
  }
  assert.equal(parseClaimName('node-1'), undefined);
});

test('a free subnet is one of the first 100 that overlap nobody (slow model)', () => {
  const anyClaim = (range: Prefix, shortest: number): fc.Arbitrary<SubnetClaim> =>
    fc
      .tuple(fc.integer({ min: shortest, max: shortest + 8 }), fc.nat(), fc.constantFrom('b', 'c'))
      .map(([length, n, node]) => ({
        node,
        reserved: false,
        subnet: nthSubnet(range, length, BigInt(n) % (1n << BigInt(length - shortest + 1))),
      }));
  for (const range of ['10.0.0.0/23', 'fd00::/57']) {
    const own = settingsOf(range, prefixFamily(prefix(range)) === 4 ? 30 : 64);
    const shortest = prefixFamily(own.range) === 4 ? 24 : 58;
    const property = fc.property(
      fc.array(anyClaim(own.range, shortest), { maxLength: 30 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (claims, random) => {
        const model: Prefix[] = [];
        for (let n = 1n; n < 1n << BigInt(own.length - shortest + 1); n += 1n) {
          const subnet = nthSubnet(own.range, own.length, n);
          if (model.length < 100 && !claims.some((item) => overlaps(item.subnet, subnet))) model.push(subnet);
        }
        const ask = (): Prefix => chooseSubnet({ settings: own, claims, node: 'a', random }).subnet;
        if (model.length === 0) assert.throws(ask, { code: 'subnet-exhausted' });
        else assert.equal(ask(), model[Math.floor(random * model.length)]);
      },
    );
    fc.assert(property, { numRuns: 60 });
  }
});
