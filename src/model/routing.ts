/**
 * Routing protocols as values: who speaks with whom, what is announced, what is believed. Passwords are never here, only
 * where they are kept.
 */
import type { Address, Family } from '#net/address.ts';
import type { PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import type { Selector } from './policy.ts';

/** Where a password is kept: a file, or a key of a Secret in the agent's namespace. */
export type SecretRef =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'secret'; readonly name: string; readonly key: string };

/** Two 16-bit numbers (RFC 1997), or three 32-bit numbers (RFC 8092). */
export type Community = readonly [number, number] | readonly [number, number, number];

/** RFC 5880; `graceful`: a lost BFD session starts graceful restart instead of dropping the routes (RFC 5882, 4.3). */
export type Bfd = { readonly intervalMs: number; readonly multiplier: number; readonly graceful: boolean };

/** Addresses of pods. */
export type RoutedPool = {
  readonly prefix: Prefix;
  /** Its blocks are told to peers. */
  readonly exported: boolean;
  /** Routes that are learned in it go into the kernel; otherwise another road has them. */
  readonly installed: boolean;
};

export type ServiceKind = 'cluster' | 'external' | 'load-balancer';

export type ServiceAnnouncements = {
  readonly ranges: Readonly<Record<ServiceKind, readonly Prefix[]>>;
  /** Kinds of which every address in use is announced, not the ranges (their addresses need not be in a range). */
  readonly single: readonly ServiceKind[];
};

/** Announced by the nodes that the selector matches, to peers outside only, in place of what lies in it. */
export type Aggregate = { readonly prefix: Prefix; readonly nodes: Selector };

/** Communities that announcements in the prefix carry. */
export type PrefixTag = { readonly prefix: Prefix; readonly communities: readonly Community[] };

export type OspfLink = {
  /** Name, or pattern with `*`. */
  readonly name: string;
  readonly cost?: number;
  readonly helloS?: number;
  readonly deadS?: number;
  /** Announced, but nobody is spoken with there. */
  readonly passive?: boolean;
  readonly password?: SecretRef;
};

/** OSPFv2 (RFC 2328) for IPv4, OSPFv3 (RFC 5340) for IPv6. */
export type Ospf = { readonly area: Address; readonly links: readonly OspfLink[] };

export type LogLevel = 'debug' | 'info' | 'warning' | 'error' | 'fatal';

export type RoutingSettings = {
  /** Of nodes that have none of their own. */
  readonly as: number;
  readonly port: number;
  /** `same-as`: only nodes of one AS speak with each other. */
  readonly mesh: 'all' | 'same-as' | 'none';
  readonly meshPassword?: SecretRef;
  readonly meshBfd?: Bfd;
  readonly meshRestartS?: number;
  /** Graceful restart (RFC 4724) where a session says nothing else: seconds that peers keep routes; 0 is none. */
  readonly restartS: number;
  /** `hash`: of the node's name, where nodes have no IPv4 address. */
  readonly routerId: 'address' | 'hash';
  /** Listen on the node's addresses only. */
  readonly bindToNode: boolean;
  readonly logLevel: LogLevel;
  /** Names or patterns: their subnets are no way to a next hop. */
  readonly ignoredInterfaces: readonly string[];
  readonly pools: readonly RoutedPool[];
  readonly services: ServiceAnnouncements;
  readonly aggregates: readonly Aggregate[];
  readonly tags: readonly PrefixTag[];
  /** Of every route that is announced outside. */
  readonly metric: number;
  readonly ospf?: Ospf;
};

/** What settings of one node may say otherwise. */
export type NodeOverride = {
  readonly port?: number;
  readonly tags?: readonly PrefixTag[];
  readonly logLevel?: LogLevel;
};

/** `meshed`: servers are in the mesh, and clients speak with servers of their cluster only; otherwise servers are in no mesh. */
export type Reflector = {
  readonly role: 'server' | 'client';
  /** 32 bits, written as an IPv4 address (RFC 4456). */
  readonly clusterId: Address;
  readonly meshed: boolean;
};

export type RoutingNode = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: PerFamily<Address>;
  readonly as?: number;
  readonly routerId?: Address;
  readonly reflector?: Reflector;
  /** Blocks or subnets of its pods, and single addresses that it uses of others' blocks. */
  readonly prefixes: readonly Prefix[];
  /** Announces no services. */
  readonly withoutServices: boolean;
  /** Of everything that the node tells peers outside. */
  readonly prepend: readonly number[];
  readonly communities: readonly Community[];
};

/** One address of one service. */
export type ServiceAddress = {
  readonly address: Address;
  readonly kind: ServiceKind;
  /** Only nodes with an endpoint that is ready may announce it (traffic policy Local). */
  readonly local: boolean;
  /** Nodes with ready endpoints. */
  readonly ready: readonly string[];
  /** The service itself says whether its address is announced alone; what lies in an announced range is anyway. */
  readonly alone?: boolean;
};

