/** The node's own addresses in a tunnel whose one device is for all peers. */
import type { Item } from '#model/host.ts';
import { addressBits, type Family } from '#net/address.ts';
import { families } from '#net/per-family.ts';
import { interfaceAddress, type Prefix, prefixAddress } from '#net/prefix.ts';
import type { Self } from './backend.ts';

/** A subnet's network address: peers know it by the subnet, and no pod gets it. */
export function planInside(self: Self, link: string): Item[] {
  return families(self.subnets).flatMap((family) => planFamily(self, link, family));
}

function planFamily(self: Self, link: string, family: Family): Item[] {
  const address = interfaceAddress(prefixAddress(self.subnets[family] as Prefix), addressBits(family));
  if (family === 6) {
    return [
      { kind: 'address', link, address, nodad: true },
      { kind: 'sysctl', key: `net/ipv6/conf/${link}/accept_ra`, value: '0' },
    ];
  }
  return [
    { kind: 'address', link, address },
    // Loose: while a road changes, a peer's packets may still come by the old one.
    { kind: 'sysctl', key: `net/ipv4/conf/${link}/rp_filter`, value: '2' },
  ];
}
