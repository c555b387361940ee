/**
 * Which road leads to which peer, and why; or why none does. Each peer is judged by itself, so one node's change costs
 * one peer's work. A peer whose advert cannot be used is told of, never silently left out.
 */
import type { Leg, Unreachable } from '#model/leg.ts';
import { METRIC, MIN_IPV6_MTU } from '#model/numbers.ts';
import type { PoolMode, Way } from '#model/road.ts';
import type { RoadName } from '#model/settings.ts';
import type { NodeAdvert, World } from '#model/world.ts';
import { type Address, FAMILIES, type Family } from '#net/address.ts';
import { familyValues } from '#net/per-family.ts';
import { contains, overlaps, type Prefix, prefixFamily } from '#net/prefix.ts';
import { type NetworkBackend, overheadOf, type Self, takesBlocks, tunnelFamily } from './backend.ts';
import { backendFor } from './index.ts';
import { connectedPrefix } from './interface.ts';
import { acceptedBy, waysOf } from './ways.ts';

export type Choice = { readonly legs: readonly Leg[]; readonly unreachable: readonly Unreachable[] };

/** One road for one prefix of the peer. The node sends by it, or only takes in what the peer sends by it. */
export type Lane = { readonly road: RoadName; readonly leg: Leg; readonly sends: boolean };
/** `legs` are those of the lanes that send. `missing`: why there is no lane by this or that way. */
export type PeerChoice = Choice & { readonly lanes: readonly Lane[]; readonly missing: readonly string[] };

/** Everything between this node and one peer. A peer equal to self has no legs. */
export function chooseForPeer(self: Self, node: NodeAdvert): PeerChoice {
  const lanes: Lane[] = [];
  const unreachable: Unreachable[] = [];
  const missing = new Set<string>();
  const { ways, refusals } = node.name === self.name ? NO_WAYS : openWays(self, node);
  if (ways.length === 0 && refusals.length > 0)
    unreachable.push({ peer: node.name, why: refusals.join('; ') });
  for (const family of ways.length === 0 ? [] : FAMILIES) {
    for (const prefix of prefixesOf(node, family)) {
      const outcome = chooseLanes({ self, node, family, refusals, missing }, ways, prefix);
      if (typeof outcome !== 'string') lanes.push(...outcome);
      else unreachable.push({ peer: node.name, ...(prefix === undefined ? {} : { prefix }), why: outcome });
    }
  }
  const legs = lanes.filter(({ sends }) => sends).map(({ leg }) => leg);
  return { lanes, legs, unreachable, missing: [...missing] };
}

/** What is routed to the node; one undefined where there is nothing. */
function prefixesOf({ subnets, blocks = [] }: NodeAdvert, family: Family): (Prefix | undefined)[] {
  const own = blocks.filter((prefix) => prefixFamily(prefix) === family);
  return own.length === 0 ? [subnets[family]] : [...new Set([subnets[family] ?? own[0], ...own])];
}

type OpenWays = { readonly ways: readonly Way[]; readonly refusals: readonly string[] };
const NO_WAYS: OpenWays = { ways: [], refusals: [] };

/** The ways as far as both nodes can take them, whatever the family, and why not the rest. */
function openWays(self: Self, node: NodeAdvert): OpenWays {
  const refusals: string[] = [];
  const isOpen = (road: RoadName): boolean => {
    const why = refusal(self, node, road);
    if (why !== undefined) refusals.push(why);
    return why === undefined;
  };
  const all = waysOf(self);
  const ways = all.map((way): Way => {
    const roads = way.roads.filter(isOpen);
    return roads.length === way.roads.length ? way : { ...way, roads };
  });
  const isAny = ways.some(({ roads }) => roads.length > 0);
  if (all.some(({ roads }) => roads.length === 0))
    refusals.push('auto finds no road that this node can take');
  return { ways: isAny ? ways : [], refusals: refusals.length === 0 ? refusals : [...new Set(refusals)] };
}

