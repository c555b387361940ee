/**
 * VXLAN (RFC 7348) with the kernel's device. Nothing is learned from the wire: each peer has a permanent neighbour
 * (its tunnel address → its MAC), a forwarding entry (that MAC → its underlay address) and a route. One device carries
 * both inner families; docs/decisions/0001-one-vxlan-device.md says why.
 */
import { fnv1a64 } from '#lib/hash.ts';
import type { Item, VxlanLink } from '#model/host.ts';
import type { Leg } from '#model/leg.ts';
import { MAIN_TABLE, METRIC, TRIAL_LINK } from '#model/numbers.ts';
import type { Address, Family } from '#net/address.ts';
import { isUnicastMac, localMac, type Mac } from '#net/mac.ts';
import type { Settings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import { mapFamilies } from '#net/per-family.ts';
import { prefixAddress } from '#net/prefix.ts';
import { deviceMtu, type NetworkBackend, type Self, tunnelFamily } from './backend.ts';
import { planInside } from './inside.ts';
import { ofPort } from './outer.ts';

/** Device name; at most 15 characters for any 24-bit VNI. */
export function vxlanDevice(vni: number): string {
  return `tartan.${vni}`;
}

/** The same for a node and VNI for ever, so that peers' entries outlive a recreated device. */
export function vtepMac(node: string, vni: number): Mac {
  return localMac(fnv1a64(`vtep ${node} ${vni}`));
}

/** Compared with that of every peer. */
const own = new WeakMap<Self, Mac>();

function ownMac(self: Self): Mac {
  const mac = own.get(self) ?? self.adopted?.vtepMac ?? vtepMac(self.name, self.settings.road.vxlan.vni);
  own.set(self, mac);
  return mac;
}

export const vxlan: NetworkBackend = {
  name: 'vxlan',
  title: 'VXLAN',
  carrier: 'vxlan',
  automatic: true,
  advertise(self) {
    const { vni, port } = self.settings.road.vxlan;
    return { vxlan: { vni, port, mac: mapFamilies(self.subnets, () => ownMac(self)) } };
  },
  mismatch,
  far: vtepOf,
  // Other VNIs of the port are others': 24 bits after UDP's 8 bytes and VXLAN's flags.
  outer: ({ road }: Settings) => [ofPort(road.vxlan.port, ` @th,96,24 ${road.vxlan.vni}`)],
  // Another VNI than any in use: a kernel has each once.
  trial: (self) => [{ ...deviceOf(self), name: TRIAL_LINK, vni: 0xff_ffff }],
  planNode(self) {
    return [
      deviceOf(self),
      ...heedPathMtu(self),
      ...planInside(self, vxlanDevice(self.settings.road.vxlan.vni)),
    ];
  },
  prepareLeg(self, leg) {
    const [link, mac] = [vxlanDevice(self.settings.road.vxlan.vni), leg.mac as Mac];
    return [
      { kind: 'neighbor', link, address: prefixAddress(leg.prefix), mac },
      { kind: 'fdb', link, mac, remote: leg.remote },
    ];
  },
  planLeg: (self, leg) => [routeOf(self, leg)],
};

/** Nodes that differ do not reach each other by it. */
const HOW = ': change it on all while another road carries (tartan switch)';

function mismatch({ settings }: Self, node: NodeAdvert): string | undefined {
  const mine = settings.road.vxlan;
  if (node.vxlan === undefined) return `${node.name} does not tell its VXLAN parameters`;
  const { vni, port } = node.vxlan;
  if (vni !== mine.vni) return `${node.name} has VNI ${vni}, this node ${mine.vni}${HOW}`;
  if (port !== mine.port) return `${node.name} has VXLAN port ${port}, this node ${mine.port}${HOW}`;
  return undefined;
}

/** The peer's VTEP, or what is wrong with it. */
function vtepOf(self: Self, node: NodeAdvert, family: Family): { readonly mac: Mac } | string {
  const mac = node.vxlan?.mac[family];
  if (mac === undefined || !isUnicastMac(mac))
    return `${node.name} tells no usable VTEP MAC for IPv${family}`;
  if (mac === ownMac(self)) return `${node.name} claims this node’s VTEP MAC ${mac}`;
  return { mac };
}

function deviceOf(self: Self): VxlanLink {
  const { vni, port, learning, gbp, txChecksumOffload } = self.settings.road.vxlan;
  const own = { vni, port, learning, gbp, mac: ownMac(self) };
  return vxlanLink(self, vxlan, { ...own, ...(txChecksumOffload ? {} : { txChecksumOffload: false }) });
}

/** A device over the underlay, for this road or another one with VXLAN's header. */
export function vxlanLink(
  self: Self,
  road: NetworkBackend,
  own: Omit<VxlanLink, 'kind' | 'type' | 'name' | 'local' | 'parent' | 'mtu'>,
): VxlanLink {
  return {
    kind: 'link',
    type: 'vxlan',
    name: vxlanDevice(own.vni),
    // The address the host has, never the announced one: behind NAT the latter is no source for packets.
    local: self.underlay.local[tunnelFamily(self)] as Address,
    parent: self.underlay.link,
    mtu: deviceMtu(road, self),
    ...own,
  };
}

/**
 * Over IPv6 nobody splits a packet on its way. That a router passes less is noted at the route to the pod, which forwarding
 * of IPv4 does not look at unless it is told to (Documentation/networking/ip-sysctl.rst, ip_forward_use_pmtu).
 */
function heedPathMtu(self: Self): Item[] {
  if (tunnelFamily(self) === 4 || self.subnets[4] === undefined) return [];
  return [{ kind: 'sysctl', key: 'net/ipv4/ip_forward_use_pmtu', value: '1' }];
}

function routeOf(self: Self, leg: Leg): Item {
  return {
    kind: 'route',
    type: 'unicast',
    prefix: leg.prefix,
    table: MAIN_TABLE,
    metric: METRIC.peer,
    link: vxlanDevice(self.settings.road.vxlan.vni),
    via: prefixAddress(leg.prefix),
    onlink: true,
    ...(leg.mtu < deviceMtu(vxlan, self) ? { mtu: leg.mtu } : {}),
  };
}
