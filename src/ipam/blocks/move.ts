/**
 * How a node comes by more addresses, one move at a time: out of a block of its own, by a block of nobody, by a new one, and at last
 * by borrowing from another node's. A move is tried with compare-and-swap; when somebody was faster, the block is read again and
 * the next move is asked for.
 */
import { fnv1a64 } from '#lib/hash.ts';
import type { Block, BlockPool } from '#model/block.ts';
import type { Problem } from '#model/fault.ts';
import { type Address, addressValue } from '#net/address.ts';
import {
  contains,
  lastAddress,
  nthSubnet,
  overlaps,
  type Prefix,
  prefixAddress,
  prefixFamily,
  prefixLength,
  prefixOf,
  prefixSize,
} from '#net/prefix.ts';
import { addressAt, freeOf, lastNumber, newBlock, numberOf } from './block.ts';
import type { BlockIndex } from './block-index.ts';

export type Rules = {
  /** Addresses of a block go to its own node only. */
  readonly strictAffinity: boolean;
  /** So many blocks of a family at most are one node's. */
  readonly maxBlocksPerNode: number;
};

/**
 * So many addresses of a block of its own a node holds at a time, ahead of its pods: one write for as many of them. The rest
 * is there to be borrowed; where nobody borrows, all.
 */
export function chunkOf(prefix: Prefix, { strictAffinity }: Pick<Rules, 'strictAffinity'>): number {
  return strictAffinity ? Infinity : Math.min(16, (lastNumber(prefix) + 1) / 4);
}

export type Question<B extends Block = Block> = {
  readonly index: BlockIndex<B>;
  readonly node: string;
  /** In the order in which they are asked. */
  readonly pools: readonly BlockPool[];
  readonly rules: Rules;
  /** Never handed out unasked. */
  readonly reserved: readonly Prefix[];
  /** In use by something else than blocks: subnets of other nodes. */
  readonly foreign: readonly Prefix[];
  /** How often somebody was faster: nodes that follow each other through a pool part so. */
  readonly attempt?: number;
};

export type Move<B extends Block = Block> =
  /** `adopts`: the block becomes the node's as well. */
  | {
      readonly type: 'take';
      readonly block: B;
      readonly numbers: readonly number[];
      readonly adopts: boolean;
    }
  | { readonly type: 'claim'; readonly prefix: Prefix; readonly numbers: readonly number[] }
  | { readonly type: 'none'; readonly why: readonly Problem[] };

/** Anything that suits. */
export function nextMove<B extends Block>(question: Question<B>): Move<B> {
  const { index, node, pools, rules } = question;
  const isOf = familiesOf(pools);
  const all = index.ofNode(node).filter((block) => block.node === node && isOf(block.prefix));
  const own = pools.flatMap(({ prefix }) => all.filter((block) => contains(prefix, block.prefix)));
  const taken = firstMove(own, (block) => takeSome(question, block, false));
  if (taken !== undefined) return taken;
  const isCapped = all.length >= rules.maxBlocksPerNode;
  const gained = isCapped ? undefined : (adoptOne(question) ?? claimOne(question));
  if (gained !== undefined) return gained;
  const borrowed = rules.strictAffinity ? undefined : borrowOne(question);
  return borrowed ?? { type: 'none', why: whyNone(question, own, isCapped) };
}

function familiesOf(pools: readonly BlockPool[]): (prefix: Prefix) => boolean {
  const families = new Set(pools.map(({ prefix }) => prefixFamily(prefix)));
  return (prefix) => families.has(prefixFamily(prefix));
}

function firstMove<B extends Block>(
  blocks: Iterable<B>,
  moveIn: (block: B) => Move<B> | undefined,
): Move<B> | undefined {
  for (const block of blocks) {
    const move = moveIn(block);
    if (move !== undefined) return move;
  }
  return undefined;
}

/** As many as the chunk says; the block is the node's own, or becomes it. */
function takeSome<B extends Block>(question: Question<B>, block: B, adopts: boolean): Move<B> | undefined {
  const numbers = usable(question, block).slice(0, chunkOf(block.prefix, question.rules));
  return numbers.length === 0 ? undefined : { type: 'take', block, numbers, adopts };
}

function usable({ reserved }: Question, block: Block): number[] {
  const walls = reserved.filter((wall) => overlaps(wall, block.prefix));
  return freeOf(block).filter((number) => !walls.some((wall) => contains(wall, addressAt(block, number))));
}

function adoptOne<B extends Block>(question: Question<B>): Move<B> | undefined {
  const orphans = question.index.orphans();
  const suiting = orphans.filter(({ prefix }) =>
    question.pools.some((pool) => contains(pool.prefix, prefix)),
  );
  return firstMove(suiting, (block) => takeSome(question, block, true));
}

function claimOne<B extends Block>(question: Question<B>): Move<B> | undefined {
  for (const pool of question.pools) {
    const prefix = freePrefix(question, pool);
    if (prefix !== undefined) {
      const fresh = newBlock(prefix, { node: question.node, term: 0 });
      return {
        type: 'claim',
        prefix,
        numbers: usable(question, fresh).slice(0, chunkOf(prefix, question.rules)),
      };
    }
  }
  return undefined;
}

