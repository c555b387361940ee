/**
 * How long the blocks of each pool are: decided once for a whole cluster, by whoever takes the first of them. What always holds:
 * pools that overlap have blocks of one length, so two blocks are the same or apart, whatever nodes were told.
 */
import type { BlockLengths } from '#model/block.ts';
import { contains, overlaps, parsePrefix, type Prefix, prefixFamily, prefixLength } from '#net/prefix.ts';
import { blockLengths } from './block.ts';

/** What is wrong with the object as it was read: nothing is cut by it then. */
export function lengthsProblem(value: unknown): string | undefined {
  const { pools } = value as Partial<BlockLengths>;
  if (typeof pools !== 'object' || pools === null) return 'pools is missing';
  const wrong = Object.entries(pools).find(([pool, length]) => !isLength(parsePrefix(pool), length));
  return wrong && `${wrong[0]}: ${String(wrong[1])} is no length of blocks`;
}

function isLength(pool: Prefix | undefined, length: unknown): boolean {
  if (pool === undefined || !Number.isInteger(length)) return false;
  const { min, max } = blockLengths(prefixFamily(pool));
  return Math.max(min, prefixLength(pool)) <= Number(length) && Number(length) <= max;
}

/** Of blocks in the prefix; undefined: nobody has decided yet. A text says why it can have none. */
export function decidedLength({ pools }: BlockLengths, prefix: Prefix): number | string | undefined {
  const near = Object.entries(pools).filter(([pool]) => overlaps(pool as Prefix, prefix));
  const lengths = new Set(near.map(([, length]) => length));
  const [length] = lengths;
  const told = near.map(([pool, each]) => `those of ${pool} are /${each}`).join(', ');
  if (lengths.size > 1) return `${prefix} would have blocks of several lengths: ${told}`;
  if (length !== undefined && length < prefixLength(prefix))
    return `${prefix} has no room for a block: ${told}`;
  return length;
}

/** With the length that was decided, or is now; the same when that stands there already. */
export function withLength(lengths: BlockLengths, prefix: Prefix, length: number): BlockLengths {
  const stands = Object.keys(lengths.pools).some((pool) => contains(pool as Prefix, prefix));
  return stands ? lengths : { pools: { ...lengths.pools, [prefix]: length } };
}
