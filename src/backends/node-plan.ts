/**
 * The whole plan of a node, in two parts: what it needs whoever the peers are, and what each peer adds. Both are plain
 * functions of their arguments, so a plan may be cached by the identity of `self` and the advert.
 */
import { given } from '#lib/given.ts';
import type { Item } from '#model/host.ts';
import type { Leg, Unreachable } from '#model/leg.ts';
import type { Problem } from '#model/fault.ts';
import { MAIN_TABLE, METRIC, MIN_IPV6_MTU, PORT_RULE } from '#model/numbers.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { Address, Family } from '#net/address.ts';
import type { Mac } from '#net/mac.ts';
import { families, perFamily } from '#net/per-family.ts';
import {
  interfaceAddress,
  nthAddress,
  prefix,
  type Prefix,
  prefixAddress,
  prefixLength,
} from '#net/prefix.ts';
import { bridgeMac, hasBridge, type Self, takesBlocks, tunnelFamily } from './backend.ts';
import { chooseForPeer, type Lane } from './choose.ts';
import { directRoute } from './host-gw.ts';
import { backendFor } from './index.ts';
import { planAddress } from './inside.ts';
import { bridgeRules, inetRules } from './rules.ts';
import {
  encapsulates,
  hasSegment,
  outerPackets,
  requiredFamilies,
  roadOverhead,
  roadsOf,
  waysOf,
} from './ways.ts';

const EVERYTHING = { 4: prefix('0.0.0.0/0'), 6: prefix('::/0') } as const;

export type PeerPlan = {
  readonly items: readonly Item[];
  readonly legs: readonly Leg[];
  readonly unreachable: readonly Unreachable[];
  /** Why the peer is not reached by this or that way, though it is by another. */
  readonly missing: readonly string[];
};

/** Everything apart from peers: sysctls, tables, own subnets, bridge, tunnel device. */
export function planNode(self: Self): Item[] {
  return [
    ...families(self.subnets).flatMap((family) => planFamily(self, family)),
    { kind: 'nft-table', family: 'inet', body: inetRules(self) },
    ...(hasBridge(self) ? planBridge(self) : []),
    ...planLoose(self),
    ...roadsOf(self).flatMap((road) => backendFor(road).planNode?.(self) ?? []),
  ];
}

/** While there are several ways, a peer's packets may come by another one than ours go: strict filters would drop them. */
function planLoose({ underlay, subnets, ways = [] }: Self): Item[] {
  if (ways.length < 2 || subnets[4] === undefined) return [];
  return [sysctl(`net/ipv4/conf/${underlay.link}/rp_filter`, '2')];
}

/** What one peer adds, and what of it cannot be reached. */
export function planPeer(self: Self, node: NodeAdvert): PeerPlan {
  const { lanes, legs, unreachable, missing } = chooseForPeer(self, node);
  const roads = Map.groupBy(lanes, ({ road }) => road);
  const items = [
    ...(lanes.length === 0 ? [] : peerElement(self, node)),
    ...[...roads].flatMap(([road, own]) => backendFor(road).planPeer?.(self, node, legsOf(own)) ?? []),
    ...lanes.flatMap((lane) => planLane(self, lane)),
  ];
  return { items, legs, unreachable, missing };
}

/** One for each prefix: two ways may take the same road. */
function legsOf(lanes: readonly Lane[]): Leg[] {
  return [...new Map(lanes.map(({ leg }) => [leg.prefix, leg])).values()];
}

function planLane(self: Self, { road, leg, sends }: Lane): Item[] {
  const backend = backendFor(road);
  if (leg.carrier === 'direct') return sends ? [directRoute(self, leg)] : [];
  return [...(backend.prepareLeg?.(self, leg) ?? []), ...((sends && backend.planLeg?.(self, leg)) || [])];
}

/** The peer may encapsulate although we reach it directly, so it is admitted whatever its lanes. */
function peerElement(self: Self, node: NodeAdvert): Item[] {
  const outer = tunnelFamily(self);
  const remote = node.addresses[outer];
  if (remote === undefined || outerPackets(self).length === 0) return [];
  return [{ kind: 'nft-element', set: `peers${outer}`, key: [remote] }];
}

/** What this node tells the others. */
export function advertOf(self: Self, ready: boolean): NodeAdvert {
  return {
    name: self.name,
    addresses: self.underlay.announced,
    subnets: self.subnets,
    ...(takesBlocks(self) ? { addressing: 'blocks' as const } : {}),
    inside: perFamily((family) => insideAddress(self, family)),
    road: waysOf(self)[0]?.roads[0] ?? 'alloc',
    accepts: roadsOf(self),
    connected: self.underlay.connected,
    ...tellNode(self),
    ...Object.assign({}, ...roadsOf(self).map((road) => backendFor(road).advertise?.(self))),
    mtu: self.underlay.mtu,
    ready,
  };
}

function tellNode({ settings: { node, routing } }: Self): Partial<NodeAdvert> {
  return {
    ...(routing.enabled ? { routing: routing.node } : {}),
    ...given('labels', node.labels),
    ...given('annotations', node.annotations),
  };
}

