/**
 * VXLAN (RFC 7348) with the kernel's device. Nothing is learned from the wire: each peer has a permanent neighbour
 * (its tunnel address → its MAC), a forwarding entry (that MAC → its underlay address) and a route. One device carries
 * both inner families; docs/decisions/0001-one-vxlan-device.md says why.
 */
import { fnv1a64 } from '#lib/hash.ts';
import type { Item } from '#model/host.ts';
import type { Leg } from '#model/leg.ts';
import { MAIN_TABLE, METRIC } from '#model/numbers.ts';
import type { Address, Family } from '#net/address.ts';
import { addressBits } from '#net/address.ts';
import { localMac, type Mac } from '#net/mac.ts';
import { families, mapFamilies } from '#net/per-family.ts';
import { interfaceAddress, prefixAddress } from '#net/prefix.ts';
import { type NetworkBackend, roadOverhead, type Self, tunnelFamily } from './backend.ts';
import { directRoute } from './host-gw.ts';

/** Device name; at most 15 characters for any 24-bit VNI. */
export function vxlanDevice(vni: number): string {
  return `tartan.${vni}`;
}

/** The same for a node and VNI for ever, so that peers' entries outlive a recreated device. */
export function vtepMac(node: string, vni: number): Mac {
  return localMac(fnv1a64(`vtep ${node} ${vni}`));
}

/** MTU of the tunnel device. */
export function vxlanMtu(self: Self): number {
  return self.underlay.mtu - roadOverhead(self);
}

export const vxlan: NetworkBackend = {
  name: 'vxlan',
  advertise(self) {
    const { vni, port } = self.settings.road.vxlan;
    return { vxlan: { vni, port, mac: mapFamilies(self.subnets, () => vtepMac(self.name, vni)) } };
  },
  planNode(self) {
    return [deviceOf(self), ...families(self.subnets).flatMap((family) => planFamily(self, family))];
  },
  planLeg(self, leg) {
    return leg.carrier === 'direct' ? [directRoute(self, leg)] : tunnelItems(self, leg);
  },
};

function deviceOf(self: Self): Item {
  const { vni, port, learning, gbp, txChecksumOffload } = self.settings.road.vxlan;
  return {
    kind: 'link',
    type: 'vxlan',
    name: vxlanDevice(vni),
    vni,
    port,
    // The address the host has, never the announced one: behind NAT the latter is no source for packets.
    local: self.underlay.local[tunnelFamily(self)] as Address,
    parent: self.underlay.link,
    learning,
    gbp,
    mtu: vxlanMtu(self),
    mac: vtepMac(self.name, vni),
    ...(txChecksumOffload ? {} : { txChecksumOffload: false }),
  };
}

/** The tunnel address is the subnet's network address: peers know it from the subnet, and no pod gets it. */
function planFamily(self: Self, family: Family): Item[] {
  const subnet = self.subnets[family];
  if (subnet === undefined) return [];
  const link = vxlanDevice(self.settings.road.vxlan.vni);
  const address = interfaceAddress(prefixAddress(subnet), addressBits(family));
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

function tunnelItems(self: Self, leg: Leg): Item[] {
  const link = vxlanDevice(self.settings.road.vxlan.vni);
  const via = prefixAddress(leg.prefix);
  const mac = leg.mac as Mac;
  return [
    { kind: 'neighbor', link, address: via, mac },
    { kind: 'fdb', link, mac, remote: leg.remote },
    {
      kind: 'route',
      type: 'unicast',
      prefix: leg.prefix,
      table: MAIN_TABLE,
      metric: METRIC.peer,
      link,
      via,
      onlink: true,
      ...(leg.mtu < vxlanMtu(self) ? { mtu: leg.mtu } : {}),
    },
  ];
}