function refusal(self: Self, node: NodeAdvert, road: RoadName): string | undefined {
  const { carrier, mismatch } = backendFor(road);
  if (carrier === undefined) return undefined;
  const accepted = acceptedBy(node);
  if (!accepted.includes(road))
    return `${node.name} uses the road ${accepted.join(' or ')}, this node ${road}`;
  return mismatch?.(self, node);
}

type Scene = {
  readonly self: Self;
  readonly node: NodeAdvert;
  readonly family: Family;
  /** Why roads are out of the question, whatever the family. */
  readonly refusals: readonly string[];
  /** Collects why a way has no lane. */
  readonly missing: Set<string>;
};

/** Lanes of all ways, or why there is none; nothing when neither node uses the family. */
function chooseLanes(scene: Scene, ways: readonly Way[], prefix: Prefix | undefined): Lane[] | string {
  const { self, node, family } = scene;
  if (ways.every(isOfOthers)) return [];
  if (prefix === undefined)
    return self.subnets[family] === undefined ? [] : `${node.name} has no IPv${family} subnet`;
  if (self.subnets[family] === undefined) return `this node has no IPv${family} subnet`;
  const own = overlapping(self, node, prefix);
  if (own !== undefined) return `${node.name} claims ${prefix}, which overlaps this node’s own ${own}`;
  const outcomes = ways.map((way) => takeWay(scene, way, prefix));
  const sending = outcomes.findIndex((outcome) => typeof outcome !== 'string');
  const whys = outcomes.filter((outcome) => typeof outcome === 'string');
  if (sending === -1)
    return [...new Set([...scene.refusals, ...whys])].filter((why) => why !== '').join('; ');
  for (const why of whys) scene.missing.add(why === '' ? scene.refusals.join('; ') : why);
  const lanes = outcomes.flatMap((outcome, index) =>
    typeof outcome === 'object' ? [{ ...outcome, sends: index === sending }] : [],
  );
  // While there are several, what fits one must fit all: a packet may take the old road here and the new one there.
  const mtu = Math.min(...lanes.map(({ leg }) => leg.mtu));
  return lanes.map((lane) => (lane.leg.mtu === mtu ? lane : { ...lane, leg: { ...lane.leg, mtu } }));
}

/** Blocks are apart by themselves, and hold addresses that other nodes have borrowed. */
function overlapping(self: Self, node: NodeAdvert, prefix: Prefix): Prefix | undefined {
  const areApart = takesBlocks(self) && node.addressing === 'blocks';
  return areApart ? undefined : familyValues(self.subnets).find((each) => overlaps(each, prefix));
}

/** Others carry the packets: there are no legs, and nobody is unreachable. */
function isOfOthers({ roads }: Way): boolean {
  return roads.length > 0 && roads.every((road) => backendFor(road).carrier === undefined);
}

/**
 * The first road of the way that leads there, or why none does, which is nothing new where it has none left; undefined
 * where others carry the packets.
 */
function takeWay(scene: Scene, way: Way, prefix: Prefix): Omit<Lane, 'sends'> | string | undefined {
  const passed: string[] = [];
  for (const road of way.roads) {
    const backend = backendFor(road);
    if (backend.carrier === undefined) return undefined;
    const leg = legOf(scene, { backend, mode: modeOf(scene.self, { backend, way }, prefix) }, prefix);
    if (typeof leg === 'object') {
      const why = [leg.why, ...passed.map((reason) => `not ${reason}`)].join('; ');
      return { road, leg: passed.length === 0 ? leg : { ...leg, why } };
    }
    passed.push(way.roads.length === 1 ? leg : `${road}: ${leg}`);
  }
  return passed.join('; ');
}

/** The pool's own mode stands before the way's; but it does not make plain what is told to be sealed. */
function modeOf(
  { poolModes = [], settings }: Self,
  by: { backend: NetworkBackend; way: Way },
  prefix: Prefix,
): PoolMode['mode'] {
  const pool = poolModes.find((each) => contains(each.prefix, prefix));
  return pool === undefined || by.backend.strict?.(settings) !== undefined ? by.way.mode : pool.mode;
}

