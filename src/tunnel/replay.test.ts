import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ReplayWindow, WINDOW } from './replay.ts';

/** What the window means, slowly: everything ever accepted. */
class SlowWindow {
  readonly #seen = new Set<number>();
  #highest = -1;
  take(counter: number): boolean {
    if (this.#seen.has(counter) || counter <= this.#highest - WINDOW) return false;
    this.#seen.add(counter);
    this.#highest = Math.max(this.#highest, counter);
    return true;
  }
}

const take = (window: ReplayWindow, counter: number): boolean => {
  const allowed = window.allows(counter);
  if (allowed) window.accept(counter);
  return allowed;
};

test('property: as a set of all counters ever seen, for steps small and large', () => {
  const step = fc.oneof(
    fc.integer({ min: -40, max: 40 }),
    fc.integer({ min: -WINDOW - 3, max: WINDOW + 3 }),
    fc.constantFrom(
      0,
      31,
      32,
      33,
      WINDOW - 1,
      WINDOW,
      WINDOW + 1,
      -WINDOW,
      2 * WINDOW + 64,
      2 ** 32,
      2 ** 40,
    ),
  );
  const starts = fc.constantFrom(0, 1, 31, 2 ** 32 - 5, 2 ** 45);
  fc.assert(
    fc.property(starts, fc.array(step, { maxLength: 300 }), (start, steps) => {
      const [fast, slow] = [new ReplayWindow(), new SlowWindow()];
      let counter = start;
      for (const by of steps) {
        counter = Math.max(0, counter + by);
        assert.equal(take(fast, counter), slow.take(counter), `counter ${counter}`);
      }
    }),
    { numRuns: 200 },
  );
});

test('what is no counter is refused', () => {
  const window = new ReplayWindow();
  assert.ok(!window.allows(Number.NaN));
  assert.ok(!window.allows(-1));
});

test('every counter once, in any order within the window', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray([...Array(200).keys()], { minLength: 200 }), (order) => {
      const window = new ReplayWindow();
      assert.ok(order.every((counter) => take(window, counter)));
      assert.ok(!order.some((counter) => take(window, counter)));
    }),
    { numRuns: 20 },
  );
});

test('property: one that begins behind a counter refuses it and all before, and takes all behind', () => {
  fc.assert(
    fc.property(
      fc.nat(3 * WINDOW),
      fc.array(fc.integer({ min: -80, max: 80 }), { maxLength: 50 }),
      (highest, steps) => {
        const window = new ReplayWindow(highest);
        const seen = new Set<number>();
        for (const step of steps) {
          const counter = Math.max(0, highest + step);
          assert.equal(
            take(window, counter),
            counter > highest && !seen.has(counter),
            `${counter} after ${highest}`,
          );
          seen.add(counter);
        }
      },
    ),
  );
});
