/**
 * Which road leads to which peer, and why; or why none does. Each peer is judged by itself, so one node's change costs
 * one peer's work. A peer whose advert cannot be used is told of, never silently left out.
 */
import type { Leg, Unreachable } from '#model/leg.ts';
import { METRIC, MIN_IPV6_MTU } from '#model/numbers.ts';
import type { NodeAdvert, World } from '#model/world.ts';
import { FAMILIES, type Family } from '#net/address.ts';
import { isUnicastMac, type Mac } from '#net/mac.ts';
import { familyValues } from '#net/per-family.ts';
import { overlaps, type Prefix } from '#net/prefix.ts';
import { isTunnel, roadOverhead, type Self, tunnelFamily, type TunnelName, TUNNELS } from './backend.ts';
import { connectedPrefix } from './interface.ts';
import { vtepMac } from './vxlan.ts';
import { keyMismatch } from './wireguard.ts';

export type Choice = { readonly legs: readonly Leg[]; readonly unreachable: readonly Unreachable[] };

/** Everything between this node and one peer. A peer equal to self has no legs. */
export function chooseForPeer(self: Self, node: NodeAdvert): Choice {
  if (node.name === self.name || self.settings.road.type === 'alloc') return { legs: [], unreachable: [] };
  const why = roadMismatch(self, node);
  if (why !== undefined) return { legs: [], unreachable: [{ peer: node.name, why }] };
  const legs: Leg[] = [];
  const unreachable: Unreachable[] = [];
  for (const family of FAMILIES) {
    const outcome = chooseFamily(self, node, family);
    const prefix = node.subnets[family];
    if (typeof outcome === 'object') legs.push(outcome);
    else if (outcome !== undefined) {
      unreachable.push({ peer: node.name, ...(prefix === undefined ? {} : { prefix }), why: outcome });
    }
  }
  return { legs, unreachable };
}

/** What stands between the nodes whatever the family. */
function roadMismatch(self: Self, node: NodeAdvert): string | undefined {
  const mine = self.settings.road;
  if (node.road !== mine.type) return `${node.name} uses the road ${node.road}, this node ${mine.type}`;
  if (mine.type === 'wireguard') return keyMismatch(self, node);
  if (mine.type !== 'vxlan') return undefined;
  if (node.vxlan === undefined) return `${node.name} does not tell its VXLAN parameters`;
  const { vni, port } = node.vxlan;
  if (vni !== mine.vxlan.vni) return `${node.name} has VNI ${vni}, this node ${mine.vxlan.vni}`;
  if (port !== mine.vxlan.port) return `${node.name} has VXLAN port ${port}, this node ${mine.vxlan.port}`;
  return undefined;
}

/** The leg, or why there is none; undefined when neither node uses the family. */
function chooseFamily(self: Self, node: NodeAdvert, family: Family): Leg | string | undefined {
  const prefix = node.subnets[family];
  if (prefix === undefined) {
    return self.subnets[family] === undefined ? undefined : `${node.name} has no IPv${family} subnet`;
  }
  if (self.subnets[family] === undefined) return `this node has no IPv${family} subnet`;
  const own = familyValues(self.subnets).find((each) => overlaps(each, prefix));
  if (own !== undefined) return `${node.name} claims ${prefix}, which overlaps this node’s own ${own}`;
  const leg = directLeg(self, node, prefix, family);
  if (typeof leg === 'string' && isTunnel(self.settings.road.type)) {
    return tunnelLeg(self, node, prefix, family);
  }
  return leg;
}

function directLeg(self: Self, node: NodeAdvert, prefix: Prefix, family: Family): Leg | string {
  const { type, mode } = self.settings.road;
  if (isTunnel(type) && mode === 'Always') return 'everything is encapsulated';
  const remote = node.addresses[family];
  if (remote === undefined) return `${node.name} announces no IPv${family} address`;
  if (remote === self.underlay.local[family] || remote === self.underlay.announced[family])
    return `${node.name} announces this node’s own address ${remote}`;
  const shared = connectedPrefix(self.underlay, remote);
  if (shared === undefined)
    return `${remote} is not on a prefix of ${self.underlay.link}: a router is between`;
  const mtu = Math.min(self.underlay.mtu, node.mtu);
  if (family === 6 && mtu < MIN_IPV6_MTU) return tooNarrow(mtu);
  const why = `${remote} is on ${shared} of ${self.underlay.link}`;
  return { peer: node.name, prefix, carrier: 'direct', remote, metric: METRIC.peer, mtu, why };
}

function tunnelLeg(self: Self, node: NodeAdvert, prefix: Prefix, family: Family): Leg | string {
  const outer = tunnelFamily(self);
  const remote = node.addresses[outer];
  if (remote === undefined) return `${node.name} announces no IPv${outer} address for the tunnel`;
  if (remote === self.underlay.local[outer] || remote === self.underlay.announced[outer])
    return `${node.name} announces this node’s own address ${remote}`;
  const mtu = Math.min(self.underlay.mtu, node.mtu) - roadOverhead(self);
  if (family === 6 && mtu < MIN_IPV6_MTU) return tooNarrow(mtu);
  const carrier = self.settings.road.type as TunnelName;
  const mac = carrier === 'vxlan' ? vtepOf(self, node, family) : undefined;
  if (typeof mac === 'string') return mac;
  const why = `${TUNNELS[carrier]} over IPv${outer}`;
  return { peer: node.name, prefix, carrier, remote, ...mac, metric: METRIC.peer, mtu, why };
}

/** The peer's VTEP, or what is wrong with it. */
function vtepOf(self: Self, node: NodeAdvert, family: Family): { readonly mac: Mac } | string {
  const mac = node.vxlan?.mac[family];
  if (mac === undefined || !isUnicastMac(mac))
    return `${node.name} tells no usable VTEP MAC for IPv${family}`;
  if (mac === vtepMac(self.name, self.settings.road.vxlan.vni))
    return `${node.name} claims this node’s VTEP MAC ${mac}`;
  return { mac };
}

function tooNarrow(mtu: number): string {
  return `the road leaves ${mtu} bytes, IPv6 needs ${MIN_IPV6_MTU}`;
}

/**
 * Legs to all peers, in the order of their names. Where two peers claim overlapping prefixes or one MAC, the first by
 * name keeps it and the other is unreachable: which one wins does not depend on the order of events.
 */
export function chooseLegs(self: Self, world: World): Choice {
  const legs: Leg[] = [];
  const unreachable: Unreachable[] = [];
  const claims = new Claims();
  for (const name of [...world.nodes.keys()].sort()) {
    const node = world.nodes.get(name);
    if (node === undefined) continue;
    const choice = chooseForPeer(self, node);
    unreachable.push(...choice.unreachable);
    for (const leg of choice.legs) {
      const why = claims.refuse(leg);
      if (why === undefined) legs.push(leg);
      else unreachable.push({ peer: leg.peer, prefix: leg.prefix, why });
    }
  }
  return { legs, unreachable };
}

/** Who holds which prefix and MAC. Prefixes are compared by text: allocation makes equal lengths, so overlap is equality. */
class Claims {
  readonly #holders = new Map<string, string>();

  /** Why the leg cannot be, or undefined and it is noted. */
  refuse(leg: Leg): string | undefined {
    const keys = leg.mac === undefined ? [leg.prefix] : [leg.prefix, leg.mac];
    for (const key of keys) {
      const holder = this.#holders.get(key);
      if (holder !== undefined && holder !== leg.peer) return `${holder} already has ${key}`;
    }
    for (const key of keys) this.#holders.set(key, leg.peer);
    return undefined;
  }
}
