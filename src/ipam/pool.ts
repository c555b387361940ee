import { type Address, addressFamily, addressFrom, addressValue } from '#net/address.ts';
import { contains, lastAddress, type Prefix, prefixAddress, prefixFamily } from '#net/prefix.ts';
import { Fault, type Problem } from '#model/fault.ts';
import {
  countIntervals,
  type Interval,
  subtractInterval,
  unionIntervals,
  walkIntervals,
} from './interval.ts';

/**
 * Addresses of one subnet for owners on this node. Every address that may be handed out is in exactly one state:
 *
 *     fresh ──allocate──▶ held ──release──▶ resting ──settle──▶ freed ──allocate──▶ held
 *
 * Fresh ones go first, in order and round robin from `after`; then freed ones, longest freed first: a released
 * address is used again as late as possible. Nothing is enumerated, so an IPv6 /64 costs what a /24 does.
 */
export type AddressRange = { readonly start?: Address; readonly end?: Address };

export type PoolOptions = {
  readonly subnet: Prefix;
  /** Parts of the subnet to hand out; absent or empty: all of it. */
  readonly ranges?: readonly AddressRange[];
  /** Never handed out. */
  readonly exclude: readonly Prefix[];
  readonly gateway?: Address;
  /** The address handed out last before a restart: fresh ones are taken from the next one on. */
  readonly after?: Address;
};

/** Counts of addresses. Beyond 2^53 capacity and free are rounded. */
export type PoolUsage = {
  readonly capacity: number;
  readonly used: number;
  /** Released, and not settled yet. */
  readonly quarantined: number;
  readonly free: number;
};

export type Pool = {
  /**
   * The owner's address: the one it holds, else `wanted`, else the next. Throws Fault `address-taken` when `wanted` is
   * not to be had (or the owner holds another), `addresses-exhausted` when nothing is left.
   */
  allocate(owner: string, options?: { readonly wanted?: Address }): Address;
  /**
   * What the ledger says: the owner holds the address, also when the settings would no longer hand it out. False when
   * it is outside the subnet. Throws Fault `address-taken` when another owner holds it.
   */
  adopt(owner: string, address: Address): boolean;
  /** The owner's address rests until `settle`. Undefined when it held none. */
  release(owner: string): Address | undefined;
  /** The released address is gone from the kernel and may be used again. Others are left as they are. */
  settle(address: Address): void;
  addressOf(owner: string): Address | undefined;
  /** Owner to address. */
  list(): ReadonlyMap<string, Address>;
  usage(): PoolUsage;
  /** Subnet and gateway that go with an address of this pool. */
  networkOf(address: Address): { readonly subnet: Prefix; readonly gateway?: Address } | undefined;
};

/** Everything that is wrong with the options, at `path`; `createPool` wants none. */
export function poolProblems(options: PoolOptions, path: string): Problem[] {
  const { subnet, gateway } = options;
  const problems: Problem[] = [];
  const check = (at: string, address: Address | undefined): void => {
    if (address === undefined || contains(subnet, address)) return;
    problems.push({ path: at, message: `${address} is outside ${subnet}` });
  };
  check(`${path}.gateway`, gateway);
  for (const [index, { start, end }] of (options.ranges ?? []).entries()) {
    const at = `${path}.ranges[${index}]`;
    check(`${at}.start`, start);
    check(`${at}.end`, end);
    if (start === undefined || end === undefined || addressFamily(start) !== addressFamily(end)) continue;
    if (addressValue(start) > addressValue(end))
      problems.push({ path: at, message: `${start} is after ${end}` });
  }
  if (problems.length === 0 && countIntervals(usableIntervals(options)) === 0n) {
    problems.push({ path, message: `${subnet} leaves no address for pods` });
  }
  return problems;
}

/** What may be handed out: the ranges without network address, IPv4 broadcast, gateway and exclusions. */
function usableIntervals({ subnet, ranges = [], exclude, gateway }: PoolOptions): Interval[] {
  const network = addressValue(prefixAddress(subnet));
  const last = addressValue(lastAddress(subnet));
  // The first address is IPv4's network address and IPv6's subnet-router anycast (RFC 4291 section 2.6.1).
  const whole = { from: network + 1n, to: prefixFamily(subnet) === 4 ? last - 1n : last };
  const wanted = (ranges.length === 0 ? [{}] : ranges).map(({ start, end }: AddressRange) => ({
    from: maximum(whole.from, start === undefined ? whole.from : addressValue(start)),
    to: minimum(whole.to, end === undefined ? whole.to : addressValue(end)),
  }));
  let usable = unionIntervals(wanted);
  if (gateway !== undefined) {
    usable = subtractInterval(usable, { from: addressValue(gateway), to: addressValue(gateway) });
  }
  for (const prefix of exclude.filter((item) => prefixFamily(item) === prefixFamily(subnet))) {
    const hole = { from: addressValue(prefixAddress(prefix)), to: addressValue(lastAddress(prefix)) };
    usable = subtractInterval(usable, hole);
  }
  return usable;
}

