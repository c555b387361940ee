/**
 * Holds addresses of blocks for one node. What always holds:
 * - an address is on the shelf only after the store's object says so, and off it before that object is written otherwise, so
 *   wherever the agent is killed an address is at worst held without being used, which the next start finds;
 * - all that this node reads to know what it holds, and all that it writes, goes one after the other;
 * - a block is claimed only of the length that all nodes agree on (block-length.ts);
 * - what a watch tells is believed for plans only: who plans with something old has its write refused, and reads again.
 */
import { Serial } from '../pods/serial.ts';
import { agreeOnLength } from './block-length.ts';
import {
  adopt,
  addressAt,
  dropNode,
  giveBack,
  heldBy,
  newBlock,
  numberOf,
  take,
} from '#ipam/blocks/block.ts';
import { BlockIndex } from '#ipam/blocks/block-index.ts';
import { learnBlock, readBlock, type SeenBlock } from '#ipam/blocks/seen.ts';
import { type Move, moveFor, nextMove, type Question } from '#ipam/blocks/move.ts';
import { Shelf } from '#ipam/blocks/shelf.ts';
import { claimName } from '#ipam/subnet.ts';
import type { Clock } from '#lib/clock.ts';
import type { Block } from '#model/block.ts';
import { Fault } from '#model/fault.ts';
import { type Address, compareAddresses } from '#net/address.ts';
import { contains, type Prefix } from '#net/prefix.ts';
import type { Store, Version } from '#stores/store.ts';

/** A block as it was read. */
export type Seen = SeenBlock<Version>;

/** What the world says at the moment of a move: pools, rules, what is not to be touched. */
export type Scene = Omit<Question<Seen>, 'index' | 'node'>;

export type HolderOptions = {
  readonly store: Omit<Store, 'watch'>;
  readonly node: string;
  readonly clock: Clock;
  readonly index?: BlockIndex<Seen>;
  /** Of the addresses of this block, the one handed out last before a restart. */
  readonly lastOf?: (block: Prefix) => Address | undefined;
  /** Somebody else took what pods of this node use. */
  readonly onLost?: (addresses: readonly Address[], block: Block | undefined) => void;
};

const ATTEMPTS = 100;

export class BlockHolder {
  readonly index: BlockIndex<Seen>;
  readonly shelf = new Shelf();
  readonly #options: HolderOptions;
  readonly #serial = new Serial();
  #term = 0;
  /** Blocks of which the last write was answered with neither yes nor no. */
  readonly #uncertain = new Set<Prefix>();
  /** When the store last said what this node holds; monotonic. */
  askedAtMs = -Infinity;

  constructor(options: HolderOptions) {
    this.#options = options;
    this.index = options.index ?? new BlockIndex();
  }

  get node(): string {
    return this.#options.node;
  }

  /** One after the other with everything else that reads or writes what this node holds. */
  exclusively<T>(task: () => Promise<T>): Promise<T> {
    return this.#serial.run('', task);
  }

  /**
   * What the node holds from before, on its shelf; and a sign of life in each block, so that whoever thought the node gone has
   * to look again. Throws a Fault when the store cannot be read.
   */
  begin(): Promise<void> {
    return this.exclusively(async () => {
      const objects = await this.#options.store.list('Block');
      for (const object of objects) learnBlock(this.index, object.name, object);
      const own = this.index.ofNode(this.node);
      this.#term = 1 + Math.max(0, ...own.map(({ holders }) => holders[this.node]?.term ?? 0));
      for (const { prefix } of own) await this.#renew(prefix);
    });
  }

