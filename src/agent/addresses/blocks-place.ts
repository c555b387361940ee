/**
 * A node's place by blocks: for each family a home, whose first address is the node's own end of tunnels; addresses held ahead of
 * pods, and no more of them than are of use. A home never moves while it is the node's.
 */
import type { BlockHolder, Scene } from './blocks-holder.ts';
import type { BlocksScene } from './blocks-scene.ts';
import type { Events } from '#lib/log.ts';
import { readNodeFile, writeNodeFile } from '../node-file.ts';
import { holderOf } from '#ipam/blocks/block.ts';
import { chunkOf } from '#ipam/blocks/move.ts';
import type { Clock } from '#lib/clock.ts';
import { toFault } from '#model/fault.ts';
import type { BlockPool } from '#model/block.ts';
import type { Settings } from '#model/settings.ts';
import { type Address, addressFamily, type Family } from '#net/address.ts';
import { families, type PerFamily, perFamily } from '#net/per-family.ts';
import { contains, hostPrefix, type Prefix, prefixAddress, prefixFamily } from '#net/prefix.ts';

export type BlockPlaceOptions = {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly events: Events;
  readonly holder: BlockHolder;
  readonly scene: BlocksScene;
  /** The store has this node's advert: nobody thinks that it is gone. */
  readonly isAdvertised: () => boolean;
};

/** Who has the address that is the node's own where its home is a borrowed one. */
const OWNER = 'node';

export class BlockPlace {
  readonly #options: BlockPlaceOptions;
  #begun = false;
  /** Since when a block of our own has been empty; monotonic ms. */
  readonly #emptySince = new Map<Prefix, number>();
  #renewedAtMs = 0;
  /** Why the last pass did not come to its end. */
  #trouble = '';
  readonly #problems = new Map<Family, string>();
  held: PerFamily<Prefix> = {};
  /** Blocks need none. */
  readonly claimed: PerFamily<Prefix> = {};

  constructor(options: BlockPlaceOptions) {
    this.#options = options;
  }

  get isKnown(): boolean {
    return this.#begun;
  }
  problems(): string[] {
    return [...this.#problems.values()];
  }

  /** One pass. Answers whether a home changed. Throws while the store cannot be read for the first time; later what is held stays. */
  async maintain(): Promise<boolean> {
    const { settings, events } = this.#options;
    const before = JSON.stringify(this.held);
    if (!this.#begun) await this.#begin();
    try {
      await this.#keepUp();
      this.#trouble = '';
    } catch (error) {
      const { message } = toFault(error);
      if (message !== this.#trouble) events.add('warning', `blocks are left as they are: ${message}`);
      this.#trouble = message;
    }
    const changed = JSON.stringify(this.held) !== before;
    if (changed) writeNodeFile(settings.paths.state, this.held);
    return changed;
  }

  async #keepUp(): Promise<void> {
    const { holder, settings } = this.#options;
    const named = holder.index.ofNode(holder.node).map(({ prefix }) => prefix);
    await holder.verify([...holder.shelf.blocks(), ...named]);
    for (const family of families(settings.network.subnets)) await this.#settleHome(family);
    await this.#renewUntold();
    await this.#refill();
    await this.#giveBack();
  }

  async #begin(): Promise<void> {
    const { holder, settings } = this.#options;
    await holder.begin();
    this.held = this.#ownOf(readNodeFile(settings.paths.state));
    await this.#claimUsed();
    this.#begun = true;
  }

  #ownOf(homes: PerFamily<Prefix>): PerFamily<Prefix> {
    return perFamily((family) => {
      const home = homes[family];
      return home !== undefined && this.#isOurs(home) ? home : undefined;
    });
  }

