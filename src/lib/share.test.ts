import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { share } from './share.ts';

test('what is shared says the same, and nothing is changed in place', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (before, now) => {
      const texts = [before, now].map((value) => JSON.stringify(value));
      assert.deepEqual(share(before, now), now);
      assert.deepEqual(
        [before, now].map((value) => JSON.stringify(value)),
        texts,
      );
    }),
  );
});

test('a value that comes again is the object that it was', () => {
  const value = fc.oneof(fc.array(fc.jsonValue()), fc.dictionary(fc.string(), fc.jsonValue()));
  fc.assert(
    fc.property(value, (before) => {
      assert.equal(share(before, structuredClone(before)), before);
    }),
  );
});

test('of a list of which one entry comes, goes or changes, all others are the objects that they were', () => {
  const lists = fc.uniqueArray(fc.nat(), { minLength: 1, maxLength: 20 });
  const kinds = fc.constantFrom('come', 'go', 'change');
  fc.assert(
    fc.property(lists, fc.nat(19), kinds, (numbers, where, kind) => {
      const before = { pods: numbers.map((name) => ({ name, labels: { app: 'x' } })) };
      const now = structuredClone(before);
      const at = where % numbers.length;
      const other = { name: -1, labels: { app: 'y' } };
      if (kind === 'come') now.pods.splice(at, 0, other);
      else if (kind === 'go') now.pods.splice(at, 1);
      else now.pods.splice(at, 1, other);
      const shared = share(before, now).pods;
      const known = new Set<unknown>(before.pods);
      assert.deepEqual(shared, now.pods);
      assert.equal(shared.filter((pod) => !known.has(pod)).length, kind === 'go' ? 0 : 1);
    }),
  );
});
