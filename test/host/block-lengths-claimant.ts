/**
 * One claimant of blocks, as a process of its own, that was told a length of blocks: takes addresses in each pool that a line of its
 * input names, and answers each with a line, `ok` or what was wrong.
 *
 *     node block-lengths-claimant.ts STORE-SETTINGS NAME LENGTH
 */
import { createInterface } from 'node:readline';
import { BlockHolder, type Scene } from '../../src/agent/addresses/blocks-holder.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { toFault } from '../../src/model/fault.ts';
import { plainPool } from '../../src/ipam/blocks/pool-book.ts';
import type { StoreSettings } from '../../src/model/settings.ts';
import { prefix } from '../../src/net/prefix.ts';
import { openStore } from '../../src/stores/open.ts';

const sceneOf = (pool: string, blockLength: number): Scene => ({
  pools: [plainPool(pool, prefix(pool), blockLength)],
  rules: { strictAffinity: false, maxBlocksPerNode: Infinity },
  reserved: [],
  foreign: [],
});

const [, , settings = '', node = '', length = ''] = process.argv;
const store = await openStore(JSON.parse(settings) as StoreSettings);
const holder = new BlockHolder({ store, node, clock: systemClock });
await holder.begin();
console.log('ready');
for await (const pool of createInterface(process.stdin)) {
  const taken = holder.exclusively(() => holder.obtain(sceneOf(pool, Number(length))));
  console.log(await taken.then(() => 'ok').catch((error: unknown) => toFault(error).message));
}
