/**
 * A node's place by blocks: for each family a home, whose first address is the node's own end of tunnels; addresses held ahead of
 * pods, and no more of them than are of use. A home never moves while it is the node's.
 */
import type { BlockHolder } from './blocks-holder.ts';
import type { BlocksScene } from './blocks-scene.ts';
import type { Events } from './log.ts';
import { readNodeFile, writeNodeFile } from './node-file.ts';
import { holderOf } from '#ipam/blocks/block.ts';
import { chunkOf } from '#ipam/blocks/move.ts';
import type { Clock } from '#lib/clock.ts';
import { toFault } from '#model/fault.ts';
import type { Settings } from '#model/settings.ts';
import { type Address, addressFamily, type Family } from '#net/address.ts';
import { families, type PerFamily } from '#net/per-family.ts';
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

  /** One pass. Answers whether a home changed. Throws when the store cannot be read or written. */
  async maintain(): Promise<boolean> {
    const { holder, settings } = this.#options;
    if (!this.#begun) await this.#begin();
    else
      await holder.verify([
        ...holder.shelf.blocks(),
        ...holder.index.ofNode(holder.node).map((b) => b.prefix),
      ]);
    const before = JSON.stringify(this.held);
    for (const family of families(settings.network.subnets)) await this.#settleHome(family);
    const changed = JSON.stringify(this.held) !== before;
    if (changed) writeNodeFile(settings.paths.state, this.held);
    await this.#renewUntold();
    await this.#refill();
    await this.#giveBack();
    return changed;
  }

  async #begin(): Promise<void> {
    const { holder, settings } = this.#options;
    await holder.begin();
    this.held = readNodeFile(settings.paths.state);
    await this.#claimUsed();
    this.#begun = true;
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

  /** Of pools that this node has a block of, and of its own blocks only: more comes when a pod needs it. */
  async #refill(): Promise<void> {
    const { holder, scene, settings } = this.#options;
    for (const family of families(settings.network.subnets)) {
      const place = scene.any(family);
      const rules = { ...place.rules, strictAffinity: true, maxBlocksPerNode: 0 };
      for (const pool of place.pools) {
        const own = this.#ownBlocks().filter((prefix) => contains(pool.prefix, prefix));
        const spare = own.flatMap((prefix) => holder.shelf.spareOf(prefix)).length;
        const least = Math.max(0, ...own.map((prefix) => chunkOf(prefix, place.rules) / 4));
        if (own.length === 0 || spare >= Math.min(least, 4)) continue;
        await holder.exclusively(() => holder.obtain({ ...place, rules, pools: [pool] })).catch(unlessFull);
      }
    }
  }
  #ownBlocks(): Prefix[] {
    const { holder } = this.#options;
    return holder.index
      .ofNode(holder.node)
      .flatMap(({ node, prefix }) => (node === holder.node ? [prefix] : []));
  }

  async #giveBack(): Promise<void> {
    const { holder, scene } = this.#options;
    const own = new Set(this.#ownBlocks());
    for (const block of holder.shelf.blocks()) {
      const spare = holder.shelf.spareOf(block);
      const chunk = chunkOf(block, scene.rules);
      if (!own.has(block)) await holder.giveBack(block, spare);
      else if (spare.length > 2 * chunk) await holder.giveBack(block, spare.slice(chunk));
    }
    for (const block of own) if (this.#isSurplus(block, own)) await holder.drop(block);
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
