import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fnv1a64, shortHash } from './hash.ts';

/** As the definition has it (draft-eastlake-fnv, section 2). */
function plain(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text))
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}

test('the hash is FNV-1a: of the vectors of its authors, and of any text', () => {
  assert.equal(fnv1a64(''), 0xcbf29ce484222325n);
  assert.equal(fnv1a64('a'), 0xaf63dc4c8601ec8cn);
  assert.equal(fnv1a64('foobar'), 0x85944171f73967e8n);
  assert.equal(shortHash('foobar', 16), '85944171f73967e8');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => assert.equal(fnv1a64(text), plain(text))),
    { numRuns: 1000 },
  );
});
