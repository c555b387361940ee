/** What the roads that a node may take mean together: for its guard, its devices and its MTU. */
import type { RoadFacts } from '#model/facts.ts';
import { OVERHEAD } from '#model/numbers.ts';
import type { Way } from '#model/road.ts';
import type { RoadSpec } from '#model/road-switch.ts';
import { ROAD_NAMES, type RoadName, type Settings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { Family } from '#net/address.ts';
import { families } from '#net/per-family.ts';
import {
  hasBridge,
  type OuterPackets,
  overheadOf,
  type Placed,
  type Self,
  type Unsealed,
} from './backend.ts';
import { backendFor } from './index.ts';

type Taken = Pick<Self, 'settings' | 'ways'>;

/** `able`: roads that this node's kernel has, asked only where there is a choice; undefined: all. */
export function wayFor(
  { type, mode }: RoadSpec,
  settings: Settings,
  able: () => readonly RoadName[] | undefined = () => undefined,
): Way {
  if (type !== 'auto') return { roads: [type], mode };
  return { roads: automaticRoads(settings, able()), mode: 'Always' };
}

/**
 * The cheapest first, by what each takes of a packet: all nodes have them in the same order. Where nothing must be sealed,
 * roads that seal are taken only when they are named.
 */
function automaticRoads(settings: Settings, able: readonly RoadName[] = ROAD_NAMES): RoadName[] {
  const { encrypt, roads } = settings.road.auto;
  const isFit = (road: RoadName): boolean => {
    const { automatic, carrier, seals } = backendFor(road);
    const sealed = seals?.(settings) === true;
    const isAsked = roads === undefined ? automatic === true && sealed === encrypt : roads.includes(road);
    return isAsked && carrier !== undefined && (sealed || !encrypt);
  };
  const cost = (road: RoadName): number => OVERHEAD[road][4] * ROAD_NAMES.length + ROAD_NAMES.indexOf(road);
  return able.filter(isFit).sort((a, b) => cost(a) - cost(b));
}

/** By the first the node sends; all of them it takes packets in by. */
export function waysOf({ ways, settings }: Taken): readonly Way[] {
  return ways ?? [wayFor(settings.road, settings)];
}

export function roadsOf(self: Taken): RoadName[] {
  return [...new Set(waysOf(self).flatMap(({ roads }) => roads))];
}

/** Roads that a peer takes packets in by. */
export function acceptedBy({ road, accepts }: NodeAdvert): readonly RoadName[] {
  return accepts ?? [road];
}

/** Of every road that the node may take; none where packets travel plain. */
export function outerPackets(self: Taken): OuterPackets[] {
  return roadsOf(self).flatMap((road) => backendFor(road).outer?.(self.settings) ?? []);
}

/** UDP ports that tunnels of this node listen on. */
export function tunnelPorts(self: Taken): number[] {
  return outerPackets(self).flatMap(({ port }) => (port === undefined ? [] : [port]));
}

/** What doctor and others' firewalls must know of a road. */
export function describeRoad(road: RoadName, settings: Settings): RoadFacts {
  const { name, title, outer } = backendFor(road);
  const packets = outer?.(settings) ?? [];
  const port = packets.find((each) => each.port !== undefined)?.port;
  return {
    name,
    ...(title === undefined ? {} : { title }),
    protocols: packets.flatMap(({ protocols }) => protocols),
    ...(port === undefined ? {} : { port }),
  };
}

/** Bytes that the roads take from the underlay's MTU, at most: pods outlive roads. */
export function roadOverhead(self: Taken & Placed): number {
  return Math.max(0, ...roadsOf(self).map((road) => overheadOf(backendFor(road), self)));
}

/** Does any packet of a pod travel encapsulated? */
export function encapsulates(self: Taken): boolean {
  return roadsOf(self).some((road) => backendFor(road).title !== undefined);
}

/** Ports of the node's bridge that lead to other nodes' bridges. */
export function segmentPorts(self: Taken & Pick<Self, 'legacyPods'>): string[] {
  if (!hasBridge(self)) return [];
  return roadsOf(self).flatMap((road) => backendFor(road).segmentPort?.(self.settings) ?? []);
}

/** The node's bridge is a part of a segment that spans all nodes. */
export function hasSegment(self: Taken & Pick<Self, 'legacyPods'>): boolean {
  return segmentPorts(self).length > 0;
}

/**
 * Families that the underlay's link must have an address of: those of pods where every road to send by is plain. A tunnel
 * carries both over one, so it asks for none in particular.
 */
export function requiredFamilies(self: Taken): Family[] {
  const [first] = waysOf(self);
  const isPlain = first?.roads.every((road) => backendFor(road).needsOwnFamily === true) === true;
  return isPlain ? families(self.settings.network.subnets) : [];
}

/** What has to be dropped because it is not sealed; empty unless every road seals and is told to be strict. */
export function unsealedPackets(self: Taken): Unsealed[] {
  const strict = waysOf(self).flatMap(({ roads, mode }) =>
    roads.map((road) => (mode === 'Always' ? backendFor(road).strict?.(self.settings) : undefined)),
  );
  return strict.every((each) => each !== undefined) ? strict : [];
}
