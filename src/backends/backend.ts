/**
 * A road between nodes as a description: what the host must look like for it. Backends never act. A road is one file with
 * one NetworkBackend and a line in ./index.ts; nothing else asks for a road by name.
 *
 * A node sends to a peer by one road and may take packets in by several, for as long as the cluster changes from one to
 * another. What sending alone needs is planLeg; all else stands for every road that the two nodes may use.
 */
import { fnv1a64 } from '#lib/hash.ts';
import type { Item } from '#model/host.ts';
import type { IpsecSelf } from '#model/ipsec.ts';
import type { Leg } from '#model/leg.ts';
import { OVERHEAD } from '#model/numbers.ts';
import type { PoolMode, Way } from '#model/road.ts';
import type { RoadName, Settings } from '#model/settings.ts';
import type { UnderlayChoice } from '#model/underlay.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { Family } from '#net/address.ts';
import { localMac, type Mac } from '#net/mac.ts';
import type { PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';

/** By which peers know the node's VXLAN device, and pods its bridge: they need not find out that they have another. */
export type Adopted = { readonly vtepMac?: Mac; readonly bridgeMac?: Mac };

/** What a plan may depend on of the node itself. */
export type Self = {
  readonly name: string;
  readonly subnets: PerFamily<Prefix>;
  readonly underlay: UnderlayChoice;
  readonly settings: Settings;
  /** The first is how this node sends, and packets are taken in by all. Absent: what the settings say alone. */
  readonly ways?: readonly Way[];
  /** Of pools that say it themselves; none overlap. */
  readonly poolModes?: readonly PoolMode[];
  /** Pods made under the other wiring still live here: they keep it, and the bridge stays or has been made beside them. */
  readonly legacyPods?: boolean;
  /** What the bridge has while pods are its ports and roads leave more: larger packets would be lost on the way to them. */
  readonly bridgeMtu?: number;
  /** Public key of this node; only where wireguard is among the roads. */
  readonly wireguardKey?: string;
  /** Nonce and secrets' names of this node; only where ipsec is among the roads. */
  readonly ipsec?: IpsecSelf;
  /** Public keys of this node in the userspace tunnel, the newest first. */
  readonly tunnelKeys?: readonly string[];
  /** What was taken over from another provider; absent: nothing was. */
  readonly adopted?: Adopted;
};

export type Placed = Pick<Self, 'settings' | 'underlay'>;

/**
 * How the outer packets of a tunnel are told from all others, in nft's words. `any`: by protocol and port alone, which
 * every firewall can write. `own`: those of our tunnel only.
 */
export type OuterPackets = {
  readonly any: string;
  readonly own: string;
  readonly protocols: readonly number[];
  /** UDP port that this node listens on. */
  readonly port?: number;
};

/** nft's words for a packet that was not sealed on its way here, or will not be. */
export type Unsealed = { readonly from: string; readonly to: string };

export interface NetworkBackend {
  readonly name: RoadName;
  /** What people call the encapsulation; absent: packets travel plain. */
  readonly title?: string;
  /** What its legs say; undefined: others carry packets between nodes, and there are no legs. */
  readonly carrier: Leg['carrier'] | undefined;
  /** `auto` takes it although the settings do not name it. */
  readonly automatic?: true;
  /** Nobody on the way can read or change what travels; absent: anybody can. */
  readonly seals?: (settings: Settings) => boolean;
  /** Pods of all nodes are on one Ethernet: this link is the way to it from this node's bridge. */
  readonly segmentPort?: (settings: Settings) => string;
  /** A plain road reaches a family by an address of that family only. */
  readonly needsOwnFamily?: boolean;
  /** A routing daemon writes its routes: plain, routers between may know the way. */
  readonly isLearned?: true;
  /** Bytes that it takes from the underlay's MTU; absent: what OVERHEAD says. */
  readonly overhead?: (self: Placed) => number;
  /** What other nodes must know of this one, besides its addresses. */
  readonly advertise?: (self: Self) => Partial<NodeAdvert>;
  /** Why the two nodes cannot use it, whatever the family. */
  readonly mismatch?: (self: Self, node: NodeAdvert) => string | undefined;
  /** What a leg must know or say of the peer besides its address, or why there can be none. */
  readonly far?: (
    self: Self,
    node: NodeAdvert,
    family: Family,
  ) => Partial<Pick<Leg, 'mac' | 'why' | 'link'>> | string;
  /** Taken in from known peers only; none where packets travel plain. */
  readonly outer?: (settings: Settings) => readonly OuterPackets[];
  /** Only where the settings ask that nothing else passes. */
  readonly strict?: (settings: Settings) => Unsealed | undefined;
  /** Devices and addresses that the road needs whoever the peers are. */
  readonly planNode?: (self: Self) => Item[];
  /** What a peer needs once, however many its legs by this road, of which there is at least one. */
  readonly planPeer?: (self: Self, node: NodeAdvert, legs: readonly Leg[]) => Item[];
  /** What may stand before anything is sent by the leg, which is no direct one, and what taking in needs: its devices. */
  readonly prepareLeg?: (self: Self, leg: Leg) => Item[];
  /** What the kernel is asked for, and taken away again, to find out whether it has the road; absent: it has. */
  readonly trial?: (self: Self) => Item[];
  /** What makes packets take the leg, which is no direct one. Plans are cached by the identity of their arguments. */
  readonly planLeg?: (self: Self, leg: Leg) => Item[];
}

/** Family of the outer packets of tunnels: IPv4 where the node has it. */
export function tunnelFamily(self: Placed): Family {
  return self.underlay.local[4] === undefined ? 6 : 4;
}

/** Bytes that a road takes from the underlay's MTU. */
export function overheadOf(backend: NetworkBackend, self: Placed): number {
  return backend.overhead?.(self) ?? OVERHEAD[backend.name][tunnelFamily(self)];
}

/** MTU of a device that carries a road, in bytes. */
export function deviceMtu(backend: NetworkBackend, self: Placed): number {
  return self.underlay.mtu - overheadOf(backend, self);
}

/** The bridge's MAC is pinned: a bridge otherwise takes the lowest of its ports', which changes with every pod. */
export function bridgeMac(node: string): Mac {
  return localMac(fnv1a64(`bridge ${node}`));
}

/** Pods of the node are ports of a bridge, some or all of them. */
export function hasBridge({ settings, legacyPods }: Pick<Self, 'settings' | 'legacyPods'>): boolean {
  return settings.wiring.type === 'bridge' || legacyPods === true;
}

/** Its pods have addresses of blocks, which come and go; else of one subnet. */
export function takesBlocks({ settings }: Pick<Self, 'settings'>): boolean {
  return settings.addresses.type === 'blocks';
}
