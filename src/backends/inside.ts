/** The node's own addresses in a tunnel whose one device is for all peers. */
import type { Item } from '#model/host.ts';
import { addressBits, type Family } from '#net/address.ts';
import { families } from '#net/per-family.ts';
import {
  type InterfaceAddress,
  interfaceAddress,
  type Prefix,
  prefixAddress,
  prefixFamily,
} from '#net/prefix.ts';
import type { Self } from './backend.ts';

/** A subnet's network address: peers know it by the subnet, and no pod gets it. */
export function planInside(self: Self, link: string): Item[] {
  return families(self.subnets).flatMap((family) => planFamily(self, link, family));
}

function planFamily(self: Self, link: string, family: Family): Item[] {
  const address = interfaceAddress(prefixAddress(self.subnets[family] as Prefix), addressBits(family));
  // Loose: while a road changes, a peer's packets may still come by the old one.
  return planAddress(link, address, { rp_filter: '2' });
}

/** On a device of ours, with the sysctls that it wants for IPv4. Nobody else has the address, and no router there is listened to. */
export function planAddress(
  link: string,
  address: InterfaceAddress,
  ipv4: Readonly<Record<string, string>>,
): Item[] {
  const family = prefixFamily(address);
  const sysctls = family === 6 ? { accept_ra: '0' } : ipv4;
  return [
    { kind: 'address', link, address, ...(family === 6 ? { nodad: true } : {}) },
    ...Object.entries(sysctls).map(([name, value]): Item => {
      return { kind: 'sysctl', key: `net/ipv${family}/conf/${link}/${name}`, value };
    }),
  ];
}
