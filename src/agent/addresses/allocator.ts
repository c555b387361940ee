/** Where pods' addresses come from, whatever way the node has of coming by them. */
import type { PoolUsage } from '#ipam/pool.ts';
import type { RangeSet } from '#cni/ranges.ts';
import type { PodName } from '#model/attachment.ts';
import type { Address } from '#net/address.ts';
import type { PerFamily } from '#net/per-family.ts';
import type { InterfaceAddress, Prefix } from '#net/prefix.ts';

export type AddressRequest = {
  readonly wanted?: readonly Address[];
  /** One address of each set. */
  readonly sets?: readonly RangeSet[];
  /** Names of pools, by family. */
  readonly pools?: PerFamily<readonly string[]>;
  readonly pod?: PodName;
};

export type Allocation = { readonly addresses: InterfaceAddress[]; readonly gateways: Address[] };

export type PrefixUsage = {
  readonly prefix: Prefix;
  readonly usage: PoolUsage;
  /** Of another node's block. */
  readonly borrowed?: boolean;
};

export interface AddressAllocator {
  /** Released by a predecessor, and no attachment is left that settles them. */
  readonly orphans: Iterable<Address>;
  /**
   * One address of each family (or the wanted ones), or one of each range set when there are any; all or none. Nobody else gets
   * them from here on; after a crash they are the owner's only if the ledger says so.
   * Throws Fault `cni-config`, `address-taken`, `addresses-exhausted` or `not-ready`.
   */
  allocate(owner: string, request: AddressRequest): Allocation | Promise<Allocation>;
  /** The owner's addresses rest until `settle`, also over a restart. */
  release(owner: string): void;
  /** The links of these addresses are gone and they have rested: they may be handed out again. */
  settle(addresses: readonly InterfaceAddress[]): void;
  settleOne(address: Address): void;
  /** Why no pod can be given an address now, one sentence each. */
  problems(): string[];
  usages(): PrefixUsage[];
}
