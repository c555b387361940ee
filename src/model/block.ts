/**
 * Addresses as blocks: who may hand out which address, as the store keeps it. One object for each block is the whole truth
 * between nodes; which pod has an address is between the node that holds it and its own ledger.
 */
import type { Prefix } from '#net/prefix.ts';
import type { Selector } from './policy.ts';
import type { PoolMode } from './road.ts';

/**
 * Addresses are numbers, counted from the first of the block, which is its node's own (its end of tunnels) and in no list. Lists
 * are text such as `1-16,20`: the order counts. Every other number is in exactly one list.
 */
export type Block = {
  readonly prefix: Prefix;
  /** To whom it is routed as a whole; absent: its node is gone, others hold addresses still. */
  readonly node?: string;
  /** Held by nobody, the next to be taken first and what was given back last. */
  readonly free: string;
  readonly holders: Readonly<Record<string, Holding>>;
};

export type Holding = {
  readonly numbers: string;
  /** Grows with every start of the node's agent: a sign of life, and what makes an older reader's write fail. */
  readonly term: number;
};

/** Name of the object of which a cluster has one. */
export const BLOCK_LENGTHS = 'cluster';

/** Of blocks, in bits, by the prefix of their pool. What stands here once stays. */
export type BlockLengths = { readonly pools: Readonly<Record<string, number>> };

/** What blocks are cut from. */
export type BlockPool = {
  readonly name: string;
  readonly prefix: Prefix;
  /** Of its blocks, in bits, unless another was decided before (BlockLengths). */
  readonly blockLength: number;
  /** No: nothing new is taken; what is in use stays. */
  readonly enabled: boolean;
  /** No: only for pods that name it. */
  readonly automatic: boolean;
  readonly nodes: Selector;
  readonly namespaces: Selector;
  /** What its addresses are for: pods, and nodes' ends of tunnels. */
  readonly uses: { readonly pods: boolean; readonly nodes: boolean };
  /** When packets to its addresses are encapsulated; absent: as the settings of the road say. */
  readonly mode?: PoolMode['mode'];
  /** Its blocks are told to BGP peers. */
  readonly exported: boolean;
};
