/** A road between nodes as a description: what the host must look like for it. Backends never act. */
import type { Item } from '#model/host.ts';
import type { Leg } from '#model/leg.ts';
import { OVERHEAD } from '#model/numbers.ts';
import type { RoadName, Settings } from '#model/settings.ts';
import type { UnderlayChoice } from '#model/underlay.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { Family } from '#net/address.ts';
import type { PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';

/** What a plan may depend on of the node itself. */
export type Self = {
  readonly name: string;
  readonly subnets: PerFamily<Prefix>;
  readonly underlay: UnderlayChoice;
  readonly settings: Settings;
  /** Pods made under the other wiring still live here: they keep it, and the bridge stays or has been made beside them. */
  readonly legacyPods?: boolean;
  /** Public key of this node; only where the road is wireguard. */
  readonly wireguardKey?: string;
};

export interface NetworkBackend {
  readonly name: RoadName;
  /** What other nodes must know of this one, besides its addresses. */
  advertise(self: Self): Pick<NodeAdvert, 'vxlan' | 'wireguard'>;
  /** Devices and addresses that the road needs whoever the peers are. */
  planNode(self: Self): Item[];
  /** What one leg needs; the plan of a node is planNode and planLeg of each leg, cached by identity. */
  planLeg(self: Self, leg: Leg): Item[];
  /** What the peer needs once, however many its legs. */
  planPeer?(self: Self, node: NodeAdvert, legs: readonly Leg[]): Item[];
}

/** Roads that encapsulate, as people call them. */
export const TUNNELS = {
  vxlan: 'VXLAN',
  ipip: 'IP in IP',
  gre: 'GRE',
  wireguard: 'WireGuard',
} as const satisfies Partial<Record<RoadName, string>>;
export type TunnelName = keyof typeof TUNNELS;

export function isTunnel(road: RoadName): road is TunnelName {
  return Object.hasOwn(TUNNELS, road);
}

/** Family of the outer packets of tunnels: IPv4 where the node has it. */
export function tunnelFamily(self: Self): Family {
  return self.underlay.local[4] === undefined ? 6 : 4;
}

/** Bytes that the road takes from the underlay's MTU. */
export function roadOverhead(self: Self): number {
  return OVERHEAD[self.settings.road.type][tunnelFamily(self)];
}

/** Pods of the node are ports of a bridge, some or all of them. */
export function hasBridge({ settings, legacyPods }: Self): boolean {
  return settings.wiring.type === 'bridge' || legacyPods === true;
}