export function createPool(options: PoolOptions): Pool {
  return new AddressPool(options);
}

class AddressPool implements Pool {
  readonly #options: PoolOptions;
  readonly #usable: readonly Interval[];
  readonly #capacity: bigint;
  readonly #fresh: Iterator<bigint, undefined>;
  readonly #owners = new Map<string, Address>();
  readonly #held = new Map<Address, string>();
  readonly #resting = new Set<Address>();
  readonly #freed = new Set<Address>();

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#usable = usableIntervals(options);
    this.#capacity = countIntervals(this.#usable);
    const { after } = options;
    this.#fresh = walkIntervals(this.#usable, after === undefined ? undefined : addressValue(after) + 1n);
  }
  allocate(owner: string, { wanted }: { readonly wanted?: Address } = {}): Address {
    const present = this.#owners.get(owner);
    if (present === undefined) {
      return this.#take(owner, wanted === undefined ? this.#next() : this.#checkWanted(wanted));
    }
    if (wanted === undefined || wanted === present) return present;
    throw new Fault('address-taken', `${owner} holds ${present} and cannot have ${wanted} too`);
  }
  adopt(owner: string, address: Address): boolean {
    if (!contains(this.#options.subnet, address)) return false;
    const holder = this.#held.get(address) ?? owner;
    const present = this.#owners.get(owner) ?? address;
    if (holder !== owner) throw new Fault('address-taken', `${address} is held by ${holder}`);
    if (present !== address) throw new Fault('address-taken', `${owner} holds ${present} already`);
    this.#resting.delete(address);
    this.#take(owner, address);
    return true;
  }
  release(owner: string): Address | undefined {
    const address = this.#owners.get(owner);
    if (address === undefined) return undefined;
    this.#owners.delete(owner);
    this.#held.delete(address);
    this.#resting.add(address);
    return address;
  }
  settle(address: Address): void {
    if (this.#resting.delete(address) && this.#isUsable(address)) this.#freed.add(address);
  }
  addressOf(owner: string): Address | undefined {
    return this.#owners.get(owner);
  }
  list(): ReadonlyMap<string, Address> {
    return new Map(this.#owners);
  }
  usage(): PoolUsage {
    const inUse = [...this.#held.keys(), ...this.#resting].filter((item) => this.#isUsable(item)).length;
    return {
      capacity: Number(this.#capacity),
      used: this.#held.size,
      quarantined: this.#resting.size,
      free: Number(this.#capacity - BigInt(inUse)),
    };
  }
  networkOf(address: Address): { readonly subnet: Prefix; readonly gateway?: Address } | undefined {
    const { subnet, gateway } = this.#options;
    if (!contains(subnet, address)) return undefined;
    return gateway === undefined ? { subnet } : { subnet, gateway };
  }

  #take(owner: string, address: Address): Address {
    this.#freed.delete(address);
    this.#held.set(address, owner);
    this.#owners.set(owner, address);
    return address;
  }
  #next(): Address {
    const address = this.#nextFresh() ?? this.#freed.values().next().value;
    if (address === undefined) throw exhausted(this.#options.subnet, this.usage());
    return address;
  }
  #nextFresh(): Address | undefined {
    const family = prefixFamily(this.#options.subnet);
    for (let step = this.#fresh.next(); step.done !== true; step = this.#fresh.next()) {
      const address = addressFrom(family, step.value);
      const used = this.#held.has(address) || this.#resting.has(address) || this.#freed.has(address);
      if (!used) return address;
    }
    return undefined;
  }
  #isUsable(address: Address): boolean {
    if (!contains(this.#options.subnet, address)) return false;
    const value = addressValue(address);
    return this.#usable.some(({ from, to }) => from <= value && value <= to);
  }
  #checkWanted(wanted: Address): Address {
    const holder = this.#held.get(wanted);
    if (holder !== undefined) throw new Fault('address-taken', `${wanted} is held by ${holder}`);
    if (this.#resting.has(wanted)) {
      throw new Fault('address-taken', `${wanted} was released and its link is not gone yet`);
    }
    if (this.#isUsable(wanted)) return wanted;
    throw new Fault('address-taken', `${wanted} is not handed out from ${this.#options.subnet}`);
  }
}

function exhausted(subnet: Prefix, { capacity, used, quarantined }: PoolUsage): Fault {
  const rest = quarantined === 0 ? '' : `, ${quarantined} released but with a link that is not gone yet`;
  return new Fault(
    'addresses-exhausted',
    `no free address in ${subnet}: of ${capacity} usable ones ${used} are held${rest}`,
  );
}

function minimum(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function maximum(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
