import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Address, address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { Shelf } from './shelf.ts';

const BLOCK = prefix('10.0.0.0/28');
const ip = (number: number): Address => address(`10.0.0.${number}`);
const anything = (): boolean => true;

test('an address is taken, rests, and is the last of its block then', () => {
  const shelf = new Shelf();
  shelf.setHeld(BLOCK, [ip(1), ip(2), ip(3)], ip(1));
  assert.deepEqual(shelf.spareOf(BLOCK), [ip(2), ip(3), ip(1)], 'behind the last one before a restart');
  assert.equal(shelf.take('p', [BLOCK], anything), ip(2));
  assert.equal(shelf.addressOf('p', 4), ip(2));
  assert.equal(shelf.takeThis('q', ip(2)), false);
  assert.deepEqual(shelf.release('p'), [ip(2)]);
  assert.equal(shelf.takeThis('q', ip(2)), false, 'it rests');
  shelf.settle(ip(2));
  assert.deepEqual(shelf.spareOf(BLOCK), [ip(3), ip(1), ip(2)]);
  assert.deepEqual(shelf.usageOf(BLOCK), { held: 3, used: 0, resting: 0 });
});

test('what the ledger says is used is never spare, held or not', () => {
  const shelf = new Shelf();
  shelf.adopt('p', ip(1));
  shelf.rest(ip(2));
  shelf.setHeld(BLOCK, [ip(1), ip(2), ip(3)]);
  assert.deepEqual(shelf.spareOf(BLOCK), [ip(3)]);
  assert.deepEqual(shelf.setHeld(BLOCK, [ip(3)]), [ip(1), ip(2)], 'both were lost in use');
  shelf.release('p');
  shelf.settle(ip(1));
  assert.deepEqual(shelf.spareOf(BLOCK), [ip(3)], 'not held, so nobody’s');
});

/** Each address in one word. */
type Word = 'none' | 'spare' | 'resting' | `used ${string}`;

test('the shelf does what a table of words does', () => {
  const number = fc.integer({ min: 1, max: 6 });
  const owner = fc.constantFrom('p', 'q', 'r');
  const act = fc.constantFrom('hold', 'take', 'this', 'release', 'settle');
  const step = fc.record({ act, number, owner, numbers: fc.uniqueArray(number) });
  fc.assert(
    // oxlint-disable-next-line complexity -- a branch for each word
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const shelf = new Shelf();
      const held = new Set<number>();
      const words = new Map<number, Word>();
      const word = (n: number): Word => words.get(n) ?? 'none';
      for (const { act, number, owner, numbers } of steps) {
        if (act === 'hold') {
          shelf.setHeld(BLOCK, numbers.map(ip));
          held.clear();
          for (const n of numbers) held.add(n);
          for (let n = 1; n <= 6; n += 1) {
            if (word(n) === 'spare' && !held.has(n)) words.set(n, 'none');
            if (word(n) === 'none' && held.has(n)) words.set(n, 'spare');
          }
        } else if (act === 'take') {
          const got = shelf.take(owner, [BLOCK], anything);
          const n = got === undefined ? undefined : Number(got.split('.')[3]);
          if (n === undefined) assert.ok([...words.values()].every((each) => each !== 'spare'));
          else assert.equal(word(n), 'spare');
          if (n !== undefined) words.set(n, `used ${owner}`);
        } else if (act === 'this') {
          assert.equal(shelf.takeThis(owner, ip(number)), word(number) === 'spare');
          if (word(number) === 'spare') words.set(number, `used ${owner}`);
        } else if (act === 'release') {
          shelf.release(owner);
          for (const [n, each] of words) if (each === `used ${owner}`) words.set(n, 'resting');
        } else {
          shelf.settle(ip(number));
          if (word(number) === 'resting') words.set(number, held.has(number) ? 'spare' : 'none');
        }
        const spare = [...words].filter(([, each]) => each === 'spare').map(([n]) => ip(n));
        assert.deepEqual(shelf.spareOf(BLOCK).sort(), spare.sort());
        const inUse = [...words].filter(([, each]) => each === 'resting' || each.startsWith('used'));
        assert.deepEqual(shelf.inUse().sort(), inUse.map(([n]) => ip(n)).sort());
      }
    }),
    { numRuns: 300 },
  );
});