type Taken = { readonly backend: NetworkBackend; readonly mode: PoolMode['mode'] };

function legOf(scene: Scene, { backend, mode }: Taken, prefix: Prefix): Leg | string {
  const isPlain = backend.title === undefined;
  const direct = isPlain || mode !== 'Always' ? plainLeg(scene, backend, prefix) : '';
  return isPlain || mode === 'Never' || typeof direct === 'object'
    ? direct
    : tunnelLeg(scene, backend, prefix);
}

function plainLeg(scene: Scene, { isLearned, title }: NetworkBackend, prefix: Prefix): Leg | string {
  if (isLearned !== true) return directLeg(scene, prefix);
  const near = directLeg(scene, prefix);
  if (title !== undefined && typeof near === 'string') return near;
  const leg = typeof near === 'string' ? routedLeg(scene, prefix) : near;
  return typeof leg === 'string' ? leg : { ...leg, carrier: 'bgp' };
}

/** By way of routers, which have to know. */
function routedLeg(scene: Scene, prefix: Prefix): Leg | string {
  const { self, node, family } = scene;
  const remote = remoteOf(scene, family);
  if (typeof remote === 'object') return remote.why;
  const mtu = Math.min(self.underlay.mtu, node.mtu);
  if (family === 6 && mtu < MIN_IPV6_MTU) return tooNarrow(mtu);
  const why = `${remote} is behind a router`;
  return { peer: node.name, prefix, carrier: 'direct', remote, metric: METRIC.learned, mtu, why };
}

/** The peer's address, or why it is none. */
function remoteOf({ self, node }: Scene, family: Family): Address | { readonly why: string } {
  const remote = node.addresses[family];
  if (remote === undefined) return { why: `${node.name} announces no IPv${family} address` };
  const isOwn = remote === self.underlay.local[family] || remote === self.underlay.announced[family];
  return isOwn ? { why: `${node.name} announces this node’s own address ${remote}` } : remote;
}

/** Both nodes must see each other near, so that they come to the same answer. */
function directLeg(scene: Scene, prefix: Prefix): Leg | string {
  const { self, node, family } = scene;
  const remote = remoteOf(scene, family);
  if (typeof remote === 'object') return remote.why;
  const shared = connectedPrefix(self.underlay, remote);
  if (shared === undefined)
    return `${remote} is not on a prefix of ${self.underlay.link}: a router is between`;
  const own = self.underlay.announced[family];
  if (own !== undefined && node.connected !== undefined && connectedPrefix(node, own) === undefined)
    return `${own} is not on a prefix of ${node.name}: a router is between`;
  const mtu = Math.min(self.underlay.mtu, node.mtu);
  if (family === 6 && mtu < MIN_IPV6_MTU) return tooNarrow(mtu);
  const why = `${remote} is on ${shared} of ${self.underlay.link}`;
  return { peer: node.name, prefix, carrier: 'direct', remote, metric: METRIC.peer, mtu, why };
}

function tunnelLeg({ self, node, family }: Scene, backend: NetworkBackend, prefix: Prefix): Leg | string {
  const outer = tunnelFamily(self);
  const remote = node.addresses[outer];
  if (remote === undefined) return `${node.name} announces no IPv${outer} address for the tunnel`;
  if (remote === self.underlay.local[outer] || remote === self.underlay.announced[outer])
    return `${node.name} announces this node’s own address ${remote}`;
  const mtu = Math.min(self.underlay.mtu, node.mtu) - overheadOf(backend, self);
  if (family === 6 && mtu < MIN_IPV6_MTU) return tooNarrow(mtu);
  const far = backend.far?.(self, node, family) ?? {};
  if (typeof far === 'string') return far;
  const why = `${backend.title} over IPv${outer}`;
  const carrier = backend.carrier as Leg['carrier'];
  return { peer: node.name, prefix, carrier, remote, metric: METRIC.peer, mtu, why, ...far };
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
