/** The state of the whole cluster as one object, which the leading controller keeps up to date. */
import type { Prefix } from '#net/prefix.ts';

export type ClusterStatus = {
  /** Identity of the controller that wrote it. */
  readonly controller: string;
  readonly version: string;
  readonly nodes: {
    readonly total: number;
    readonly ready: number;
    /** Names, the first fifty of them. */
    readonly notReady: readonly string[];
    /** Taken for gone: what they had is being taken back. */
    readonly leaving: readonly string[];
  };
  /** How many nodes have each. */
  readonly versions: Readonly<Record<string, number>>;
  readonly roads: Readonly<Record<string, number>>;
  /** Subnets that two nodes want, one sentence each, the first fifty. */
  readonly conflicts: readonly string[];
  /** Of node subnets, one for each family in use. */
  readonly subnets: readonly { readonly range: Prefix; readonly total: number; readonly taken: number }[];
  /** Of blocks; none where no node takes any. */
  readonly pools: readonly PoolUse[];
  /** Why the controller removes nothing at the moment. */
  readonly braked?: string;
  /** Of how many nodes it would remove something. */
  readonly gone?: number;
  /** An operator's word that so many are gone; the leader takes it away. */
  readonly believed?: number;
};

export type PoolUse = {
  readonly name: string;
  readonly prefix: Prefix;
  readonly blocks: number;
  /** Blocks that could be cut from it still. */
  readonly freeBlocks: number;
  readonly addresses: { readonly held: number; readonly free: number };
};

/** Name of the one object there is. */
export const CLUSTER_STATUS = 'cluster';
