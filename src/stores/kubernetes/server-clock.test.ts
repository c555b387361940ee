import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ServerClock } from './server-clock.ts';

const second = (ms: number): number => Math.floor(ms / 1000) * 1000;
const EPOCH = 1_700_000_000_000;

/** Questions, each with its way there and back, and what the server's clock is ahead of ours by. */
const asked = fc.array(
  fc.record({
    gapMs: fc.integer({ min: 0, max: 100_000 }),
    thereMs: fc.integer({ min: 0, max: 900 }),
    backMs: fc.integer({ min: 0, max: 900 }),
  }),
  { minLength: 1, maxLength: 20 },
);

test('the bounds hold the true time, whatever the ways take, and come together', () => {
  fc.assert(
    fc.property(asked, fc.integer({ min: 0, max: 10_000_000 }), (questions, ahead) => {
      const clock = new ServerClock();
      let nowMs = 0;
      let width = Infinity;
      for (const { gapMs, thereMs, backMs } of questions) {
        const sentMs = nowMs + gapMs;
        const receivedMs = sentMs + thereMs + backMs;
        const dateMs = second(EPOCH + ahead + sentMs + thereMs);
        clock.observe({ dateMs, sentMs, receivedMs });
        nowMs = receivedMs;
        const time = clock.at(nowMs);
        assert.ok(time !== undefined);
        const trueMs = EPOCH + ahead + nowMs;
        assert.ok(time.lowMs <= trueMs && trueMs <= time.highMs, `${time.lowMs} ${trueMs} ${time.highMs}`);
        assert.ok(time.highMs - time.lowMs <= width);
        width = time.highMs - time.lowMs;
        assert.ok(width <= 1000 + thereMs + backMs);
      }
    }),
  );
});

test('a clock that was set is believed from its first answer on', () => {
  const clock = new ServerClock();
  assert.equal(clock.at(0), undefined);
  clock.observe({ dateMs: EPOCH, sentMs: 0, receivedMs: 10 });
  for (const jump of [86_400_000, -86_400_000]) {
    clock.observe({ dateMs: EPOCH + jump, sentMs: 20, receivedMs: 30 });
    assert.deepEqual(clock.at(30), { lowMs: EPOCH + jump, highMs: EPOCH + jump + 1010 });
  }
  clock.observe({ dateMs: Number.NaN, sentMs: 40, receivedMs: 50 });
  assert.ok((clock.at(50)?.lowMs ?? 0) < EPOCH);
});
