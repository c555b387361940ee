/**
 * Whose an address is by the claims on subnets. What the agent of a dead node told of its pods stays in the store; when
 * its subnet is another node's, its pods' labels must not be those of the pods that have these addresses now.
 */
import type { Settings } from '#model/settings.ts';
import type { NodeWorkloads, Workload } from '#model/workload.ts';
import type { SubnetClaim } from '#model/world.ts';
import { type Address, addressFamily } from '#net/address.ts';
import { type Prefix, prefixOf } from '#net/prefix.ts';

export type Holders = ReadonlyMap<Prefix, string>;

/** Subnet → node. */
export function holdersOf(claims: Iterable<SubnetClaim>): Holders {
  return new Map(Array.from(claims, ({ subnet, node }) => [subnet, node]));
}

/** What nodes tell of their pods, and what of that is believed. */
export class Tellers {
  /** Claims are of the length that these give to subnets. */
  readonly #subnets: Settings['network']['subnets'];
  readonly #onBelieved: (node: string, workloads: NodeWorkloads | undefined) => void;
  readonly #told = new Map<string, NodeWorkloads>();
  readonly #believed = new Map<string, NodeWorkloads>();
  #holders: Holders = new Map();
  /** Found to have no other node's addresses: each node tells of all its pods when one has changed. */
  #owned = new WeakSet<Workload>();

  constructor(
    { subnets }: Settings['network'],
    onBelieved: (node: string, workloads: NodeWorkloads | undefined) => void,
  ) {
    this.#subnets = subnets;
    this.#onBelieved = onBelieved;
  }

  tell(node: string, workloads: NodeWorkloads | undefined): void {
    if (workloads === undefined) this.#told.delete(node);
    else this.#told.set(node, workloads);
    this.#believe(node, workloads);
  }

  /** Answers whether they are others than before. */
  setHolders(holders: Holders): boolean {
    if (isSame(this.#holders, holders)) return false;
    this.#holders = holders;
    this.#owned = new WeakSet();
    for (const [node, told] of this.#told) this.#believe(node, told);
    return true;
  }

  #believe(node: string, told: NodeWorkloads | undefined): void {
    const believed = told && this.#withoutStrangers(told);
    if (believed !== undefined && this.#believed.get(node) === believed) return;
    if (believed === undefined) this.#believed.delete(node);
    else this.#believed.set(node, believed);
    this.#onBelieved(node, believed);
  }

  /** Without the addresses that another node holds; the same object where there are none. */
  #withoutStrangers(told: NodeWorkloads): NodeWorkloads {
    const isOwn = (address: Address): boolean => (this.#holderOf(address) ?? told.node) === told.node;
    const isOwned = (pod: Workload): boolean => {
      if (this.#owned.has(pod)) return true;
      if (!pod.addresses.every(isOwn)) return false;
      this.#owned.add(pod);
      return true;
    };
    if (told.pods.every(isOwned)) return told;
    return { ...told, pods: told.pods.map((pod) => ({ ...pod, addresses: pod.addresses.filter(isOwn) })) };
  }

  /** Undefined: nobody's. */
  #holderOf(address: Address): string | undefined {
    const length = this.#subnets[addressFamily(address)]?.length;
    return length === undefined ? undefined : this.#holders.get(prefixOf(address, length));
  }
}

function isSame(a: Holders, b: Holders): boolean {
  return a.size === b.size && [...a].every(([subnet, node]) => b.get(subnet) === node);
}
