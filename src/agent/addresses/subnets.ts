/**
 * The node's subnets: claimed in the store, renewed before they expire, and never moved while pods live in them. A
 * claim that is gone is made again for the same subnet; one that somebody else holds is an event, and new pods are
 * refused until it is resolved.
 */
import type { Events } from '#lib/log.ts';
import { readNodeFile, writeNodeFile } from '../node-file.ts';
import { chooseSubnet, claimName } from '#ipam/subnet.ts';
import type { Clock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';
import type { Settings, SubnetSettings } from '#model/settings.ts';
import type { SubnetClaim } from '#model/world.ts';
import type { Family } from '#net/address.ts';
import { families, type PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import type { Store, Stored } from '#stores/store.ts';

export type SubnetsOptions = {
  readonly settings: Settings;
  readonly store: Store;
  readonly clock: Clock;
  readonly events: Events;
  /** Present claims by object name, as the feed keeps them. */
  readonly claims: () => ReadonlyMap<string, Stored>;
  /** Blocks of nodes that take their addresses from such, as claims. */
  readonly blocks: () => readonly SubnetClaim[];
  /** These are the node's now, or still. */
  readonly onHeld: (held: PerFamily<Prefix>) => void;
  /** Pods live in the subnet: it must not be exchanged for another. */
  readonly inUse: (subnet: Prefix) => boolean;
};

export class Subnets {
  readonly #options: SubnetsOptions;
  #held: { 4?: Prefix; 6?: Prefix };
  readonly #lost = new Map<Family, string>();

  constructor(options: SubnetsOptions) {
    this.#options = options;
    this.#held = { ...readNodeFile(options.settings.paths.state) };
  }

  /** Subnets that are claimed and not lost. Empty before the first `maintain`. */
  held: PerFamily<Prefix> = {};

  get claimed(): PerFamily<Prefix> {
    return this.held;
  }

  /** Why a family has no usable subnet, one sentence each. */
  problems(): string[] {
    return [...this.#lost.values()];
  }

  /** One pass: acquire what is missing, renew what is due. Answers whether the subnets changed. */
  async maintain(): Promise<boolean> {
    const before = JSON.stringify(this.held);
    const wanted = this.#options.settings.network.subnets;
    const held: { 4?: Prefix; 6?: Prefix } = {};
    for (const family of families(wanted)) {
      const subnet = await this.#maintainFamily(family, wanted[family] as SubnetSettings);
      if (subnet !== undefined) held[family] = subnet;
    }
    this.held = held;
    this.#options.onHeld(held);
    const changed = JSON.stringify(held) !== before;
    if (changed) writeNodeFile(this.#options.settings.paths.state, held);
    return changed;
  }

  async #maintainFamily(family: Family, settings: SubnetSettings): Promise<Prefix | undefined> {
    const previous = this.#options.settings.network.nodeSubnets[family] ?? this.#held[family];
    const pinned = previous !== undefined && this.#options.inUse(previous);
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const claims = this.#present();
      const subnet = this.#choose(family, settings, { claims, previous, pinned });
      if (subnet === undefined) return undefined;
      if (await this.#claim(subnet)) {
        this.#held[family] = subnet;
        if (this.#lost.delete(family)) this.#options.events.add('info', `subnet ${subnet} is ours again`);
        return subnet;
      }
      await this.#options.clock.sleep(20 * (attempt + 1));
    }
    throw new Fault('store-conflict', `no IPv${family} subnet could be claimed in 10 attempts`);
  }

  #choose(
    family: Family,
    settings: SubnetSettings,
    now: { claims: SubnetClaim[]; previous: Prefix | undefined; pinned: boolean },
  ): Prefix | undefined {
    const fixed = this.#options.settings.network.nodeSubnets[family] !== undefined;
    if (fixed || now.pinned) {
      const holder = now.claims.find((claim) => claim.subnet === now.previous)?.node;
      if (holder === undefined || holder === this.#node) return now.previous;
      this.#lose(family, `subnet ${now.previous} of this node is held by ${holder}`);
      return undefined;
    }
    const previous = now.previous === undefined ? {} : { previous: now.previous };
    return chooseSubnet({
      settings,
      claims: now.claims,
      node: this.#node,
      ...previous,
      random: Math.random(),
    }).subnet;
  }

  #lose(family: Family, text: string): void {
    if (this.#lost.get(family) === text) return;
    this.#lost.set(family, text);
    this.#options.events.add('error', `${text}; new pods are refused`);
  }

  get #node(): string {
    return this.#options.settings.node.name;
  }

  #present(): SubnetClaim[] {
    return [...this.#options.claims().values()]
      .map((object) => object.value as SubnetClaim)
      .concat(this.#options.blocks());
  }

  /** Writes or renews the claim; false when somebody was faster. */
  async #claim(subnet: Prefix): Promise<boolean> {
    const { store, settings } = this.#options;
    const name = claimName(subnet);
    const there = await store.get('SubnetClaim', name);
    if (there !== undefined) {
      const claim = there.value as SubnetClaim;
      if (claim.node !== this.#node) return false;
      if (claim.reserved || !this.#isDue(there)) return true;
    }
    const value: SubnetClaim = { node: this.#node, subnet, reserved: false };
    try {
      const expect = there === undefined ? 'absent' : there.version;
      await store.put('SubnetClaim', name, value, { expect, ttlSeconds: settings.network.lease.ttlSeconds });
      return true;
    } catch (error) {
      if (error instanceof Fault && error.code === 'store-conflict') return false;
      throw error;
    }
  }

  /** To be written again: it ends soon, or somebody asks whether its node lives. */
  #isDue({ value, expiresAtMs = Infinity }: Stored): boolean {
    const { settings, clock } = this.#options;
    const dueMs = expiresAtMs - settings.network.lease.renewBeforeSeconds * 1000;
    return (value as SubnetClaim).questioned !== undefined || clock.nowMs() >= dueMs;
  }
}
