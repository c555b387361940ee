/**
 * One length for all blocks of a pool, agreed on through the store before a block is taken: nodes that were told different ones
 * would take blocks that overlap. Nothing of it is remembered here: a new block is rare, and the store is asked each time.
 */
import { lengthsProblem } from '#ipam/blocks/lengths.ts';
import { readBlock } from '#ipam/blocks/seen.ts';
import { BLOCK_LENGTHS, type BlockLengths, type BlockPool } from '#model/block.ts';
import { Fault } from '#model/fault.ts';
import { contains, prefixLength } from '#net/prefix.ts';
import type { Store, Version } from '#stores/store.ts';

const ATTEMPTS = 100;

/**
 * What was decided for the pool, else what its blocks have or it says itself, which is decided by that. Throws Fault
 * `store-malformed` when that cannot be read.
 */
export async function agreeOnLength(
  store: Pick<Store, 'get' | 'list' | 'put'>,
  pool: Pick<BlockPool, 'prefix' | 'blockLength'>,
): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const found = await store.get('BlockLengths', BLOCK_LENGTHS);
    const lengths = found === undefined ? { pools: {} } : readLengths(found.value);
    const decided = lengths.pools[pool.prefix];
    if (decided !== undefined) return decided;
    const length = await presentLength(store, pool);
    const next = { pools: { ...lengths.pools, [pool.prefix]: length } };
    if (await isWritten(store, next, found?.version ?? 'absent')) return length;
  }
  throw new Fault('store-conflict', `the length of blocks could not be written in ${ATTEMPTS} attempts`);
}

/** False: somebody else was faster. */
async function isWritten(
  store: Pick<Store, 'put'>,
  lengths: BlockLengths,
  expect: Version | 'absent',
): Promise<boolean> {
  try {
    await store.put('BlockLengths', BLOCK_LENGTHS, lengths, { expect });
    return true;
  } catch (error) {
    if (error instanceof Fault && error.code === 'store-conflict') return false;
    throw error;
  }
}

function readLengths(value: unknown): BlockLengths {
  const problem = lengthsProblem(value);
  if (problem === undefined) return value as BlockLengths;
  throw new Fault('store-malformed', `BlockLengths ${BLOCK_LENGTHS}: ${problem}`);
}

/** Of the blocks from before lengths were agreed on, or that another provider left. */
async function presentLength(
  store: Pick<Store, 'list'>,
  { prefix, blockLength }: Pick<BlockPool, 'prefix' | 'blockLength'>,
): Promise<number> {
  const read = (await store.list('Block')).map((object) => readBlock(object.name, object));
  const present = read.flatMap((block) =>
    typeof block !== 'string' && contains(prefix, block.prefix) ? [prefixLength(block.prefix)] : [],
  );
  return present.includes(blockLength) ? blockLength : (present[0] ?? blockLength);
}
