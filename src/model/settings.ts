/** The settings of one node as the rest of the code sees them: complete, checked, frozen. Room config makes them. */
import type { Address } from '#net/address.ts';
import type { PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import type { RoutingConfig } from './routing.ts';
import type { Failsafe } from './workload.ts';

export type RoadName =
  | 'vxlan'
  | 'host-gw'
  | 'ipip'
  | 'gre'
  | 'fou'
  | 'layer2'
  | 'wireguard'
  | 'ipsec'
  | 'udp'
  | 'bgp'
  | 'bgp-ipip'
  | 'alloc';
export const ROAD_NAMES: readonly RoadName[] = [
  'vxlan',
  'host-gw',
  'ipip',
  'gre',
  'fou',
  'layer2',
  'wireguard',
  'ipsec',
  'udp',
  'bgp',
  'bgp-ipip',
  'alloc',
];

/** `auto`: for each two nodes the cheapest that both can take. */
export type RoadType = RoadName | 'auto';
export const ROAD_TYPES: readonly RoadType[] = [...ROAD_NAMES, 'auto'];

/** When packets between nodes are encapsulated; Calico's words. Its third, Never, is the road host-gw, or bgp. */
export type RoadMode = 'Always' | 'CrossSubnet';

export type HairpinMode = 'promiscuous-bridge' | 'hairpin-veth' | 'none';
export const HAIRPIN_MODES: readonly HairpinMode[] = ['promiscuous-bridge', 'hairpin-veth', 'none'];

/** How node subnets are taken out of the cluster's range, per family. */
export type SubnetSettings = {
  readonly range: Prefix;
  /** Length of a node's subnet in bits. */
  readonly length: number;
  /** First and last subnet that may be handed out. */
  readonly min: Prefix;
  readonly max: Prefix;
};

export type VxlanSettings = {
  readonly vni: number;
  readonly port: number;
  readonly learning: boolean;
  readonly gbp: boolean;
  /** flannel's word for the mode CrossSubnet, of which it is one spelling: plans look at the mode. */
  readonly directRouting: boolean;
  readonly txChecksumOffload: boolean;
};

/** Of the outer packets of `ipip` and `gre`. */
export type TunnelSettings = {
  /** Time to live, 1–255. */
  readonly ttl: number;
  /** Type of service or traffic class, 0–255; absent: the inner packet's. */
  readonly tos?: number;
};

/** IP in IP within UDP (GUE). */
export type FouSettings = TunnelSettings & {
  /** UDP port, of all nodes alike. */
  readonly port: number;
};

/** One Ethernet over all nodes, by VXLAN. */
export type Layer2Settings = { readonly vni: number; readonly port: number };

export type WireguardSettings = {
  /** UDP port that this node listens on. */
  readonly port: number;
  /** What is from or to pods of other nodes and not sealed is dropped. */
  readonly strict: boolean;
};

export const TUNNEL_CIPHERS = ['plain', 'aes-256-gcm', 'chacha20-poly1305'] as const;
export type TunnelCipher = (typeof TUNNEL_CIPHERS)[number];

/** Of the userspace tunnel. */
export type UdpSettings = {
  /** UDP port that this node listens on. */
  readonly port: number;
  readonly cipher: TunnelCipher;
  /** A file of passwords, one a line, which all nodes share; absent: a key per node. */
  readonly passwordFile?: string;
  /** What is from or to pods of other nodes and not sealed is dropped. */
  readonly strict: boolean;
};

export type IpsecSettings = {
  /** A file of lines `NAME SECRET`, the newest first, which all nodes share. */
  readonly secretsFile: string;
  /** UDP port that this node listens on for ESP in UDP. */
  readonly port: number;
  /** `auto`: ESP goes in UDP where either node is reached by an address that is not its own. */
  readonly udp: 'auto' | 'always';
  /** What is from or to pods of other nodes and not sealed is dropped. */
  readonly strict: boolean;
};

/** Of the road `auto`. */
export type AutoRoadSettings = {
  /** Only roads that encrypt. */
  readonly encrypt: boolean;
  /** Only these; absent: all that may be taken by themselves. */
  readonly roads?: readonly RoadName[] | undefined;
};

export type BlockSettings = {
  /** Of the blocks of pools that do not say it themselves, in bits. */
  readonly ipv4Length: number;
  readonly ipv6Length: number;
  /** Addresses of a block go to its own node only. */
  readonly strictAffinity: boolean;
  /** A node has so many blocks of each family at most; when they are full it borrows. */
  readonly maxPerNode: number;
  /** What a node holds that is gone is free again after so long; so is a block that its node does not need. */
  readonly reclaimSeconds: number;
};

export type UnderlaySettings = {
  /** Link names or addresses, tried in order. */
  readonly interfaces: readonly string[];
  /** Regular expressions over addresses, then names; tried when no entry of `interfaces` matched. */
  readonly interfaceRegexes: readonly string[];
  /** The link by which the kernel would reach this address. */
  readonly canReach?: Address;
  /** Announced in place of the link's own address. */
  readonly publicAddress: PerFamily<Address>;
  /** In place of the link's MTU, bytes of the outer packet. */
  readonly mtu?: number;
};

export type PolicySettings = {
  /** Rules are loaded, and a pod gets its network only when its own are. */
  readonly enforce: boolean;
  /** What policies deny passes, and is logged as it would be denied. */
  readonly audit: boolean;
  /** Denied first packets are told of, so many of them in a second at most; 0: none. */
  readonly logDeniedPerSecond: number;
  /** Connections that a change of policies denies end at once (`cut`), or live on (`keep`, as Calico has it). */
  readonly established: 'cut' | 'keep';
  /** Names that rules allow. `servers`: whose answers are believed; none: the cluster's DNS and the node's own. */
  readonly dns: { readonly servers: readonly Address[]; readonly minimumSeconds: number };
  /** Ports of hosts that no policy of a host endpoint can close; absent: Calico's. */
  readonly failsafe: {
    readonly inbound?: readonly Failsafe[];
    readonly outbound?: readonly Failsafe[];
  };
};

export const STORE_TYPES = ['directory', 'etcd', 'kubernetes'] as const;

/** Secrets are in files: settings are shown in logs, plans and archives. */
export type EtcdSettings = {
  /** URLs: http, https, or unix with the path of a socket. */
  readonly endpoints: readonly string[];
  /** Keys begin with it and a slash. */
  readonly prefix: string;
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly user?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly requestTimeoutSeconds: number;
};

/** Of the API server. Absent: as a pod with its service account, else as kubectl does it. */
export type ApiServerSettings = {
  /** Path of a file. */
  readonly kubeconfig?: string | undefined;
  /** In the kubeconfig; absent: the current one. */
  readonly context?: string | undefined;
  /** URL, in place of the one that the kubeconfig or the pod's environment has. */
  readonly server?: string | undefined;
  readonly requestTimeoutSeconds: number;
  /** Path of a file with a token for relays; absent: none is read. */
  readonly relayTokenFile?: string | undefined;
};

export type StoreSettings =
  | { readonly type: 'directory'; readonly path: string }
  | { readonly type: 'etcd'; readonly etcd: EtcdSettings }
  | { readonly type: 'kubernetes'; readonly kubernetes: ApiServerSettings };

/** What flannel has on the node; each where flanneld and its CNI plugin were told. */
export type FlannelPlaces = {
  /** Of its keys in the etcd of the store. */
  readonly prefix: string;
  readonly subnetFile: string;
  /** Below it: networks (host-local's), flannel (its plugin's). */
  readonly cniState: string;
  /** What flannel's CNI configuration calls its network. */
  readonly cniNetwork: string;
};

export const ADDRESS_TYPES = ['subnet', 'node-cidr', 'blocks'] as const;

/** What an agent does with its Node object, where the store is Kubernetes. */
export type NodeObjectSettings = {
  /** Key of a taint that is taken off the node when it is ready. */
  readonly startupTaint: string;
  /** What a pod held that neither kernel nor Kubernetes has is free again after so long; 0: never. */
  readonly garbageSeconds: number;
  /** The condition NetworkUnavailable of the node says whether it has a network. */
  readonly condition: boolean;
  /** What an operator must see are Events too. */
  readonly events: boolean;
  readonly flannel: {
    /** Nodes where flannel runs are peers, and know this node. */
    readonly peers: boolean;
    /** Of flannel's annotations, as its --kube-annotation-prefix. */
    readonly prefix: string;
  };
};

/** Of what is done once for the whole cluster. */
export type ControllerSettings = {
  readonly lease: {
    readonly durationSeconds: number;
    /** After so long without a renewal the leader does nothing more. */
    readonly deadlineSeconds: number;
    readonly retrySeconds: number;
  };
  /** A node that seems gone is asked after so long. */
  readonly graceSeconds: number;
  /** And has so long to answer. */
  readonly answerSeconds: number;
  readonly brake: { readonly share: number; readonly minimum: number };
  /** host:port of metrics and health; absent: none. */
  readonly listen?: string | undefined;
};

/** Of a process that tells many agents what the store tells it once. */
export type RelaySettings = {
  /** Of this host; without one there is no relay. */
  readonly address?: Address | undefined;
  readonly port: number;
  readonly maxReaders: number;
  /** host:port of metrics and health; absent: none. */
  readonly listen?: string | undefined;
};

export type Settings = {
  readonly profile: string;
  readonly node: {
    readonly name: string;
    /** Of the node, as Kubernetes has them; absent: none. */
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly network: {
    /** Name of the CNI network. */
    readonly name: string;
    readonly subnets: PerFamily<SubnetSettings>;
    /** A fixed subnet of this node instead of a leased one. */
    readonly nodeSubnets: PerFamily<Prefix>;
    readonly lease: { readonly ttlSeconds: number; readonly renewBeforeSeconds: number };
  };
  readonly addresses: {
    /** Never handed to pods. */
    readonly exclude: readonly Prefix[];
    /** A released address rests at least this long once its link is gone. */
    readonly quarantineSeconds: number;
    /** One subnet for the node, leased or (`node-cidr`) given by Kubernetes, or as many blocks as its pods need. */
    readonly type: (typeof ADDRESS_TYPES)[number];
    readonly blocks: BlockSettings;
  };
  readonly underlay: UnderlaySettings;
  readonly road: {
    readonly type: RoadType;
    /** CrossSubnet: peers on a connected prefix are reached without encapsulation. */
    readonly mode: RoadMode;
    readonly vxlan: VxlanSettings;
    readonly ipip: TunnelSettings;
    readonly gre: TunnelSettings;
    readonly fou: FouSettings;
    readonly layer2: Layer2Settings;
    readonly wireguard: WireguardSettings;
    readonly auto: AutoRoadSettings;
    readonly ipsec: IpsecSettings;
    readonly udp: UdpSettings;
  };
  readonly wiring: {
    readonly type: 'routed' | 'bridge';
    readonly bridge: { readonly name: string; readonly hairpin: HairpinMode };
    /** MTU of pods; absent: what the narrowest road leaves. */
    readonly mtu?: number;
    /** Source addresses that are not the pod's own are dropped. */
    readonly dropSpoofed: boolean;
  };
  readonly masquerade: {
    readonly enabled: boolean;
    /** Destinations that see the pod's own address, besides the cluster's ranges. */
    readonly exclude: readonly Prefix[];
    readonly randomFully: boolean;
  };
  /** Accept forwarded pod traffic and the tunnel's packets, also in other programs' chains that would drop them. */
  readonly forward: { readonly accept: boolean };
  /** A blackhole route for the node's own subnet, so that packets to unused addresses do not leave the node. */
  readonly blackhole: boolean;
  readonly routing: RoutingConfig;
  readonly policy: PolicySettings;
  /** A pass that removes more than this share (0–1) of what is there stops and waits for `tartan resume`. */
  readonly brake: { readonly share: number; readonly minimum: number };
  readonly store: StoreSettings;
  readonly kubernetes: NodeObjectSettings;
  readonly controller: ControllerSettings;
  readonly relay: RelaySettings;
  /** `flannel`: absent or null: the cluster does not move from there. */
  readonly migration?: { readonly flannel?: FlannelPlaces | null | undefined };
  readonly paths: {
    /** Boot-scoped state and sockets. */
    readonly run: string;
    /** State that survives a reboot. */
    readonly state: string;
    readonly cniBin: string;
    readonly cniConf: string;
    /** Where other programs' configuration is. */
    readonly etc: string;
  };
  /** host:port of metrics and health; absent: only the socket. */
  readonly listen?: string;
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error' };
};
