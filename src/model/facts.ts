/**
 * What the agent sees on its host, for the pure advisor. A fact that could not be found out is absent, which is neither
 * good nor bad. Nothing secret is among the facts: support bundles hold them.
 */
import type { Underlay, UnderlayChoice } from './underlay.ts';
import type { PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import type { HairpinMode, RoadName } from './settings.ts';

/** Whether the kernel can do it, tried or read from its configuration; `reason` says why not. */
export type Ability = { readonly available: boolean; readonly reason?: string };

export type KernelFacts = {
  /** uname -r. */
  readonly release: string;
  readonly vxlan?: Ability;
  /** Of all kinds of devices that the road has on this node. */
  readonly ipip?: Ability;
  readonly gre?: Ability;
  /** IP in IP within UDP. */
  readonly fou?: Ability;
  readonly wireguard?: Ability;
  readonly ipsec?: Ability;
  readonly tun?: Ability;
  readonly bridge?: Ability;
  readonly veth?: Ability;
  readonly nftables?: Ability;
  /** nft masquerade and dnat need it. */
  readonly conntrack?: Ability;
  readonly shaping?: Ability;
  readonly ipv6?: Ability;
};

/** A base chain of somebody else's that filters what the host takes in or forwards. */
export type ForeignChain = {
  readonly hook: 'input' | 'forward';
  readonly family: 'ip' | 'ip6' | 'inet';
  readonly table: string;
  readonly chain: string;
  readonly policy: 'accept' | 'drop';
  /** It also drops or rejects by a last rule (firewalld). */
  readonly rejects?: boolean;
  /** A chain that the owner leaves to the user and jumps to first (Docker's DOCKER-USER). */
  readonly userChain?: string;
  /** Why our accepts could not be put there, e.g. because the table belongs to a process (nft's flag `owner`). */
  readonly refused?: string;
};

/** A chain of the legacy iptables modules, which no nftables listing shows and no rule of ours can be put in. */
export type LegacyChain = {
  readonly family: 4 | 6;
  readonly chain: 'INPUT' | 'FORWARD';
  /** Undefined: the modules are in use, and what they hold could not be read. */
  readonly policy?: 'accept' | 'drop';
  /** It has accepts of ours in it, typed by the operator: by source and destination, or by the tunnels’ ports and protocols. */
  readonly accepts?: boolean;
};

/** A socket bound to a UDP port. */
export type UdpSocket = { readonly port: number; readonly owner?: string };

/** A road that the node may take. */
export type RoadFacts = {
  readonly name: RoadName;
  /** What people call the encapsulation; absent: packets travel plain. */
  readonly title?: string;
  /** IP protocols of the outer packets, and the UDP port that this node listens on, where they are UDP. */
  readonly protocols: readonly number[];
  readonly port?: number;
};

export type HostFacts = {
  readonly settings: {
    readonly roads: readonly RoadFacts[];
    /** Bytes that the roads take from the underlay's MTU, at most. */
    readonly overhead: number;
    readonly wiring: 'routed' | 'bridge';
    readonly bridge: string;
    readonly hairpin: HairpinMode;
    /** Pods of the bridge reach each other by way of the host. */
    readonly isolated?: boolean;
    readonly forwardAccept: boolean;
    readonly ranges: PerFamily<Prefix>;
    readonly podMtu?: number;
    readonly cniConf: string;
  };
  readonly root: boolean;
  readonly kernel: KernelFacts;
  /** Modules of those that some provider needs which the kernel neither has nor can load; absent: not known. */
  readonly lacking?: readonly string[];
  /** What the machine says that it is (DMI). */
  readonly machine?: { readonly vendor: string; readonly product: string };
  /** Sysctl values by key with slashes (see ADVISOR_SYSCTLS and sysctlsOf); absent when the file is not there. */
  readonly sysctls: Readonly<Record<string, string>>;
  readonly underlay: Underlay;
  readonly choice?: UnderlayChoice;
  /** Why there is no choice. */
  readonly underlayProblem?: string;
  /** File names in the CNI configuration directory that runtimes read, and the name of our own. */
  readonly cniConfigs: readonly string[];
  readonly ownCniConfig: string;
  /** Bound UDP sockets that are not ours. */
  readonly udpSockets: readonly UdpSocket[];
  readonly filterChains: readonly ForeignChain[];
  /** Active programs, by unit name: `docker`, `firewalld`, `ufw`, `systemd-networkd`, `NetworkManager`. */
  readonly services: readonly string[];
  /** `managed`: links of ours, or the one between nodes, that the program takes for its own. */
  readonly networkd?: { readonly manageForeignRoutes: boolean; readonly managed: readonly string[] };
  readonly networkManager?: { readonly managed: readonly string[] };
  readonly legacyChains?: readonly LegacyChain[];
  /** Absent: no routing protocol is spoken. */
  readonly routing?: {
    /** TCP port of BGP. */
    readonly port: number;
    /** The program bird is there. */
    readonly installed: boolean;
    /** A BIRD runs that is not the agent's. */
    readonly otherDaemon: boolean;
    /** Somebody else listens on the port. */
    readonly portTaken: boolean;
  };
  readonly kubeProxy?: { readonly mode: 'iptables' | 'nftables' | 'ipvs' };
};
