/** Some claimants in one process, which follow the store as agents do; each claims so many whole blocks. */
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { BlockHolder, type Scene, type Seen } from '#agent/addresses/blocks-holder.ts';
import { BlockIndex } from '#ipam/blocks/block-index.ts';
import { learnBlock } from '#ipam/blocks/seen.ts';
import { systemClock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';
import { plainPool } from '#ipam/blocks/pool-book.ts';
import type { StoreSettings } from '#model/settings.ts';
import { prefix } from '#net/prefix.ts';
import { openStore } from '#stores/open.ts';

export type ClaimantOrder = {
  readonly store: StoreSettings;
  readonly names: readonly string[];
  readonly blocksEach: number;
};
/** Milliseconds of each claim, from its question to the store's answer. */
export type ClaimantReport = { readonly claimMs: readonly number[] };

/** 16,384 blocks: of the last claims every other place that is tried is taken. */
export const POOL = prefix('10.16.0.0/12');

const SCENE: Scene = {
  pools: [plainPool('bench', POOL, 26)],
  // A block is taken whole, so that every move is a new one.
  rules: { strictAffinity: true, maxBlocksPerNode: Infinity },
  reserved: [],
  foreign: [],
};

async function claim({ store: settings, names, blocksEach }: ClaimantOrder): Promise<ClaimantReport> {
  const store = await openStore(settings);
  const index = new BlockIndex<Seen>();
  const stop = new AbortController();
  const follow = async (): Promise<void> => {
    for await (const event of store.watch('Block', stop.signal))
      if (event.type === 'put') learnBlock(index, event.object.name, event.object);
  };
  void follow();
  const claimMs: number[] = [];
  const holders = names.map((node) => new BlockHolder({ store, node, clock: systemClock, index }));
  await Promise.all(holders.map((holder) => holder.begin()));
  process.stdout.write('ready\n');
  await once(process.stdin, 'data');
  const claimAll = async (holder: BlockHolder): Promise<void> => {
    for (let done = 0; done < blocksEach; done += 1) {
      const begun = performance.now();
      while (!(await isClaimed(holder)));
      claimMs.push(performance.now() - begun);
    }
  };
  await Promise.all(holders.map(claimAll));
  stop.abort();
  store.close();
  return { claimMs };
}

/** False: the directory's lock was somebody else's for ten seconds on end, which an agent tells the runtime, and that tries again. */
async function isClaimed(holder: BlockHolder): Promise<boolean> {
  try {
    await holder.exclusively(() => holder.obtain(SCENE));
    return true;
  } catch (error) {
    if (error instanceof Fault && error.code === 'io') return false;
    throw error;
  }
}

const [, script, order] = process.argv;
if (script === import.meta.filename && order !== undefined)
  void claim(JSON.parse(order) as ClaimantOrder).then((report) => {
    process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
  });
