/** What status says of relays: one line, short where all is well. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { summarizeRelays } from './status-text.ts';

const use = (
  known: number,
  [relay, store, waiting]: readonly [number, number, number],
  problem?: string,
): Parameters<typeof summarizeRelays>[0] => ({
  known,
  through: relay === 0 ? [] : ['r1'],
  watches: { relay, store, waiting },
  ...(problem === undefined ? {} : { problem }),
});

test('the line Store says where changes come from, and what is wrong with that', () => {
  assert.equal(summarizeRelays(use(2, [9, 0, 0])), 'through the relay r1');
  assert.equal(summarizeRelays(use(0, [0, 9, 0])), 'without a relay: there is none');
  assert.equal(
    summarizeRelays(use(2, [0, 9, 0], 'the relay r2: it answers 503: full')),
    'without a relay, though 2 are known; the relay r2: it answers 503: full',
  );
  assert.equal(
    summarizeRelays(use(1, [6, 2, 1], 'the relay r1: refused')),
    '6 of 9 watches through the relay r1; 2 of 9 watches without a relay, though 1 is known; 1 of 9 watches waiting for an answer; the relay r1: refused',
  );
});