  /** A sign of life in every block, as `begin` gives. */
  renew(): Promise<void> {
    return this.exclusively(async () => {
      this.#term += 1;
      for (const { prefix } of this.index.ofNode(this.node)) await this.#renew(prefix);
    });
  }
  #renew(prefix: Prefix): Promise<boolean> {
    return this.#change(prefix, (block) => take(block, this.#taker, []));
  }

  get #taker(): { node: string; term: number } {
    return { node: this.node, term: this.#term };
  }

  /** Whether the shelf has something else of the block than the node holds by what was read last. */
  isDoubtful(prefix: Prefix): boolean {
    const held = this.#heldIn(this.index.get(prefix)).sort(compareAddresses);
    return held.join() !== this.shelf.heldOf(prefix).sort(compareAddresses).join();
  }

  /** Reads from the store what the node holds of these blocks, and of those of which that is uncertain. */
  verify(prefixes: Iterable<Prefix>): Promise<void> {
    return this.exclusively(async () => {
      for (const prefix of new Set([...prefixes, ...this.#uncertain])) await this.#read(prefix);
      this.askedAtMs = this.#options.clock.monotonicMs();
    });
  }

  async #read(prefix: Prefix): Promise<void> {
    const name = claimName(prefix);
    const stored = await this.#options.store.get('Block', name);
    const read = stored === undefined ? undefined : readBlock(name, stored);
    if (typeof read === 'string') throw new Fault('store-malformed', `Block ${name}: ${read}`);
    // What was sent before must not be done after this is believed: whatever it expected is no more.
    if (read !== undefined && this.#uncertain.has(prefix)) await this.#settle(prefix, read);
    else this.#know(prefix, read);
  }
  async #settle(prefix: Prefix, { version: expect, ...block }: Seen): Promise<void> {
    const { version } = await this.#options.store.put('Block', claimName(prefix), block, { expect });
    this.#uncertain.delete(prefix);
    this.#know(prefix, { ...block, version });
  }

  /** What the store says by our own read or write. */
  #know(prefix: Prefix, block: Seen | undefined): void {
    this.index.set(prefix, block);
    const after = this.#options.lastOf?.(prefix);
    const lost = this.shelf.setHeld(prefix, this.#heldIn(block), after);
    if (lost.length > 0) this.#options.onLost?.(lost, block);
  }
  #heldIn(block: Block | undefined): Address[] {
    if (block === undefined) return [];
    return heldBy(block, this.node).map((number) => addressAt(block, number));
  }

  /**
   * More addresses on the shelf, or (`wanted`) that one. Only within `exclusively`, so that who asked can take one before
   * somebody else does. Throws Fault `addresses-exhausted` or `address-taken` with every reason, `store-conflict` after many attempts.
   */
  async obtain(scene: Scene, wanted?: Address): Promise<Prefix> {
    let { pools } = scene;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const question = { ...scene, pools, index: this.index, node: this.node, attempt };
      const move = wanted === undefined ? nextMove(question) : moveFor(question, wanted);
      if (move.type === 'none') throw refusal(move, wanted);
      const agreed = move.type === 'claim' ? await this.#agree(pools, move.prefix) : pools;
      if (agreed !== pools) pools = agreed;
      else if (await this.#try(move)) return move.type === 'claim' ? move.prefix : move.block.prefix;
    }
    throw new Fault('store-conflict', `no address could be taken in ${ATTEMPTS} attempts`);
  }

  /** The same when blocks of the pool around are as long as this node was told. */
  async #agree(pools: Scene['pools'], around: Prefix): Promise<Scene['pools']> {
    const pool = pools.find(({ prefix }) => contains(prefix, around));
    if (pool === undefined) throw new RangeError(`${around} is of no pool`);
    const blockLength = await agreeOnLength(this.#options.store, pool);
    if (blockLength === pool.blockLength) return pools;
    return pools.map((each) => (each === pool ? { ...pool, blockLength } : each));
  }

  #try(move: Exclude<Move<Seen>, { type: 'none' }>): Promise<boolean> {
    if (move.type === 'take') {
      const block = move.adopts ? adopt(move.block, this.#taker) : move.block;
      return this.#write(move.block.prefix, take(block, this.#taker, move.numbers), move.block.version);
    }
    const fresh = newBlock(move.prefix, this.#taker);
    return this.#write(move.prefix, take(fresh, this.#taker, move.numbers), 'absent');
  }

  /** False: somebody was faster, and the block has been read again. */
  async #write(prefix: Prefix, block: Block | undefined, expect: Version | 'absent'): Promise<boolean> {
    const { store, clock } = this.#options;
    const name = claimName(prefix);
    try {
      if (block === undefined) {
        if (expect !== 'absent') await store.remove('Block', name, { expect });
        this.#know(prefix, undefined);
      } else {
        const { version } = await store.put('Block', name, strip(block), { expect });
        this.#know(prefix, { ...strip(block), version });
      }
      this.#uncertain.delete(prefix);
      this.askedAtMs = clock.monotonicMs();
      return true;
    } catch (error) {
      if (!(error instanceof Fault && error.code === 'store-conflict')) {
        // It may have been done, or may be done yet.
        this.#uncertain.add(prefix);
        throw error;
      }
      await this.#read(prefix);
      return false;
    }
  }

  /** Until it is written; false when the block is not there. `change` answers the block itself when there is nothing to do. */
  async #change(prefix: Prefix, change: (block: Seen) => Block | undefined): Promise<boolean> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const block = this.index.get(prefix);
      if (block === undefined) return false;
      const next = change(block);
      if (next === block || (await this.#write(prefix, next, block.version))) return true;
    }
    throw new Fault('store-conflict', `block ${prefix} could not be written in ${ATTEMPTS} attempts`);
  }

  /** These are held no more, but for those in use by now. */
  giveBack(prefix: Prefix, addresses: readonly Address[]): Promise<boolean> {
    return this.exclusively(() =>
      this.#change(prefix, (block) => {
        const leaving = new Set(addresses.filter((address) => this.shelf.isSpare(address)));
        if (leaving.size === 0) return block;
        this.#leave(prefix, leaving);
        const numbers = [...leaving].map((address) => numberOf(block, address));
        return giveBack(block, this.node, numbers);
      }),
    );
  }

  /** Nor is the block the node's any more, if nothing of it is in use here by now; what others hold of it stays theirs. */
  drop(prefix: Prefix): Promise<boolean> {
    return this.exclusively(() =>
      this.#change(prefix, (block) => {
        // By the store: the shelf does not know yet what is in use when a start was cut short.
        const held = this.#heldIn(block);
        if (!held.every((address) => this.shelf.isSpare(address))) return block;
        this.#leave(prefix, new Set(held));
        return dropNode(block, this.node);
      }),
    );
  }

  /** At each attempt, as reading the block again puts them back. */
  #leave(prefix: Prefix, leaving: ReadonlySet<Address>): void {
    this.shelf.setHeld(
      prefix,
      this.shelf.heldOf(prefix).filter((address) => !leaving.has(address)),
    );
  }
}

function refusal({ why }: Extract<Move, { type: 'none' }>, wanted: Address | undefined): Fault {
  const [first] = why;
  if (wanted !== undefined)
    return new Fault('address-taken', `${wanted} ${first?.message ?? 'is not to be had'}`, { problems: why });
  const message = why.length === 0 ? 'no pool may be used here' : 'no pool has a free address for this node';
  return new Fault('addresses-exhausted', message, { problems: why });
}

function strip(block: Block & { readonly version?: unknown }): Block {
  const { version: _, ...rest } = block;
  return rest;
}
