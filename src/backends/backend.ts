/** A road between nodes as a description: what the host must look like for it. Backends never act. */
import type { Item } from '#model/host.ts';
import type { Leg } from '#model/leg.ts';
import type { RoadName, Settings } from '#model/settings.ts';
import type { UnderlayChoice } from '#model/underlay.ts';
import type { NodeAdvert } from '#model/world.ts';
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
};

export interface NetworkBackend {
  readonly name: RoadName;
  /** Bytes that the road takes from the underlay's MTU. */
  overhead(self: Self): number;
  /** What other nodes must know of this one, besides its addresses. */
  advertise(self: Self): Pick<NodeAdvert, 'vxlan'>;
  /** Devices and addresses that the road needs whoever the peers are. */
  planNode(self: Self): Item[];
  /** What one leg needs; the plan of a node is planNode and planLeg of each leg, cached by identity. */
  planLeg(self: Self, leg: Leg): Item[];
}

/** Pods of the node are ports of a bridge, some or all of them. */
export function hasBridge({ settings, legacyPods }: Self): boolean {
  return settings.wiring.type === 'bridge' || legacyPods === true;
}
