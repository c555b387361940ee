/** The address pools of this node: one per family and subnet, filled from the ledger at start. */
import type { RangeSet } from '#cni/ranges.ts';
import { createPool, type Pool, type PoolOptions } from '#ipam/pool.ts';
import { type Attachment, attachmentId } from '#model/attachment.ts';
import { Fault, toFault } from '#model/fault.ts';
import type { Settings } from '#model/settings.ts';
import { type Address, type Family, addressFamily } from '#net/address.ts';
import { families, familyValues, type PerFamily } from '#net/per-family.ts';
import {
  contains,
  type InterfaceAddress,
  interfaceAddress,
  nthAddress,
  type Prefix,
  prefixAddress,
  prefixLength,
} from '#net/prefix.ts';

type Taken = { readonly pool: Pool; readonly address: InterfaceAddress; readonly gateway: Address };
export type Allocation = { readonly addresses: InterfaceAddress[]; readonly gateways: Address[] };

/** First usable address of a node subnet: the bridge has it, and it is never given to a pod under any wiring. */
export function gatewayOf(subnet: Prefix): Address {
  return nthAddress(subnet, 1n);
}

export class Pools {
  readonly #exclude: readonly Prefix[];
  readonly #attachments: () => readonly Attachment[];
  readonly #pools = new Map<Prefix, Pool>();
  readonly #narrowed = new Map<string, Pool>();
  #current: PerFamily<Prefix> = {};

  /** `attachments`: what the ledger holds, taken over whenever a pool is made. */
  constructor(settings: Settings, attachments: () => readonly Attachment[]) {
    this.#attachments = attachments;
    this.#exclude = settings.addresses.exclude;
  }

  setSubnets(subnets: PerFamily<Prefix>): void {
    this.#current = subnets;
    for (const family of families(subnets)) this.#pool(subnets[family] as Prefix);
  }

  #pool(subnet: Prefix): Pool {
    let pool = this.#pools.get(subnet);
    if (pool === undefined) {
      pool = createPool({ subnet, exclude: this.#exclude, gateway: gatewayOf(subnet) });
      this.#pools.set(subnet, pool);
      this.#adopt(subnet, pool);
    }
    return pool;
  }

  /**
   * One address of each family (or the wanted ones), or one of each range set when there are any; all or none.
   * Throws Fault `cni-config`, `address-taken`, `addresses-exhausted` or `not-ready`.
   */
  allocate(owner: string, wanted: readonly Address[], sets: readonly RangeSet[] = []): Allocation {
    const taken: Taken[] = [];
    try {
      if (sets.length === 0) {
        checkWanted(wanted, familyValues(this.#current));
        for (const family of families(this.#current)) taken.push(this.#allocateIn(family, owner, wanted));
      } else {
        checkWanted(
          wanted,
          sets.flat().map((range) => range.subnet),
        );
        for (const set of sets) taken.push(this.#allocateFrom(set, owner, wanted));
      }
      if (taken.length === 0) throw new Fault('not-ready', 'this node has no subnet yet');
      return { addresses: taken.map((one) => one.address), gateways: taken.map((one) => one.gateway) };
    } catch (error) {
      for (const { pool, address } of taken) giveBack(pool, owner, prefixAddress(address));
      throw error;
    }
  }

  #allocateIn(family: Family, owner: string, wanted: readonly Address[]): Taken {
    const subnet = this.#current[family] as Prefix;
    const pool = this.#pool(subnet);
    const asked = wanted.find((address) => addressFamily(address) === family);
    const address = pool.allocate(owner, asked === undefined ? {} : { wanted: asked });
    return { pool, address: interfaceAddress(address, prefixLength(subnet)), gateway: gatewayOf(subnet) };
  }

  /** The first range of the set that has an address left. The subnet's own pool stays the authority on what is used. */
  #allocateFrom(set: RangeSet, owner: string, wanted: readonly Address[]): Taken {
    let last = new Fault('cni-config', 'a range set is empty');
    for (const { subnet, rangeStart: start, rangeEnd: end, gateway = gatewayOf(subnet) } of set) {
      const asked = wanted.find((address) => contains(subnet, address));
      const range = { ...(start === undefined ? {} : { start }), ...(end === undefined ? {} : { end }) };
      const pool = this.#pool(subnet);
      const narrowed = this.#narrow(pool, { subnet, ranges: [range], exclude: this.#exclude, gateway });
      try {
        const choice = narrowed.allocate(owner, asked === undefined ? {} : { wanted: asked });
        return {
          pool,
          address: interfaceAddress(pool.allocate(owner, { wanted: choice }), prefixLength(subnet)),
          gateway,
        };
      } catch (error) {
        last = toFault(error);
      }
    }
    throw last;
  }

  /** A part of a pool's subnet, with an order of its own; it is told of every release, and asks what others took. */
  #narrow(pool: Pool, options: PoolOptions): Pool {
    const key = JSON.stringify([options.subnet, options.ranges, options.gateway]);
    const narrowed = this.#narrowed.get(key) ?? createPool(options);
    this.#narrowed.set(key, narrowed);
    for (const [holder, address] of pool.list()) narrowed.adopt(holder, address);
    return narrowed;
  }

  #all(): Pool[] {
    return [...this.#pools.values(), ...this.#narrowed.values()];
  }

  #adopt(subnet: Prefix, pool: Pool): void {
    for (const attachment of this.#attachments()) {
      if (attachment.delegatedIpam !== undefined || attachment.wiring === 'chained') continue;
      const id = attachmentId(attachment);
      for (const ip of attachment.addresses.map(prefixAddress)) if (contains(subnet, ip)) pool.adopt(id, ip);
      if (attachment.phase !== 'ready') pool.release(id);
    }
  }

  /** The addresses rest until `settle`. */
  release(owner: string): void {
    for (const pool of this.#all()) pool.release(owner);
  }

  /** The links of these addresses are gone: they may be handed out again. */
  settle(addresses: readonly InterfaceAddress[]): void {
    for (const pool of this.#all()) for (const address of addresses) pool.settle(prefixAddress(address));
  }

  /** Current subnets without a free address. */
  exhausted(): Prefix[] {
    return this.list()
      .filter(({ prefix, pool }) => Object.values(this.#current).includes(prefix) && pool.usage().free === 0)
      .map(({ prefix }) => prefix);
  }

  list(): { prefix: Prefix; pool: Pool }[] {
    return [...this.#pools].map(([prefix, pool]) => ({ prefix, pool }));
  }
}

function giveBack(pool: Pool, owner: string, address: Address): void {
  pool.release(owner);
  pool.settle(address);
}

/** Throws Fault `cni-config` that names every wanted address which none of the subnets holds. */
function checkWanted(wanted: readonly Address[], subnets: readonly Prefix[]): void {
  const foreign = wanted.filter((address) => !subnets.some((subnet) => contains(subnet, address)));
  if (foreign.length === 0) return;
  const where = subnets.join(', ');
  throw new Fault('cni-config', `requested addresses are outside ${where}`, {
    problems: foreign.map((address) => ({ path: 'ips', message: `${address} is outside ${where}` })),
  });
}
