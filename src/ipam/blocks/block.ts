/**
 * What may be done to a block, as functions from block to block; whoever calls them writes the result with compare-and-swap.
 * What always holds: every number but 0 is free or held by one node, and stays so whatever is done.
 */
import type { Block } from '#model/block.ts';
import { type Address, addressBits, addressValue } from '#net/address.ts';
import {
  nthAddress,
  type Prefix,
  prefixAddress,
  prefixFamily,
  prefixLength,
  prefixSize,
} from '#net/prefix.ts';
import { formatNumbers, parseNumbers } from './numbers.ts';

/** Shortest and longest prefix that a block may have: 4 to 4096 addresses. */
export function blockLengths(family: 4 | 6): { readonly min: number; readonly max: number } {
  const bits = addressBits(family);
  return { min: bits - 12, max: bits - 2 };
}

/** The number of the block's last address. */
export function lastNumber(prefix: Prefix): number {
  return Number(prefixSize(prefix)) - 1;
}

export function numberOf({ prefix }: Pick<Block, 'prefix'>, address: Address): number {
  return Number(addressValue(address) - addressValue(prefixAddress(prefix)));
}

export function addressAt({ prefix }: Pick<Block, 'prefix'>, number: number): Address {
  return nthAddress(prefix, BigInt(number));
}

/** What is wrong with a block as it was read, whoever wrote it: nothing is taken from it then. */
export function blockProblem(name: string, value: unknown): string | undefined {
  const { prefix, free, holders } = value as Partial<Block>;
  if (typeof prefix !== 'string' || prefix.replace('/', '-') !== name) return 'its prefix is not its name';
  const { min, max } = blockLengths(prefixFamily(prefix));
  const length = prefixLength(prefix);
  if (length < min || length > max) return `a block is a /${min} to /${max}, not ${prefix}`;
  if (typeof free !== 'string' || typeof holders !== 'object' || holders === null)
    return 'free or holders is missing';
  return listProblem(prefix, [free, ...Object.values(holders).map(({ numbers }) => numbers)]);
}

function listProblem(prefix: Prefix, lists: readonly string[]): string | undefined {
  const last = lastNumber(prefix);
  const numbers = lists.map((text) => parseNumbers(text, last));
  if (numbers.includes(undefined)) return `a list is not like 1-16,20 below ${last + 1}`;
  const all = numbers.flatMap((list) => list ?? []);
  const each = new Set(all);
  if (each.size !== all.length) return 'an address is in two lists';
  return each.size === last ? undefined : 'an address is in no list';
}

/** All free, and the node's. */
export function newBlock(prefix: Prefix, { node, term }: Taker): Block {
  return { prefix, node, free: `1-${lastNumber(prefix)}`, holders: { [node]: { numbers: '', term } } };
}

export function freeOf({ prefix, free }: Block): number[] {
  return parseNumbers(free, lastNumber(prefix)) ?? [];
}

export function heldBy({ prefix, holders }: Block, node: string): number[] {
  const numbers = Object.hasOwn(holders, node) ? holders[node]?.numbers : undefined;
  return parseNumbers(numbers ?? '', lastNumber(prefix)) ?? [];
}

/** Who holds the address, or has it as the block's node; undefined: nobody. */
export function holderOf(block: Block, address: Address): string | undefined {
  const number = numberOf(block, address);
  if (number === 0) return block.node;
  return Object.keys(block.holders).find((node) => heldBy(block, node).includes(number));
}

export type Taker = { readonly node: string; readonly term: number };

/** The node holds these too, all of which are free. Whoever then holds nothing has no part in the block. */
export function take(block: Block, { node, term }: Taker, numbers: readonly number[]): Block {
  const taken = new Set(numbers);
  const held = [...heldBy(block, node), ...numbers].sort((a, b) => a - b);
  if (held.length === 0 && block.node !== node) return block;
  return {
    ...block,
    free: formatNumbers(freeOf(block).filter((number) => !taken.has(number))),
    holders: { ...block.holders, [node]: { numbers: formatNumbers(held), term } },
  };
}

/** The whole block is routed to the node from now on. */
export function adopt(block: Block, { node, term }: Taker): Block {
  const numbers = formatNumbers(heldBy(block, node));
  return { ...block, node, holders: { ...block.holders, [node]: { numbers, term } } };
}

/** The node holds these no more; undefined: nobody needs the block. */
export function giveBack(block: Block, node: string, numbers: readonly number[]): Block | undefined {
  const left = new Set(numbers);
  const kept = heldBy(block, node).filter((number) => !left.has(number));
  const freed = heldBy(block, node).filter((number) => left.has(number));
  const { [node]: holding, ...others } = block.holders;
  const stays = holding !== undefined && (kept.length > 0 || block.node === node);
  const next: Block = {
    ...block,
    free: formatNumbers([...freeOf(block), ...freed]),
    holders: stays ? { ...others, [node]: { ...holding, numbers: formatNumbers(kept) } } : others,
  };
  return isNeeded(next) ? next : undefined;
}

/** Nothing of the block is the node's any more; undefined: nobody needs it. */
export function dropNode(block: Block, node: string): Block | undefined {
  const { node: affine, ...rest } = block;
  const abandoned: Block = affine === node || affine === undefined ? rest : { ...rest, node: affine };
  return giveBack(abandoned, node, heldBy(block, node));
}

function isNeeded({ node, holders }: Block): boolean {
  return node !== undefined || Object.keys(holders).length > 0;
}

/** Nodes that have anything of the block. */
export function nodesOf({ node, holders }: Block): string[] {
  return [...new Set([...(node === undefined ? [] : [node]), ...Object.keys(holders)])];
}
