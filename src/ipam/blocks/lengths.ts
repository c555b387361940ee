/** How long the blocks of each pool are: decided once for a whole cluster, by whoever takes the first of them. */
import type { BlockLengths } from '#model/block.ts';
import { parsePrefix, type Prefix, prefixFamily, prefixLength } from '#net/prefix.ts';
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
