/** Blocks as a store has them, each with its version there. What is not in order is not used. */
import type { Block } from '#model/block.ts';
import type { Prefix } from '#net/prefix.ts';
import { blockProblem } from './block.ts';
import type { BlockIndex } from './block-index.ts';

/** A block as it was read. */
export type SeenBlock<Version extends string> = Block & { readonly version: Version };

type Read<Version> = { readonly value: unknown; readonly version: Version };

/** The object's value if it is in order; a text says what is wrong. */
export function readBlock<Version extends string>(
  name: string,
  { value, version }: Read<Version>,
): SeenBlock<Version> | string {
  return blockProblem(name, value) ?? { ...(value as Block), version };
}

/** What a watch tells; answers what is wrong with it. A block that is not in order stays what it was. */
export function learnBlock<Version extends string>(
  index: BlockIndex<SeenBlock<Version>>,
  name: string,
  object: Read<Version> | undefined,
): string | undefined {
  const read = object === undefined ? undefined : readBlock(name, object);
  if (typeof read === 'string') return read;
  index.set(prefixNamed(name), read);
  return undefined;
}

/** Names of the store's objects are prefixes. */
export function prefixNamed(name: string): Prefix {
  return name.replace('-', '/') as Prefix;
}
