/** All blocks that are known, found by address, by node and by what they overlap. What is known may be older than what is. */
import type { Block } from '#model/block.ts';
import { type Address, addressFamily } from '#net/address.ts';
import {
  contains,
  hostPrefix,
  overlaps,
  type Prefix,
  prefixAddress,
  prefixFamily,
  prefixLength,
  prefixOf,
} from '#net/prefix.ts';
import { addressAt, heldBy, nodesOf } from './block.ts';

/** No node has this name. */
const NOBODY = '';

export class BlockIndex<B extends Block = Block> {
  readonly #blocks = new Map<Prefix, B>();
  readonly #byNode = new Map<string, Set<Prefix>>();
  /** By prefixes that were asked for: those of pools. */
  readonly #within = new Map<Prefix, Set<Prefix>>();
  readonly #lengths = { 4: new Map<number, number>(), 6: new Map<number, number>() };

  /** Told of every change, whoever made it known. */
  onChange: (before: Block | undefined, after: Block | undefined) => void = () => {};

  /** What the block is now; undefined: there is none. */
  set(prefix: Prefix, block: B | undefined): void {
    const before = this.#blocks.get(prefix);
    if (before !== undefined) this.#count(before, -1);
    if (block === undefined) this.#blocks.delete(prefix);
    else {
      this.#blocks.set(prefix, block);
      this.#count(block, 1);
    }
    this.onChange(before, block);
  }

  get(prefix: Prefix): B | undefined {
    return this.#blocks.get(prefix);
  }
  get size(): number {
    return this.#blocks.size;
  }
  values(): IterableIterator<B> {
    return this.#blocks.values();
  }
  /** The block that the address is in. */
  at(address: Address): B | undefined {
    for (const length of this.#lengths[addressFamily(address)].keys()) {
      const found = this.#blocks.get(prefixOf(address, length));
      if (found !== undefined) return found;
    }
    return undefined;
  }
  /** All that have anything. */
  nodes(): string[] {
    return [...this.#byNode.keys()].filter((name) => name !== NOBODY);
  }
  /** Blocks of which the node has anything. */
  ofNode(node: string): B[] {
    return this.#select(this.#byNode.get(node));
  }
  /** Blocks of which no node has the whole. */
  orphans(): B[] {
    return this.#select(this.#byNode.get(NOBODY));
  }
  within(pool: Prefix): B[] {
    return this.#select(this.#membersOf(pool));
  }
  anyWithin(pool: Prefix): B | undefined {
    const [first] = this.#membersOf(pool);
    return first === undefined ? undefined : this.#blocks.get(first);
  }
  #membersOf(pool: Prefix): ReadonlySet<Prefix> {
    let members = this.#within.get(pool);
    if (members === undefined) {
      members = new Set([...this.#blocks.keys()].filter((prefix) => contains(pool, prefix)));
      this.#within.set(pool, members);
    }
    return members;
  }
  #select(prefixes: Iterable<Prefix> = []): B[] {
    return Array.from(prefixes, (prefix) => this.#blocks.get(prefix)).filter((block) => block !== undefined);
  }

  /** Whether another block has any of its addresses. */
  isTaken(prefix: Prefix): boolean {
    if (this.#blocks.has(prefix)) return true;
    const lengths = [...this.#lengths[prefixFamily(prefix)].keys()];
    const own = prefixLength(prefix);
    const wider = lengths.filter((length) => length < own);
    if (wider.some((length) => this.#blocks.has(prefixOf(prefixAddress(prefix), length)))) return true;
    // Only where blocks of several lengths are together, which is while somebody changes them.
    return lengths.some((length) => length > own) && this.overlapping(prefix).length > 0;
  }
  overlapping(prefix: Prefix): B[] {
    return [...this.#blocks.values()].filter((block) => overlaps(block.prefix, prefix));
  }

  /** What is routed to the node: its blocks, and each address that it holds of others'. */
  prefixesOf(node: string): Prefix[] {
    return this.ofNode(node)
      .flatMap((block) =>
        block.node === node
          ? [block.prefix]
          : heldBy(block, node).map((number) => hostPrefix(addressAt(block, number))),
      )
      .sort();
  }

  #count(block: B, change: 1 | -1): void {
    const { prefix, node = NOBODY } = block;
    for (const name of new Set([node, ...nodesOf(block)])) toggle(this.#byNode, name, prefix, change);
    for (const [pool, members] of this.#within) {
      if (change === -1) members.delete(prefix);
      else if (contains(pool, prefix)) members.add(prefix);
    }
    const lengths = this.#lengths[prefixFamily(prefix)];
    const count = (lengths.get(prefixLength(prefix)) ?? 0) + change;
    if (count === 0) lengths.delete(prefixLength(prefix));
    else lengths.set(prefixLength(prefix), count);
  }
}

function toggle(sets: Map<string, Set<Prefix>>, key: string, prefix: Prefix, change: 1 | -1): void {
  const members = sets.get(key) ?? new Set();
  if (change === 1) members.add(prefix);
  else members.delete(prefix);
  if (members.size === 0) sets.delete(key);
  else sets.set(key, members);
}
