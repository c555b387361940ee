import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { address, type Address, addressBytes, addressFamily, addressFrom } from '#net/address.ts';
import { contains, type Prefix, prefixLength, prefixOf } from '#net/prefix.ts';
import { Routes } from './routes.ts';

function slowOwner(routes: readonly (readonly [Prefix, number])[], of: Address): number {
  let best: readonly [Prefix, number] | undefined;
  for (const route of routes)
    if (contains(route[0], of) && (best === undefined || prefixLength(route[0]) >= prefixLength(best[0])))
      best = route;
  return best?.[1] ?? -1;
}

const ownerOf = (routes: Routes, of: Address): number => {
  const bytes = addressBytes(of);
  return routes.ownerOf(addressFamily(of), new DataView(bytes.buffer), 0);
};

// Few distinct bits, so that prefixes nest and addresses hit them.
const four = fc.nat(255).map((low) => addressFrom(4, 0x0a00_0000n + BigInt(low) * 0x10101n));
const six = fc
  .nat(255)
  .map((low) => addressFrom(6, (0xfd00n << 112n) + BigInt(low) * 0x1_0000_0001_0000_0001n));
const anyAddress = fc.oneof(four, six);
const anyPrefix = fc
  .tuple(anyAddress, fc.nat(128))
  .map(([of, length]) => prefixOf(of, addressFamily(of) === 4 ? length % 33 : length));

test('property: the longest prefix wins, in both families, whatever was asked before', () => {
  fc.assert(
    fc.property(
      fc.array(anyPrefix, { maxLength: 30 }),
      fc.array(anyAddress, { maxLength: 50 }),
      (prefixes, asked) => {
        const routes = prefixes.map((prefix, index) => [prefix, index] as const);
        const fast = new Routes(routes);
        for (const of of asked) assert.equal(ownerOf(fast, of), slowOwner(routes, of), of);
      },
    ),
    { numRuns: 200 },
  );
});

test('nobody has anything in an empty table', () => {
  assert.equal(ownerOf(new Routes([]), address('10.0.0.1')), -1);
  assert.equal(ownerOf(new Routes([]), address('fd00::1')), -1);
});
