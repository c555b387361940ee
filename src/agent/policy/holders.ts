/**
 * Whose an address is by blocks and by claims on subnets. What the agent of a dead node told of its pods stays in the store; when
 * its block or subnet is another node's, its pods' labels must not be those of the pods that have these addresses now.
 */
import { blockLengths } from '#ipam/blocks/block.ts';
import type { NodeWorkloads, Workload } from '#model/workload.ts';
import type { SubnetClaim } from '#model/world.ts';
import { type Address, addressFamily, type Family } from '#net/address.ts';
import { type Prefix, prefixAddress, prefixFamily, prefixLength, prefixOf } from '#net/prefix.ts';

export type Holders = ReadonlyMap<Prefix, string>;

/** Subnet → node. */
export function holdersOf(claims: Iterable<SubnetClaim>): Holders {
  return new Map(Array.from(claims, ({ subnet, node }) => [subnet, node]));
}

export type TellersOptions = {
  /** The node that a block leads to with the address; undefined: there is no such block. */
  readonly routedTo: (address: Address) => string | undefined;
  readonly onBelieved: (node: string, workloads: NodeWorkloads | undefined) => void;
};

/** What nodes tell of their pods, and what of that is believed. */
export class Tellers {
  readonly #options: TellersOptions;
  readonly #told = new Map<string, NodeWorkloads>();
  readonly #believed = new Map<string, NodeWorkloads>();
  /** Node → where its pods' addresses are, as wide as a block may be; as far as a block has asked since they were told. */
  readonly #near = new Map<string, ReadonlySet<Prefix>>();
  #holders: Holders = new Map();
  /** Of claims: mostly one, and those that Kubernetes gives may have another than the settings. */
  #lengths = lengthsOf([]);

  constructor(options: TellersOptions) {
    this.#options = options;
  }

  tell(node: string, workloads: NodeWorkloads | undefined): void {
    if (workloads === undefined) this.#told.delete(node);
    else this.#told.set(node, workloads);
    this.#near.delete(node);
    // Each node tells of all its pods when one has changed: the others are the objects that were believed.
    this.#believe(node, workloads, new Set(this.#believed.get(node)?.pods));
  }

  /** The block leads elsewhere now, as a whole or with some addresses. Answers whether something else is believed. */
  setBlock(block: Prefix): boolean {
    const around = aroundAddress(prefixAddress(block));
    const nodes = [...this.#told].filter(([node, told]) => this.#nearOf(node, told).has(around));
    return nodes.map(([node, told]) => this.#believe(node, told)).includes(true);
  }

  #nearOf(node: string, { pods }: NodeWorkloads): ReadonlySet<Prefix> {
    const near =
      this.#near.get(node) ?? new Set(pods.flatMap(({ addresses }) => addresses.map(aroundAddress)));
    this.#near.set(node, near);
    return near;
  }

  /** Answers whether they are others than before. */
  setHolders(holders: Holders): boolean {
    if (isSame(this.#holders, holders)) return false;
    this.#holders = holders;
    this.#lengths = lengthsOf(holders.keys());
    for (const [node, told] of this.#told) this.#believe(node, told);
    return true;
  }

  /** `owned`: found to have no other node's addresses, by those who hold them now. */
  #believe(node: string, told: NodeWorkloads | undefined, owned: ReadonlySet<Workload> = NOBODY): boolean {
    const believed = told && this.#withoutStrangers(told, owned);
    if (believed !== undefined && this.#believed.get(node) === believed) return false;
    if (believed === undefined) this.#believed.delete(node);
    else this.#believed.set(node, believed);
    this.#options.onBelieved(node, believed);
    return true;
  }

  /** Without the addresses that another node holds; the same object where there are none. */
  #withoutStrangers(told: NodeWorkloads, owned: ReadonlySet<Workload>): NodeWorkloads {
    const isOwn = (address: Address): boolean => (this.#holderOf(address) ?? told.node) === told.node;
    const isOwned = (pod: Workload): boolean => owned.has(pod) || pod.addresses.every(isOwn);
    if (told.pods.every(isOwned)) return told;
    return { ...told, pods: told.pods.map((pod) => ({ ...pod, addresses: pod.addresses.filter(isOwn) })) };
  }

  /** Undefined: nobody's. */
  #holderOf(address: Address): string | undefined {
    return this.#options.routedTo(address) ?? this.#claimantOf(address);
  }

  #claimantOf(address: Address): string | undefined {
    for (const length of this.#lengths[addressFamily(address)]) {
      const holder = this.#holders.get(prefixOf(address, length));
      if (holder !== undefined) return holder;
    }
    return undefined;
  }
}

const NOBODY: ReadonlySet<Workload> = new Set();

/** The longest first. */
function lengthsOf(subnets: Iterable<Prefix>): Readonly<Record<Family, readonly number[]>> {
  const all = [...subnets];
  const of = (family: Family): number[] => {
    const lengths = all.filter((subnet) => prefixFamily(subnet) === family).map(prefixLength);
    return [...new Set(lengths)].sort((a, b) => b - a);
  };
  return { 4: of(4), 6: of(6) };
}

function aroundAddress(address: Address): Prefix {
  return prefixOf(address, blockLengths(addressFamily(address)).min);
}

function isSame(a: Holders, b: Holders): boolean {
  return a.size === b.size && [...a].every(([subnet, node]) => b.get(subnet) === node);
}
