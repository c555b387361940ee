/** How this node comes by addresses: by a subnet of its own, leased or given by Kubernetes, or by blocks. */
import type { AddressAllocator } from './allocator.ts';
import { Blocks, type BlocksOptions } from './blocks.ts';
import type { AgentParts } from '../parts.ts';
import { NodeCidrs } from './node-cidr.ts';
import { Pools } from './pools.ts';
import { Subnets } from './subnets.ts';
import type { SubnetClaim } from '#model/world.ts';
import type { PerFamily } from '#net/per-family.ts';
import { contains, type Prefix, prefixAddress } from '#net/prefix.ts';
import type { Feed } from '#stores/feed.ts';

/** The node's own place among the addresses. */
export interface NodePlace {
  /** For each family a prefix of which the node has the first address for itself. */
  readonly held: PerFamily<Prefix>;
  /** Of these, what the node has a claim on in the store. */
  readonly claimed: PerFamily<Prefix>;
  /** Why there is none, one sentence each. */
  problems(): string[];
  /** One pass. Answers whether `held` changed. */
  maintain(): Promise<boolean>;
}

export type Addresses = {
  readonly place: NodePlace;
  readonly pools: AddressAllocator;
  readonly blocks: Blocks;
  /** The node still has these subnets, though the store cannot be asked; absent: that would be a guess. */
  readonly resume?: (held: PerFamily<Prefix>) => void;
};

export type AddressesOptions = Pick<BlocksOptions, 'onNode' | 'nudge'> & {
  readonly parts: AgentParts;
  /** Adverts, as the feed has them. */
  readonly nodes: () => Feed;
  /** The Node object of this node in Kubernetes; undefined: there is none. */
  readonly node: () => unknown;
  /** Claims on subnets, as the feed has them. */
  readonly claims: () => Feed;
  /** Subnets that another provider gave. */
  readonly foreign: () => readonly SubnetClaim[];
};

export function openAddresses(options: AddressesOptions): Addresses {
  const { parts, claims, nodes } = options;
  const claimsNow = (): SubnetClaim[] =>
    [...claims().objects.values()].map((object) => object.value as SubnetClaim);
  const namesNow = (): ReadonlySet<string> | undefined =>
    nodes().synced ? new Set(nodes().objects.keys()) : undefined;
  const blocks = new Blocks({ ...options, claims: claimsNow, nodes: namesNow });
  const { place, allocator } = blocks;
  if (place !== undefined && allocator !== undefined) return { place, pools: allocator, blocks };
  if (parts.settings.addresses.type === 'node-cidr') return { ...openNodeCidrs(options), blocks };
  return { ...openSubnets(options, blocks), blocks };
}

function openNodeCidrs({ parts, node }: AddressesOptions): Omit<Addresses, 'blocks'> {
  const { settings, ledger } = parts;
  const pools = new Pools(settings, ledger);
  const onHeld = (held: PerFamily<Prefix>): void => pools.setSubnets(held);
  const place = new NodeCidrs({ ...parts, node, onHeld, inUse: (subnet) => isInUse(ledger, subnet) });
  return { place, pools, resume: onHeld };
}

/** Addresses of attachments are in it. */
function isInUse(ledger: AgentParts['ledger'], subnet: Prefix): boolean {
  return ledger.list().some(({ addresses }) => addresses.some((ip) => contains(subnet, prefixAddress(ip))));
}

function openSubnets(
  { parts, claims, foreign }: AddressesOptions,
  blocks: Blocks,
): Omit<Addresses, 'blocks'> {
  const { settings, ledger } = parts;
  const pools = new Pools(settings, ledger);
  const subnets = new Subnets({
    ...parts,
    claims: () => claims().objects,
    blocks: () =>
      blocks
        .list()
        .map(({ prefix, node }) => ({ subnet: prefix, node: node ?? '', reserved: false }))
        .concat(foreign()),
    inUse: (subnet) => isInUse(ledger, subnet),
    onHeld: (held) => pools.setSubnets(held),
  });
  return { place: subnets, pools };
}
