/**
 * Whose an address is by the claims on subnets. What the agent of a dead node told of its pods stays in the store; when
 * its subnet is another node's, its pods' labels must not be those of the pods that have these addresses now.
 */
import type { Settings } from '#model/settings.ts';
import type { NodeWorkloads } from '#model/workload.ts';
import type { SubnetClaim } from '#model/world.ts';
import { type Address, addressFamily } from '#net/address.ts';
import { prefixOf } from '#net/prefix.ts';

export type HolderOf = (address: Address) => string | undefined;

/** Claims are of the length that the settings give to subnets; undefined: nobody's. */
export function holdersOf(claims: Iterable<SubnetClaim>, { subnets }: Settings['network']): HolderOf {
  const holders = new Map<string, string>();
  for (const { subnet, node } of claims) holders.set(subnet, node);
  return (address) => {
    const length = subnets[addressFamily(address)]?.length;
    return length === undefined ? undefined : holders.get(prefixOf(address, length));
  };
}

/** Without the addresses that another node holds; the same object where there are none. */
export function withoutStrangers(told: NodeWorkloads, holderOf: HolderOf): NodeWorkloads {
  const isOwn = (address: Address): boolean => (holderOf(address) ?? told.node) === told.node;
  if (told.pods.every(({ addresses }) => addresses.every(isOwn))) return told;
  return { ...told, pods: told.pods.map((pod) => ({ ...pod, addresses: pod.addresses.filter(isOwn) })) };
}
