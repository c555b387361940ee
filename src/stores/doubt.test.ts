/** When data that vanished all at once are believed to be gone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Doubt } from './doubt.ts';
import { manualClock } from '#lib/clock.ts';

const HOLD_MS = 1000;

function scene() {
  const clock = manualClock();
  const stop = new AbortController();
  const state = { isConnected: true, hasSome: false };
  const settled: string[][] = [];
  const doubt = new Doubt({
    clock,
    signal: stop.signal,
    holdMs: HOLD_MS,
    isConnected: () => state.isConnected,
    hasSome: () => state.hasSome,
    onSettled: (missing) => settled.push([...missing]),
  });
  return { clock, stop, state, settled, doubt };
}

test('it ends at once when all is back, and only while connected', () => {
  const { state, settled, doubt } = scene();
  doubt.settle();
  doubt.begin(['a', 'b']);
  assert.ok(doubt.isOpen && doubt.has('a') && !doubt.has('c'));
  assert.deepEqual([doubt.clear('a'), doubt.clear('a'), doubt.clear('c')], [true, false, false]);
  doubt.clear('b');
  state.isConnected = false;
  doubt.settle();
  assert.deepEqual(settled, []);
  state.isConnected = true;
  doubt.settle();
  doubt.settle();
  assert.deepEqual([settled, doubt.isOpen], [[[]], false]);
});

test('what has not come back is gone when nothing more comes for a while, and never when nothing came', async () => {
  const { clock, state, settled, doubt } = scene();
  doubt.begin(['a', 'b', 'c']);
  await clock.advance(HOLD_MS * 10);
  doubt.settle();
  assert.deepEqual(settled, [], 'nothing has come back');
  for (const name of ['a', 'b']) {
    state.hasSome = true;
    doubt.clear(name);
    doubt.hold();
    doubt.settle();
    await clock.advance(HOLD_MS - 1);
    assert.deepEqual(settled, [], 'more may come');
  }
  await clock.advance(1);
  assert.deepEqual(settled, [['c']]);
  await clock.advance(HOLD_MS * 2);
  assert.equal(settled.length, 1);
});

test('nothing is settled for who does not follow any more', async () => {
  const { clock, stop, state, settled, doubt } = scene();
  doubt.begin(['a']);
  state.hasSome = true;
  doubt.hold();
  stop.abort();
  await clock.advance(HOLD_MS * 2);
  assert.deepEqual(settled, []);
});
