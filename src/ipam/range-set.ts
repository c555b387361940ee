import type { Address } from '#net/address.ts';
import { Fault, type Problem, toFault } from '#model/fault.ts';
import type { Pool } from './pool.ts';

/**
 * A CNI range set (conventions: capability ipRanges): one address for each owner out of whichever member has room,
 * asked in their order. The members' subnets do not overlap.
 */
export function joinPools(members: readonly Pool[]): Pool {
  const holder = (owner: string): Pool | undefined =>
    members.find((pool) => pool.addressOf(owner) !== undefined);
  const homeOf = (address: Address): Pool | undefined =>
    members.find((pool) => pool.networkOf(address) !== undefined);

  const firstWithRoom = (owner: string): Address => {
    const full: Problem[] = [];
    for (const pool of members) {
      try {
        return pool.allocate(owner);
      } catch (error) {
        const fault = toFault(error);
        if (fault.code !== 'addresses-exhausted') throw fault;
        full.push({ path: `ranges[${full.length}]`, message: fault.message });
      }
    }
    const message = `no free address in any of ${members.length} ranges`;
    throw new Fault('addresses-exhausted', message, { problems: full });
  };
  return {
    allocate(owner, { wanted } = {}) {
      const present = holder(owner);
      if (present !== undefined) return present.allocate(owner, wanted === undefined ? {} : { wanted });
      if (wanted === undefined) return firstWithRoom(owner);
      const home = homeOf(wanted);
      if (home === undefined) throw new Fault('address-taken', `${wanted} is in none of the ranges`);
      return home.allocate(owner, { wanted });
    },
    adopt: (owner, address) => homeOf(address)?.adopt(owner, address) ?? false,
    release: (owner) => holder(owner)?.release(owner),
    settle: (address) => homeOf(address)?.settle(address),
    addressOf: (owner) => holder(owner)?.addressOf(owner),
    list: () => new Map(members.flatMap((pool) => [...pool.list()])),
    usage() {
      const total = { capacity: 0, used: 0, quarantined: 0, free: 0 };
      for (const usage of members.map((pool) => pool.usage())) {
        total.capacity += usage.capacity;
        total.used += usage.used;
        total.quarantined += usage.quarantined;
        total.free += usage.free;
      }
      return total;
    },
    networkOf: (address) => homeOf(address)?.networkOf(address),
  };
}