/** The bridge's address or the tunnel's; with routed wiring and no tunnel the node has none there. */
function insideAddress(self: Self, family: Family): Address | undefined {
  const subnet = self.subnets[family];
  if (subnet === undefined) return undefined;
  if (hasBridge(self)) return nthAddress(subnet, 1n);
  return encapsulates(self) ? prefixAddress(subnet) : undefined;
}

/**
 * MTU of pods in bytes: the configured one, else what the road leaves; on a bridge not more than those have that are there.
 * Pods outlive roads, so the mode CrossSubnet adds nothing.
 */
export function podMtu(self: Self): number {
  return self.settings.wiring.type === 'bridge' ? bridgeMtu(self) : roadMtu(self);
}

function roadMtu(self: Self): number {
  return self.settings.wiring.mtu ?? self.underlay.mtu - roadOverhead(self);
}

function bridgeMtu(self: Self): number {
  return Math.min(roadMtu(self), self.bridgeMtu ?? Infinity);
}

/** What of the settings does not fit the host as it is; empty when all does. */
export function checkRoad(self: Self): Problem[] {
  const problems: Problem[] = [];
  const { settings, underlay, subnets } = self;
  for (const family of requiredFamilies(self)) {
    const { [family]: announced } = underlay.announced;
    if (announced === undefined || announced === underlay.local[family]) continue;
    const message = `a plain road needs an address of the host itself, and ${announced} is not on ${underlay.link}`;
    problems.push({ path: `underlay.publicAddress.ipv${family}`, message });
  }
  const room = underlay.mtu - roadOverhead(self);
  if (settings.wiring.mtu !== undefined && settings.wiring.mtu > room) {
    const message = `pods may send ${settings.wiring.mtu} bytes, the road carries ${room}`;
    problems.push({ path: 'wiring.mtu', message });
  }
  if (subnets[6] !== undefined && podMtu(self) < MIN_IPV6_MTU) {
    const message = `pods would have MTU ${podMtu(self)}, IPv6 needs ${MIN_IPV6_MTU}`;
    problems.push({ path: underlay.link, message });
  }
  return problems;
}

function planFamily(self: Self, family: Family): Item[] {
  const subnet = self.subnets[family] as Prefix;
  const key = family === 4 ? 'net/ipv4/ip_forward' : 'net/ipv6/conf/all/forwarding';
  const forwarding: Item = { kind: 'sysctl', key, value: '1' };
  if (!self.settings.blackhole) return [forwarding];
  return [forwarding, ...planBlackholes([subnet])];
}

/** Packets to what is routed to this node and that no pod has end here. */
export function planBlackholes(prefixes: readonly Prefix[]): Item[] {
  return prefixes.map((prefix) => ({
    kind: 'route',
    type: 'blackhole',
    prefix,
    table: MAIN_TABLE,
    metric: METRIC.blackhole,
  }));
}

function planBridge(self: Self): Item[] {
  const { name, hairpin } = self.settings.wiring.bridge;
  return [
    {
      kind: 'link',
      type: 'bridge',
      name,
      mtu: bridgeMtu(self),
      mac: ownBridgeMac(self),
      promiscuous: hairpin === 'promiscuous-bridge',
    },
    ...families(self.subnets).flatMap((family) => bridgeFamily(self, family)),
    ...families(self.subnets).flatMap((family) => answerForPods(self, family)),
    { kind: 'nft-table', family: 'bridge', body: bridgeRules(self, ownBridgeMac(self)) },
  ];
}

/** On a segment the other nodes know it by the node's name. */
function ownBridgeMac(self: Self): Mac {
  const own = bridgeMac(self.name);
  return hasSegment(self) ? own : (self.adopted?.bridgeMac ?? own);
}

/** The gateway is the first address of the subnet. */
function bridgeFamily(self: Self, family: Family): Item[] {
  const subnet = self.subnets[family] as Prefix;
  const link = self.settings.wiring.bridge.name;
  const address = interfaceAddress(nthAddress(subnet, 1n), prefixLength(subnet));
  // A connection to 127.0.0.1:hostPort leaves by the bridge with a loopback source until it is masqueraded.
  return planAddress(link, address, { route_localnet: '1' });
}

/**
 * The bridge answers at once for pods that ARP and neighbour discovery do not reach: all of them where its ports are
 * isolated, and routed pods of its subnet. What it takes in for a pod of isolated ports goes to the port itself.
 */
function answerForPods({ settings, legacyPods }: Self, family: Family): Item[] {
  const { wiring, policy } = settings;
  const bridge = wiring.bridge.name;
  if (!policy.enforce && legacyPods !== true) return [];
  return [
    sysctl(`net/ipv${family}/neigh/${bridge}/proxy_delay`, '0'),
    ...(family === 6 ? [sysctl(`net/ipv6/conf/${bridge}/proxy_ndp`)] : []),
    ...(policy.enforce
      ? [{ kind: 'rule', from: EVERYTHING[family], iif: bridge, ...PORT_RULE } as const]
      : []),
  ];
}

function sysctl(key: string, value = '1'): Item {
  return { kind: 'sysctl', key, value };
}