/** Begins at another place for each node: borrowers spread. */
function borrowOne<B extends Block>(question: Question<B>): Move<B> | undefined {
  const { index, node, pools } = question;
  for (const pool of pools) {
    const others = seeded(index.within(pool.prefix), question).filter((block) => block.node !== node);
    const move = firstMove(others, (block): Move<B> | undefined => {
      const [number] = usable(question, block);
      return number === undefined ? undefined : { type: 'take', block, numbers: [number], adopts: false };
    });
    if (move !== undefined) return move;
  }
  return undefined;
}

/** From a place that depends on the node, so that nodes that ask at once seldom meet. */
function freePrefix(question: Question, { prefix, blockLength }: BlockPool): Prefix | undefined {
  const { foreign, reserved } = question;
  const count = 1n << BigInt(blockLength - prefixLength(prefix));
  const start = seedOf(question) % count;
  for (let walked = 0n; walked < count;) {
    const candidate = nthSubnet(prefix, blockLength, (start + walked) % count);
    const wall = [...reserved, ...foreign].find((each) => contains(each, candidate));
    if (wall !== undefined) walked += restOf(wall, candidate);
    else if (isFree(question, candidate)) return candidate;
    else walked += 1n;
  }
  return undefined;
}

/** A block of which nothing could be handed out is not worth having. */
function isFree({ index, foreign, reserved }: Question, prefix: Prefix): boolean {
  if (index.isTaken(prefix) || foreign.some((each) => overlaps(each, prefix))) return false;
  const walls = reserved.filter((wall) => overlaps(wall, prefix));
  const numbers = Array.from(
    { length: walls.length === 0 ? 0 : lastNumber(prefix) },
    (_, index) => index + 1,
  );
  return (
    walls.length === 0 ||
    numbers.some((number) => !walls.some((wall) => contains(wall, addressAt({ prefix }, number))))
  );
}

/** Blocks from this one to the end of the wall around it. */
function restOf(wall: Prefix, block: Prefix): bigint {
  const addresses = addressValue(lastAddress(wall)) - addressValue(prefixAddress(block)) + 1n;
  return addresses / prefixSize(block);
}

function seeded<T>(items: readonly T[], question: Question): T[] {
  const start = items.length === 0 ? 0 : Number(seedOf(question) % BigInt(items.length));
  return [...items.slice(start), ...items.slice(0, start)];
}

function seedOf({ node, attempt = 0 }: Question): bigint {
  return fnv1a64(attempt === 0 ? node : `${attempt} ${node}`);
}

function whyNone({ pools, rules }: Question, own: readonly Block[], isCapped: boolean): Problem[] {
  const rest = rules.strictAffinity ? 'borrowing is off (strict affinity)' : 'no node has an address to lend';
  const full = isCapped ? `a node may have no more than ${rules.maxBlocksPerNode}` : 'there is no free one';
  return pools.map(({ name, prefix }) => {
    const count = own.filter((block) => contains(prefix, block.prefix)).length;
    const message = `of ${prefix} this node has ${count} blocks, which are full; ${full}, and ${rest}`;
    return { path: `pool ${name}`, message };
  });
}

/** That address and no other. It is nobody's question whether it is reserved: somebody asked for it by name. */
export function moveFor<B extends Block>(question: Question<B>, wanted: Address): Move<B> {
  const block = question.index.at(wanted);
  const move = block === undefined ? claimFor(question, wanted) : takeFor(question, block, wanted);
  return typeof move === 'string' ? { type: 'none', why: [{ path: wanted, message: move }] } : move;
}

const NO_POOL = 'is in no pool that may be used here';

function claimFor<B extends Block>(
  { index, pools, foreign }: Question<B>,
  wanted: Address,
): Move<B> | string {
  const pool = pools.find(({ prefix }) => contains(prefix, wanted));
  if (pool === undefined) return NO_POOL;
  const prefix = prefixOf(wanted, pool.blockLength);
  const number = numberOf({ prefix }, wanted);
  if (number === 0) return `is the node’s own address of block ${prefix}`;
  const isTaken = index.isTaken(prefix) || foreign.some((each) => overlaps(each, prefix));
  return isTaken ? `: ${prefix} is in use as something else` : { type: 'claim', prefix, numbers: [number] };
}

function takeFor<B extends Block>(
  { node, pools, rules }: Question<B>,
  block: B,
  wanted: Address,
): Move<B> | string {
  if (!pools.some(({ prefix }) => overlaps(prefix, block.prefix))) return NO_POOL;
  const number = numberOf(block, wanted);
  if (number === 0) return `is the node’s own address of block ${block.prefix}`;
  if (!freeOf(block).includes(number)) return 'is held already';
  const { node: owner = node } = block;
  if (owner !== node && rules.strictAffinity)
    return `is in the block of ${owner}, and borrowing is off (strict affinity)`;
  return { type: 'take', block, numbers: [number], adopts: false };
}