  /** What pods of this node use is held, whoever forgot it: a store that was lost, or settings that had subnets before. */
  async #claimUsed(): Promise<void> {
    const { holder, scene, events } = this.#options;
    for (const ip of holder.shelf.inUse()) {
      const block = holder.index.at(ip);
      if (block !== undefined && holderOf(block, ip) === holder.node) continue;
      try {
        await holder.exclusively(() => holder.obtain(scene.whole(addressFamily(ip)), ip));
      } catch (error) {
        events.add('error', `${ip} is in use here and is not this node’s: ${toFault(error).message}`);
      }
    }
  }

  async #settleHome(family: Family): Promise<void> {
    const { holder, events } = this.#options;
    try {
      const home = this.#presentHome(family) ?? (await this.#takeHome(family));
      if (home !== this.held[family]) events.add('info', `this node’s IPv${family} home is ${home}`);
      this.held = { ...this.held, [family]: home };
      this.#problems.delete(family);
      if (holder.index.get(home)?.node !== holder.node) holder.shelf.adopt(OWNER, prefixAddress(home));
    } catch (error) {
      const fault = toFault(error);
      const why = [fault.message, ...fault.problems.map(({ message }) => message)].join('; ');
      if (this.#problems.get(family) !== why)
        events.add('error', `no IPv${family} address for this node itself: ${why}`);
      this.#problems.set(family, why);
      const { [family]: _, ...others } = this.held;
      this.held = others;
    }
  }

  /** The one from before as long as it is ours, else any block of ours. */
  #presentHome(family: Family): Prefix | undefined {
    const { holder } = this.#options;
    const before = this.held[family];
    if (before !== undefined && this.#isOurs(before)) return before;
    return holder.index
      .ofNode(holder.node)
      .filter(({ node, prefix }) => node === holder.node && prefixFamily(prefix) === family)
      .map(({ prefix }) => prefix)
      .find((prefix) => holder.shelf.ownerOf(prefixAddress(prefix)) === undefined);
  }
  #isOurs(home: Prefix): boolean {
    const { holder } = this.#options;
    const block = holder.index.get(home);
    if (block !== undefined) return block.node === holder.node;
    const ip = prefixAddress(home);
    const around = holder.index.at(ip);
    const owner = holder.shelf.ownerOf(ip) ?? OWNER;
    return (
      home === hostPrefix(ip) &&
      around !== undefined &&
      holderOf(around, ip) === holder.node &&
      owner === OWNER
    );
  }

  async #takeHome(family: Family): Promise<Prefix> {
    const { holder, scene } = this.#options;
    return holder.exclusively(async () => {
      const block = await holder.obtain(scene.of(family));
      if (holder.index.get(block)?.node === holder.node) return block;
      // Every block is another node's: one borrowed address has to do.
      const [ip] = holder.shelf.spareOf(block);
      if (ip === undefined) throw new RangeError(`nothing of ${block} is spare`);
      holder.shelf.takeThis(OWNER, ip);
      return hostPrefix(ip);
    });
  }

  /** While the store lacks our advert others may think that we are gone: each block shows that we are not. */
  async #renewUntold(): Promise<void> {
    const { holder, clock, settings, isAdvertised } = this.#options;
    const now = clock.monotonicMs();
    if (isAdvertised()) this.#renewedAtMs = now;
    if (now - this.#renewedAtMs < (settings.addresses.blocks.reclaimSeconds * 1000) / 3) return;
    this.#renewedAtMs = now;
    await holder.renew();
  }

  /** Whether a pass would take or give back something. Asked after every pod. */
  isDue(): boolean {
    return this.#begun && (this.#lowPools().length > 0 || this.#excess().length > 0);
  }

  /** Of its own blocks only: more comes when a pod needs it. */
  async #refill(): Promise<void> {
    const { holder } = this.#options;
    for (const { place, pool } of this.#lowPools()) {
      const rules = { ...place.rules, strictAffinity: true, maxBlocksPerNode: 0 };
      await holder.exclusively(() => holder.obtain({ ...place, rules, pools: [pool] })).catch(unlessFull);
    }
  }

  /** Pools of which the node has a block with more to take, and hardly an address at hand. */
  #lowPools(): { readonly place: Scene; readonly pool: BlockPool }[] {
    const { holder, scene, settings } = this.#options;
    const blocks = this.#ownBlocks();
    return families(settings.network.subnets).flatMap((family) => {
      const place = scene.any(family);
      const isLow = (pool: BlockPool): boolean => {
        const own = blocks.filter((prefix) => contains(pool.prefix, prefix));
        const spare = own.flatMap((prefix) => holder.shelf.spareOf(prefix)).length;
        const least = Math.max(0, ...own.map((prefix) => chunkOf(prefix, place.rules) / 4));
        return spare < Math.min(least, 4) && own.some((prefix) => holder.index.get(prefix)?.free !== '');
      };
      return place.pools.filter(isLow).map((pool) => ({ place, pool }));
    });
  }
  #ownBlocks(): Prefix[] {
    const { holder } = this.#options;
    return holder.index
      .ofNode(holder.node)
      .flatMap(({ node, prefix }) => (node === holder.node ? [prefix] : []));
  }

  async #giveBack(): Promise<void> {
    const { holder } = this.#options;
    for (const { block, addresses } of this.#excess()) await holder.giveBack(block, addresses);
    const own = new Set(this.#ownBlocks());
    for (const block of own) if (this.#isSurplus(block, own)) await holder.drop(block);
  }

  /** Spare addresses that others may have: all of theirs, and what is too much of our own. */
  #excess(): { readonly block: Prefix; readonly addresses: readonly Address[] }[] {
    const { holder, scene } = this.#options;
    return holder.shelf.blocks().flatMap((block) => {
      const spare = holder.shelf.spareOf(block);
      const chunk = holder.index.get(block)?.node === holder.node ? chunkOf(block, scene.rules) : 0;
      return spare.length > 2 * chunk ? [{ block, addresses: spare.slice(chunk) }] : [];
    });
  }

  /** Empty for long, and there is room without it. */
  #isSurplus(block: Prefix, own: ReadonlySet<Prefix>): boolean {
    const { holder, scene, clock, settings } = this.#options;
    const isEmpty = holder.shelf.heldOf(block).every((ip: Address) => holder.shelf.isSpare(ip));
    const isHome = Object.values(this.held).includes(block);
    const rest = [...own].filter((one) => one !== block && prefixFamily(one) === prefixFamily(block));
    const room = rest.flatMap((one) => holder.shelf.spareOf(one)).length;
    if (!isEmpty || isHome || room < Math.min(16, chunkOf(block, scene.rules))) {
      this.#emptySince.delete(block);
      return false;
    }
    const now = clock.monotonicMs();
    const since = this.#emptySince.get(block) ?? now;
    this.#emptySince.set(block, since);
    return now - since >= settings.addresses.blocks.reclaimSeconds * 1000;
  }
}

/** That there is no more is no fault: a pod that needs one is told. */
function unlessFull(error: unknown): void {
  if (toFault(error).code !== 'addresses-exhausted') throw error;
}
