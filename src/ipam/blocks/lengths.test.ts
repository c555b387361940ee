import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { BlockLengths } from '#model/block.ts';
import { overlaps, type Prefix, prefix, prefixLength, prefixOf } from '#net/prefix.ts';
import { address } from '#net/address.ts';
import { decidedLength, lengthsProblem, withLength } from './lengths.ts';

const POOLS = fc
  .record({ last: fc.nat(63), length: fc.integer({ min: 26, max: 29 }), wanted: fc.nat(3) })
  .map(({ last, length, wanted }) => ({
    prefix: prefixOf(address(`10.0.0.${last}`), length),
    wanted: Math.min(30, length + wanted),
  }));

test('whatever pools come in whatever order: those that overlap have blocks of one length, which stays', () => {
  fc.assert(
    fc.property(fc.array(POOLS, { maxLength: 12 }), (pools) => {
      let lengths: BlockLengths = { pools: {} };
      const given = new Map<Prefix, number>();
      for (const { prefix, wanted } of pools) {
        const length = decidedLength(lengths, prefix) ?? wanted;
        if (typeof length === 'string') continue;
        assert.ok(length >= prefixLength(prefix));
        assert.equal(given.get(prefix) ?? length, length);
        lengths = withLength(lengths, prefix, length);
        assert.equal(lengthsProblem(lengths), undefined);
        assert.equal(withLength(lengths, prefix, length), lengths, 'written once');
        given.set(prefix, length);
      }
      for (const [one, length] of given)
        for (const [other, otherLength] of given)
          if (overlaps(one, other)) assert.equal(length, otherLength, `${one} ${other}`);
    }),
  );
});

test('a pool over others of several lengths, or without room, has no block; the reason is a sentence', () => {
  const lengths = { pools: { '10.0.0.0/17': 26, '10.0.128.0/17': 28, '10.1.0.0/16': 22 } };
  assert.match(
    String(decidedLength(lengths, prefix('10.0.0.0/16'))),
    /^10\.0\.0\.0\/16 .*several.*10\.0\.0\.0\/17 are \/26, those of 10\.0\.128\.0\/17 are \/28$/,
  );
  assert.match(String(decidedLength(lengths, prefix('10.1.3.0/24'))), /no room.*10\.1\.0\.0\/16 are \/22$/);
  assert.equal(decidedLength(lengths, prefix('10.0.64.0/18')), 26);
  assert.equal(decidedLength(lengths, prefix('10.2.0.0/16')), undefined);
});

test('what is wrong with the object as it was read', () => {
  for (const value of [{}, { pools: null }, { pools: { '10.0.0.0/16': 12 } }, { pools: { here: 26 } }])
    assert.notEqual(lengthsProblem(value), undefined, JSON.stringify(value));
  assert.equal(lengthsProblem({ pools: { 'fd00::/64': 122 } }), undefined);
});
