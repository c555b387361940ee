/** The addresses that are a node's own for policies. */
import type { Underlay } from '#model/underlay.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { Address } from '#net/address.ts';
import { familyValues } from '#net/per-family.ts';
import { prefixAddress } from '#net/prefix.ts';

/** All that this host has: what it sends to a pod may have any of them as its source. */
export function hostAddresses({ links }: Underlay): Address[] {
  const held = links.flatMap((link) => link.addresses.map(({ address }) => prefixAddress(address)));
  return [...new Set(held)].sort();
}

/** What another node says of itself. */
export function advertAddresses({ addresses, inside = {} }: NodeAdvert): Address[] {
  return [...familyValues(addresses), ...familyValues(inside)];
}
