import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { changedSpan } from './span.ts';

const lists = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 8 });

test('what is gone and what has come, put in place of each other, make one list of the other', () => {
  fc.assert(
    fc.property(lists, lists, (before, now) => {
      const { gone, come } = changedSpan(before, now);
      const same = before.length - gone.length;
      assert.equal(now.length - come.length, same);
      const places = Array.from({ length: same + 1 }, (_, start) => start);
      assert.ok(
        places.some((start) => isDeepStrictEqual(before.toSpliced(start, gone.length, ...come), now)),
      );
      if (gone.length > 0 && come.length > 0) {
        assert.notEqual(gone[0], come[0]);
        assert.notEqual(gone.at(-1), come.at(-1));
      }
    }),
  );
});