export type Remote =
  | { readonly kind: 'address'; readonly address: Address; readonly port?: number; readonly as: number }
  /** Other nodes of the cluster. */
  | { readonly kind: 'nodes'; readonly selector: Selector };

/** How a session is held, whoever it is with. */
export type SessionTraits = {
  readonly localAs?: number;
  readonly nextHop: 'auto' | 'self' | 'keep';
  readonly password?: SecretRef;
  /** `node`: the node's own address; `any`: whichever the kernel takes. */
  readonly source: 'node' | 'any' | Address;
  readonly restartS?: number;
  readonly keepaliveS?: number;
  readonly holdS?: number;
  /** How often the own AS may stand in a path. */
  readonly allowLocalAs?: number;
  /** At most so many hops away; with `ttlSecurity` packets that were further are dropped (RFC 5082). */
  readonly hops?: number;
  readonly ttlSecurity: boolean;
  /** The way to a peer that no route leads to. */
  readonly gateway?: Address;
  readonly bfd?: Bfd;
  /** Names, asked in order; the first rule that matches decides. */
  readonly filters: readonly string[];
  readonly localPreference?: number;
};

/** Sessions of the nodes that the selector matches. */
export type PeerRule = SessionTraits & {
  readonly name: string;
  readonly nodes: Selector;
  readonly remote: Remote;
  /** With `nodes` as remote: these get the other end of the session without a rule of their own. */
  readonly reverse: boolean;
};

export type FilterOperation =
  | { readonly add: Community }
  /** The first is the nearest afterwards. */
  | { readonly prepend: readonly number[] }
  | { readonly priority: number };

export type FilterRule = {
  readonly prefix?: {
    readonly within: Prefix;
    readonly operator: 'equal' | 'not-equal' | 'in' | 'not-in';
    readonly min?: number;
    readonly max?: number;
  };
  /** Learned from a peer. */
  readonly learned?: true;
  /** Pattern with `*`. */
  readonly interface?: string;
  readonly peer?: 'external' | 'internal';
  readonly community?: Community;
  readonly pathBegins?: readonly number[];
  /** Smaller is better; travels as local preference 2147483647 − priority, as Calico has it. */
  readonly priority?: number;
  readonly action: 'accept' | 'reject';
  readonly operations: readonly FilterOperation[];
};

export type Direction = 'import' | 'export';

export type RouteFilter = {
  readonly name: string;
  readonly rules: Readonly<Record<Direction, Readonly<Record<Family, readonly FilterRule[]>>>>;
};

/** What a node tells others of itself; one that tells nothing does not speak BGP. */
export type RoutingAdvert = Pick<RoutingNode, 'as' | 'reflector'>;

/** What settings say; objects of the store may say otherwise. */
export type RoutingConfig = {
  /** A daemon speaks for this node. */
  readonly enabled: boolean;
  readonly speaker: Omit<RoutingSettings, 'pools' | 'metric'>;
  readonly peers: readonly PeerRule[];
  readonly node: RoutingAdvert;
  /** Directory of Secrets: the file NAME/KEY below it. */
  readonly secrets: string;
};

/** A session as the daemon tells of it. */
export type SeenSession = {
  readonly name: string;
  readonly protocol: 'BGP' | 'OSPF';
  readonly up: boolean;
  /** The daemon's word: Established, Active, OpenSent, … */
  readonly state: string;
  /** Why it is not up, as far as the daemon knows. */
  readonly problem?: string;
  readonly since: string;
  readonly neighbour?: Address;
  readonly neighbourAs?: number;
  readonly localAs?: number;
  readonly neighbourId?: string;
  readonly channels: readonly {
    readonly family: Family;
    readonly imported: number;
    readonly exported: number;
    readonly filtered: number;
    readonly preferred: number;
  }[];
};

/** A session of BFD (RFC 5880) as the daemon tells of it. */
export type SeenBfd = {
  readonly neighbour: Address;
  /** Absent: over several hops (RFC 5883). */
  readonly interface?: string;
  readonly state: 'AdminDown' | 'Down' | 'Init' | 'Up';
  readonly since: string;
  /** Between two packets from here. */
  readonly intervalMs: number;
  /** A neighbour that is silent so long is gone; 0 while both have not agreed. */
  readonly timeoutMs: number;
};

/** A route as the daemon tells of it. */
export type SeenRoute = {
  readonly prefix: Prefix;
  /** The session or protocol that told of it. */
  readonly from: string;
  readonly via: readonly { readonly gateway?: Address; readonly interface?: string }[];
  readonly kind: 'unicast' | 'blackhole' | 'unreachable' | 'prohibit';
  /** The best one of its prefix. */
  readonly chosen: boolean;
  /** A filter refused it: it is kept only to be shown. */
  readonly filtered: boolean;
  readonly asPath: readonly number[];
  readonly nextHop?: Address;
  readonly localPreference?: number;
  readonly communities: readonly string[];
};
