/**
 * The address pools of this node: one per family and subnet, filled from the ledger at start. The ledger also keeps what
 * attachments do not tell: which address of a pool came last, so that a restart does not begin again with those released
 * a moment ago, and which addresses rest although their attachment is forgotten.
 */
import type { AddressAllocator, AddressRequest, Allocation, PrefixUsage } from './allocator.ts';
import { type AddressLedger, allocatedIn, Resting } from './resting.ts';
import type { RangeSet } from '#cni/ranges.ts';
import { createPool, type Pool, type PoolOptions } from '#ipam/pool.ts';
import { attachmentId } from '#model/attachment.ts';
import { Fault, toFault } from '#model/fault.ts';
import type { Settings } from '#model/settings.ts';
import { type Address, type Family, addressFamily, parseAddress } from '#net/address.ts';
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

/** First usable address of a node subnet: the bridge has it, and it is never given to a pod under any wiring. */
export function gatewayOf(subnet: Prefix): Address {
  return nthAddress(subnet, 1n);
}

/** Name in the ledger. */
const LAST = 'last-address ';

export class Pools implements AddressAllocator {
  readonly #exclude: readonly Prefix[];
  readonly #ledger: AddressLedger;
  readonly #resting: Resting;
  readonly #pools = new Map<Prefix, Pool>();
  readonly #narrowed = new Map<string, Pool>();
  #current: PerFamily<Prefix> = {};

  /** What the ledger holds is taken over whenever a pool is made; what it holds now may be gone by then. */
  constructor(settings: Settings, ledger: AddressLedger) {
    this.#exclude = settings.addresses.exclude;
    this.#ledger = ledger;
    this.#resting = new Resting(ledger, settings.addresses.quarantineSeconds);
  }
  get orphans(): Iterable<Address> {
    return this.#resting.orphans;
  }

  setSubnets(subnets: PerFamily<Prefix>): void {
    this.#current = subnets;
    for (const family of families(subnets)) this.#pool(subnets[family] as Prefix);
  }

  #pool(subnet: Prefix): Pool {
    let pool = this.#pools.get(subnet);
    if (pool === undefined) {
      const gateway = gatewayOf(subnet);
      pool = createPool({ subnet, exclude: this.#exclude, gateway, ...this.#after(subnet) });
      this.#pools.set(subnet, pool);
      this.#adopt(subnet, pool);
    }
    return pool;
  }

  allocate(owner: string, { wanted = [], sets = [], pools = {} }: AddressRequest): Allocation {
    refusePools(pools);
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
      for (const { address } of taken) this.#giveBack(owner, prefixAddress(address));
      throw error;
    }
  }

  #allocateIn(family: Family, owner: string, wanted: readonly Address[]): Taken {
    const subnet = this.#current[family] as Prefix;
    const pool = this.#pool(subnet);
    const asked = wanted.find((address) => addressFamily(address) === family);
    const address = this.#choose(pool, { name: subnet, owner, asked });
    return { pool, address: interfaceAddress(address, prefixLength(subnet)), gateway: gatewayOf(subnet) };
  }

  /** The first range of the set that has an address left. The subnet's own pool stays the authority on what is used. */
  #allocateFrom(set: RangeSet, owner: string, wanted: readonly Address[]): Taken {
    let last: Fault | undefined;
    for (const { subnet, rangeStart: start, rangeEnd: end, gateway = gatewayOf(subnet) } of set) {
      const asked = wanted.find((address) => contains(subnet, address));
      const range = { ...(start === undefined ? {} : { start }), ...(end === undefined ? {} : { end }) };
      const pool = this.#pool(subnet);
      const options = { subnet, ranges: [range], exclude: this.#exclude, gateway };
      const name = JSON.stringify([subnet, [range], gateway]);
      const narrowed = this.#narrow(pool, name, options);
      try {
        const choice = this.#choose(narrowed, { name, owner, asked });
        return {
          pool,
          address: interfaceAddress(pool.allocate(owner, { wanted: choice }), prefixLength(subnet)),
          gateway,
        };
      } catch (error) {
        last = toFault(error);
      }
    }
    throw last ?? new Fault('cni-config', 'a range set is empty');
  }

  /** The asked address or the next one, which the ledger knows as the last once it knows whose it is. */
  #choose(pool: Pool, want: { name: string; owner: string; asked: Address | undefined }): Address {
    const { name, owner, asked } = want;
    const before = pool.addressOf(owner);
    const address = pool.allocate(owner, asked === undefined ? {} : { wanted: asked });
    if (asked === undefined && before === undefined) this.#ledger.noteMeta(`${LAST}${name}`, address);
    return address;
  }

  #after(name: string): { readonly after?: Address } {
    const after = parseAddress(this.#ledger.getMeta(`${LAST}${name}`) ?? '');
    return after === undefined ? {} : { after };
  }

  /** A part of a pool's subnet, with an order of its own; it is told of every release, and asks what others took. */
  #narrow(pool: Pool, name: string, options: PoolOptions): Pool {
    let narrowed = this.#narrowed.get(name);
    if (narrowed === undefined) {
      narrowed = createPool({ ...options, ...this.#after(name) });
      this.#narrowed.set(name, narrowed);
      this.#rest(options.subnet, narrowed);
    }
    for (const [holder, address] of pool.list())
      if (narrowed.addressOf(holder) !== address) narrowed.adopt(holder, address);
    return narrowed;
  }

  #all(): Pool[] {
    return [...this.#pools.values(), ...this.#narrowed.values()];
  }

  #adopt(subnet: Prefix, pool: Pool): void {
    this.#rest(subnet, pool);
    for (const attachment of allocatedIn(this.#ledger)) {
      const id = attachmentId(attachment);
      for (const ip of attachment.addresses.map(prefixAddress)) if (contains(subnet, ip)) pool.adopt(id, ip);
      if (attachment.phase !== 'ready') pool.release(id);
    }
  }

  /** What rests does so in a new pool too. */
  #rest(subnet: Prefix, pool: Pool): void {
    for (const ip of this.#resting) {
      if (!contains(subnet, ip)) continue;
      pool.adopt('resting', ip);
      pool.release('resting');
    }
  }

  release(owner: string): void {
    for (const pool of this.#all()) {
      const ip = pool.release(owner);
      if (ip !== undefined) this.#resting.add(ip);
    }
  }

  settle(addresses: readonly InterfaceAddress[]): void {
    for (const address of addresses) this.settleOne(prefixAddress(address));
  }

  settleOne(ip: Address): void {
    for (const pool of this.#all()) pool.settle(ip);
    this.#resting.delete(ip);
  }

  /** Of an allocation that did not succeed as a whole: nobody has seen the address. */
  #giveBack(owner: string, ip: Address): void {
    for (const pool of this.#all()) {
      if (pool.addressOf(owner) !== ip) continue;
      pool.release(owner);
      pool.settle(ip);
    }
  }

  problems(): string[] {
    return this.usages()
      .filter(({ prefix, usage }) => Object.values(this.#current).includes(prefix) && usage.free === 0)
      .map(({ prefix }) => `every address of ${prefix} is in use`);
  }

  usages(): PrefixUsage[] {
    return [...this.#pools].map(([prefix, pool]) => ({ prefix, usage: pool.usage() }));
  }
}

/** Only blocks are of pools. */
function refusePools(pools: PerFamily<readonly string[]>): void {
  if (families(pools).length === 0) return;
  throw new Fault('cni-config', 'pools are refused: this node takes its addresses from its subnet', {
    problems: [{ path: 'ipam', message: 'the node’s settings say addresses.type: subnet' }],
  });
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
