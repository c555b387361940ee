/** What the stores say of the cluster, as one value. Pure functions make plans from it. */
import type { Address } from '#net/address.ts';
import type { Mac } from '#net/mac.ts';
import type { PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import type { IpsecNode } from './ipsec.ts';
import type { RoadSpec, SwitchProgress } from './road-switch.ts';
import type { RoutingAdvert } from './routing.ts';
import type { RoadName, TunnelCipher } from './settings.ts';

/** Who is reached on a node, where the nodes' bridges are one segment. */
export type Station = { readonly mac: Mac; readonly addresses: readonly Address[] };

/**
 * Put into an object of a node's by the controller, which takes the node for gone. A node that is not writes its object again,
 * without it, as it does with whatever is not as it wrote it.
 */
export type Questioned = { readonly questioned?: string };

/** What one node tells the others of itself. */
export type NodeAdvert = Questioned & {
  readonly name: string;
  /** Where peers send to: tunnel endpoint or next hop. */
  readonly addresses: PerFamily<Address>;
  /** Subnets whose pods live on the node. */
  readonly subnets: PerFamily<Prefix>;
  /** `blocks`: its subnet is one of its blocks (or an address of another's), which are apart by themselves. */
  readonly addressing?: 'blocks';
  /** Routed to the node besides its subnets: blocks and single addresses. Each agent puts them in by the store's blocks. */
  readonly blocks?: readonly Prefix[];
  /** The node's own addresses within its subnets: what is sent there takes the road of its pods' packets. */
  readonly inside?: PerFamily<Address>;
  /** By which it sends, where the peer takes it. */
  readonly road: RoadName;
  /** By which it takes packets in; absent in adverts of agents that know one road at a time: `road` alone. */
  readonly accepts?: readonly RoadName[];
  /** What its underlay link reaches without a router; absent: not told. */
  readonly connected?: readonly Prefix[];
  /** What a VXLAN peer needs: keys are families of the inner packet. */
  readonly vxlan?: { readonly vni: number; readonly port: number; readonly mac: PerFamily<Mac> };
  /** What a WireGuard peer needs: the public key in base64, and the port that the node listens on. */
  readonly wireguard?: { readonly publicKey: string; readonly port: number };
  readonly ipsec?: IpsecNode;
  /** Absent: it does not speak BGP. */
  readonly routing?: RoutingAdvert;
  /** As settings give them to the node. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Of the userspace tunnel. Public keys in base64, the newest first; absent in plain mode and with a password. */
  readonly udp?: {
    readonly port: number;
    readonly cipher: TunnelCipher;
    readonly publicKeys?: readonly string[];
  };
  /** What its settings say, whatever road the cluster takes; absent as `accepts` is. */
  readonly configured?: RoadSpec;
  /** How far it is in the change of the cluster's road that its agent knows of last. */
  readonly progress?: SwitchProgress;
  /** UDP port at which it takes in IP in IP. */
  readonly fou?: { readonly port: number };
  /** What a peer of the same segment needs, and who is on it here. */
  readonly layer2?: { readonly vni: number; readonly port: number; readonly stations?: readonly Station[] };
  /** MTU of the node's underlay link in bytes. */
  readonly mtu: number;
  /** PodCIDR-wide promise that the node's agent has programmed all its peers at least once since boot. */
  readonly ready: boolean;
  /** Of the agent's program. */
  readonly version?: string;
};

export type World = {
  readonly self: string;
  readonly nodes: ReadonlyMap<string, NodeAdvert>;
};

/** A claim of one node on one subnet; the object's name is the subnet with `/` written as `-`. */
export type SubnetClaim = Questioned & {
  readonly node: string;
  readonly subnet: Prefix;
  /** Made by an operator: no expiry, and only that node may use it. */
  readonly reserved: boolean;
};
