import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agreeOnLength } from './block-length.ts';
import { newBlock } from '#ipam/blocks/block.ts';
import { plainPool } from '#ipam/blocks/pool-book.ts';
import { claimName } from '#ipam/subnet.ts';
import { manualClock } from '#lib/clock.ts';
import { BLOCK_LENGTHS } from '#model/block.ts';
import { prefix } from '#net/prefix.ts';
import { createMemoryStore } from '#stores/memory.ts';

const poolOf = (text: string, length: number) => plainPool('p', prefix(text), length);
const storedIn = async (store: ReturnType<typeof createMemoryStore>): Promise<unknown> =>
  (await store.get('BlockLengths', BLOCK_LENGTHS))?.value;

test('who is first decides, whatever the others were told', async () => {
  const store = createMemoryStore(manualClock());
  assert.equal(await agreeOnLength(store, poolOf('10.0.0.0/16', 26)), 26);
  assert.equal(await agreeOnLength(store, poolOf('10.0.0.0/16', 28)), 26);
  assert.deepEqual(await storedIn(store), { pools: { '10.0.0.0/16': 26 } });
});

test('blocks that were there before decide for their pool', async () => {
  const store = createMemoryStore(manualClock());
  const block = newBlock(prefix('10.0.0.64/27'), { node: 'a', term: 1 });
  await store.put('Block', 'odd', { prefix: 'odd' });
  await store.put('Block', claimName(block.prefix), block);
  assert.equal(await agreeOnLength(store, poolOf('10.1.0.0/16', 26)), 26, 'of another pool');
  assert.equal(await agreeOnLength(store, poolOf('10.0.0.0/16', 26)), 27);
});

test('a pool in a part of another one has a length of its own', async () => {
  const store = createMemoryStore(manualClock());
  await agreeOnLength(store, poolOf('10.0.0.0/16', 26));
  assert.equal(await agreeOnLength(store, poolOf('10.0.64.0/18', 28)), 28);
  assert.equal(await agreeOnLength(store, poolOf('10.0.0.0/16', 28)), 26);
});

test('an object that is not in order is believed by nobody', async () => {
  const store = createMemoryStore(manualClock());
  await store.put('BlockLengths', BLOCK_LENGTHS, { pools: { '10.0.0.0/16': 99 } });
  await assert.rejects(agreeOnLength(store, poolOf('10.0.0.0/16', 26)), { code: 'store-malformed' });
});
