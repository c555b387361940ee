/** A layered map against a plain one that is copied each time: the same entries in the same order, and no older map changes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { amendMap } from './layered-map.ts';

type Value = { readonly n: number };
type Shown = readonly (readonly [string, Value])[];

/** Larger than what is copied whole anyway. */
const BASE = Array.from({ length: 400 }, (_, n): [string, Value] => [`k${n}`, { n }]);

/** Keys of the base, keys that are new, and few enough that they come again. */
const key = fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 395, max: 410 })).map((n) => `k${n}`);
const step = fc.array(fc.tuple(key, fc.option(fc.record({ n: fc.nat() }), { nil: undefined })), {
  minLength: 1,
  maxLength: 4,
});

test('after any changes it is as a copy would be, and every older one is as it was', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const plain = new Map(BASE);
      let map: ReadonlyMap<string, Value> = new Map(BASE);
      const older: [ReadonlyMap<string, Value>, Shown][] = [];
      let layered = 0;
      for (const changes of steps) {
        older.push([map, [...map]]);
        map = amendMap(map, new Map(changes));
        for (const [name, value] of new Map(changes)) {
          if (value === undefined) plain.delete(name);
          else plain.set(name, value);
        }
        layered += map instanceof Map ? 0 : 1;
        assert.deepEqual([...map], [...plain]);
        assert.deepEqual([...map.keys()], [...plain.keys()]);
        assert.deepEqual([...map.values()], [...plain.values()]);
        assert.equal(map.size, plain.size);
        for (const [name] of changes) {
          assert.equal(map.get(name), plain.get(name));
          assert.equal(map.has(name), plain.has(name));
        }
      }
      for (const [each, shown] of older) assert.deepEqual([...each], shown);
      return steps.length < 5 || layered > 0;
    }),
    { numRuns: 60 },
  );
});

test('a small map is copied, and a layer that has grown is laid down', () => {
  const small = amendMap(new Map([['a', { n: 1 }]]), new Map([['b', { n: 2 }]]));
  assert.ok(small instanceof Map);
  let map: ReadonlyMap<string, Value> = new Map(BASE);
  let copies = 0;
  for (let n = 0; n < 200; n += 1) {
    map = amendMap(map, new Map([[`new${n}`, { n }]]));
    copies += map instanceof Map ? 1 : 0;
  }
  assert.equal(map.size, BASE.length + 200);
  assert.ok(copies > 0 && copies < 20, `${copies} of 200 were copies`);
});
