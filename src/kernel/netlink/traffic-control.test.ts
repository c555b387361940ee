import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MessageWriter, readMessages } from './message.ts';
import { backlog, putBucket, putRedirect, readBurst, readQdisc, readRedirect } from './traffic-control.ts';

/** What tbf_dump shows for a burst: nanoseconds in 64s, 32 bits of them (net/sched/sch_tbf.c). */
function ticksOf(burst: number, bytesPerSecond: number): number {
  const nanoseconds = (BigInt(burst) * 1_000_000_000n) / BigInt(bytesPerSecond);
  return Number(BigInt.asUintN(32, nanoseconds >> 6n));
}
/** Slow ones too: there the kernel's 32 bits of ticks overflow. */
const rates = fc.oneof(fc.integer({ min: 1, max: 200_000 }), fc.integer({ min: 1, max: 12_500_000_000 }));
const bursts = fc.integer({ min: 1, max: 536_870_912 });

test('the burst comes back from limit and ticks, to the byte', () => {
  fc.assert(
    fc.property(rates, bursts, (rate, burst) => {
      const depth = { limit: backlog(rate) + burst, ticks: ticksOf(burst, rate) };
      assert.equal(readBurst(rate, depth), burst);
    }),
  );
});

test('a burst that somebody changed is not taken for the old one', () => {
  const limit = backlog(1_000_000) + 20_000;
  assert.equal(readBurst(1_000_000, { limit, ticks: ticksOf(90_000, 1_000_000) }), 90_000);
  const slow = { limit: backlog(125) + 268_435_455, ticks: ticksOf(268_000_000, 125) };
  assert.notEqual(readBurst(125, slow), 268_435_455);
  assert.notEqual(readBurst(1_000_000, { limit: limit + 5, ticks: ticksOf(20_000, 1_000_000) }), 20_005);
});

test('rates keep every bit; what is written is read again', () => {
  fc.assert(
    fc.property(fc.integer({ min: 8, max: 2 ** 40 }), (rate) => {
      const writer = new MessageWriter();
      putBucket(writer, 7, { rate, burst: 1500 });
      const [message] = readMessages(writer.bytes, writer.length);
      const row = message && readQdisc(message);
      assert.ok(row?.type === 'bucket');
      assert.deepEqual([row.index, row.bucket.rate], [7, rate]);
    }),
  );
});

test('the target of a redirect is read again', () => {
  const writer = new MessageWriter();
  putRedirect(writer, 3, 70_000);
  assert.deepEqual(
    [...readMessages(writer.bytes, writer.length)].map((message) => readRedirect(message)),
    [70_000],
  );
});

test('buckets that tbf has not are refused', () => {
  for (const [rate, burst] of [
    [7, 1],
    [8, 0],
    [1.5e3 + 0.5, 1],
    [Number.NaN, 1],
    [8, 2 ** 32],
  ] as const) {
    assert.throws(() => putBucket(new MessageWriter(), 1, { rate, burst }), RangeError, `${rate} ${burst}`);
  }
});
