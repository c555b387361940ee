/**
 * What a Linux host should look like, or does look like, as plain data: a map from key to item. Items hold canonical
 * text and numbers only, so equality is by value and a state can be printed, stored and compared as it is.
 * Nothing here knows how the kernel is spoken to.
 */
import type { Address } from '#net/address.ts';
import { isUnicastMac, type Mac } from '#net/mac.ts';
import type { InterfaceAddress, Prefix } from '#net/prefix.ts';
import type { NftSetName } from './nft-sets.ts';
import type { TunnelCipher } from './settings.ts';

/** Attributes that every link may have; an absent one is left as the kernel has it. */
type LinkCommon = {
  readonly kind: 'link';
  readonly name: string;
  readonly mtu?: number;
  readonly mac?: Mac;
  /** Name of the bridge that the link is a port of. */
  readonly master?: string;
  /** Bridge port flag: may frames leave by the port that they came in by. */
  readonly hairpin?: boolean;
  /** Bridge port flag: isolated ports reach only non-isolated ones. */
  readonly isolated?: boolean;
  /** Bridge port flag: the bridge notes whose frames come in by it. */
  readonly notesSources?: boolean;
  /** Bridge port flag: what the bridge can answer itself (ARP, neighbour solicitations) does not leave by it. */
  readonly answersNeighbors?: boolean;
  /** Interface flag IFF_PROMISC. */
  readonly promiscuous?: boolean;
  /** False: UDP transmit checksum offload is switched off (ethtool tx-checksum-ip-generic). */
  readonly txChecksumOffload?: boolean;
  /** Only in what was seen: the link is down, so it is not as any wanted item asks. */
  readonly down?: true;
};

export type VxlanLink = LinkCommon & {
  readonly type: 'vxlan';
  /** VXLAN network identifier, 24 bits. */
  readonly vni: number;
  /** UDP destination port. */
  readonly port: number;
  /** Source of the outer packets: an address that the host really has. */
  readonly local: Address;
  /** Link that the outer packets leave by. */
  readonly parent: string;
  readonly learning: boolean;
  readonly gbp: boolean;
};
/**
 * IP in IP (inner and outer family 4 and 4: ipip; 6 in 4: sit; any in 6: ip6tnl) or GRE (outer 4: gre; 6: ip6gre) between
 * two addresses. Outer packets are never fragmented.
 */
export type TunnelLink = LinkCommon & {
  readonly type: 'ipip' | 'sit' | 'ip6tnl' | 'gre' | 'ip6gre';
  readonly local: Address;
  readonly remote: Address;
  readonly ttl: number;
  readonly tos: number | 'inherit';
  /** Link that the outer packets leave by; absent: what the routes say. */
  readonly parent?: string;
  /** Outer packets are wrapped in UDP to this port (GUE); absent: not. What comes in is taken either way. */
  readonly guePort?: number;
};
/** The device of a private key, which is never in an item: the kernel's side finds it by the public one (base64). */
export type WireguardLink = LinkCommon & {
  readonly type: 'wireguard';
  readonly publicKey: string;
  /** UDP port that it listens on. */
  readonly port: number;
};
/** What is routed here is sealed as policies of its number say, and dropped where none does; no key is the device's. */
export type XfrmLink = LinkCommon & { readonly type: 'xfrm'; readonly ifId: number };
/** A TUN device: whoever carries its packets attaches to it and goes again, and it stays. */
export type TunLink = LinkCommon & { readonly type: 'tun' };
export type BridgeLink = LinkCommon & { readonly type: 'bridge' };
/** The host end of a pod's pair. It is made together with its peer (Kernel.createPair), never by a step. */
export type VethLink = LinkCommon & { readonly type: 'veth' };
export type IfbLink = LinkCommon & { readonly type: 'ifb' };
/** A link that somebody else made (inside a pod: its eth0 and lo): set up and configured, never created or removed. */
export type ForeignLink = LinkCommon & { readonly type: 'foreign' };
/** Every link item stands for a link that is up. */
export type LinkItem =
  | VxlanLink
  | TunnelLink
  | WireguardLink
  | XfrmLink
  | TunLink
  | BridgeLink
  | VethLink
  | IfbLink
  | ForeignLink;

export type AddressItem = {
  readonly kind: 'address';
  readonly link: string;
  readonly address: InterfaceAddress;
  /** Duplicate address detection is skipped (IFA_F_NODAD); IPv6 only. */
  readonly nodad?: boolean;
};

/** `onlink`: the next hop is taken to be reachable on the link although no prefix covers it. */
export type RouteItem = {
  readonly kind: 'route';
  readonly type: 'unicast' | 'blackhole';
  readonly prefix: Prefix;
  readonly table: number;
  /** Smaller is preferred. 0 is the kernel's default (which shows as 1024 for IPv6: state it instead). */
  readonly metric: number;
  readonly link?: string;
  readonly via?: Address;
  readonly onlink?: boolean;
  /** Preferred source address. */
  readonly source?: Address;
  /** RTAX_MTU, for pods and peers whose road is narrower than the link. */
  readonly mtu?: number;
  /** RTAX_ADVMSS. */
  readonly advmss?: number;
};

/** Packets from `from` are routed by `table`, before the main table is asked (ip-rule). */
export type RuleItem = {
  readonly kind: 'rule';
  readonly from: Prefix;
  /** Only packets that came in by this link; it may come and go. */
  readonly iif?: string;
  readonly table: number;
  /** Smaller is asked first; the main table has 32766. */
  readonly priority: number;
};

/** A permanent neighbour (ARP or ND) entry. */
export type NeighborItem = {
  readonly kind: 'neighbor';
  readonly link: string;
  readonly address: Address;
  readonly mac: Mac;
};

/**
 * The node answers for the address on the link (NTF_PROXY): to ARP where its route leads to another link, to neighbour
 * discovery where the link's `proxy_ndp` is 1. The kernel tells no events of these.
 */
export type ProxyItem = { readonly kind: 'proxy'; readonly link: string; readonly address: Address };

/**
 * A permanent forwarding entry of a VXLAN device: frames to `mac` are sent to `remote`. Those to 00:00:00:00:00:00 are for
 * what has no entry and for broadcast and multicast, of which each remote gets a copy.
 */
export type FdbItem = {
  readonly kind: 'fdb';
  readonly link: string;
  readonly mac: Mac;
  readonly remote: Address;
};

/** Frames to `mac` leave the bridge by this port of it, and frames from `mac` that come in elsewhere change nothing. */
export type StationItem = { readonly kind: 'station'; readonly link: string; readonly mac: Mac };

/** A UDP port at which the kernel unwraps what TunnelLinks with a `guePort` send. No events tell of these. */
export type FouPortItem = { readonly kind: 'fou-port'; readonly local: Address; readonly port: number };

/** Who may talk to a WireguardLink, from which inner sources; what is routed there goes to the peer that has it. */
export type WireguardPeerItem = {
  readonly kind: 'wireguard-peer';
  readonly link: string;
  /** Base64. */
  readonly publicKey: string;
  readonly endpoint: Address;
  readonly port: number;
  /** Sorted as text. */
  readonly allowed: readonly Prefix[];
};

/**
 * One direction of a sealed path: ESP (RFC 4303) with AES-256-GCM. The state outlives no change: whatever differs, another
 * with another SPI takes its place, because a key must not seal twice from the first sequence number on.
 */
export type XfrmStateItem = {
  readonly kind: 'xfrm-state';
  readonly source: Address;
  readonly destination: Address;
  /** Security parameters index, by which the receiver finds the state. */
  readonly spi: number;
  readonly mode: 'tunnel' | 'transport';
  /** Number of the XfrmLink that the packets pass; absent: none. */
  readonly ifId?: number;
  /** UDP ports of the encapsulation (RFC 3948); absent: plain ESP. */
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** Packets that may come late, at most 4096. */
  readonly replayWindow: number;
  /** Name of the key, which is never in an item. Nobody can see it of a state, and no comparison looks at it. */
  readonly key: string;
};

/** A UDP port at which the kernel takes in ESP (RFC 3948), whether an agent lives or not. No events tell of these. */
export type EspPortItem = { readonly kind: 'esp-port'; readonly local: Address; readonly port: number };

/**
 * Packets that leave (`out`) are sealed, or must have been when they come in (`in`) or pass through (`fwd`); or all of them
 * are dropped.
 */
export type XfrmPolicyItem = {
  readonly kind: 'xfrm-policy';
  readonly direction: 'in' | 'out' | 'fwd';
  readonly source: Prefix;
  readonly destination: Prefix;
  /** IANA number and destination port; absent: any. */
  readonly protocol?: number;
  readonly port?: number;
  /** Only packets of the XfrmLink of this number; absent: of none. */
  readonly ifId?: number;
  readonly action: 'seal' | 'block';
  /** Of `seal`: the states that will do. */
  readonly from?: Address;
  readonly to?: Address;
  readonly mode?: XfrmStateItem['mode'];
  /** That state alone; absent: any between the two addresses. */
  readonly spi?: number;
};

/** What carries a TunLink's packets to other nodes: a process, not the kernel. No secret is ever in an item. */
export type TunnelItem = {
  readonly kind: 'tunnel';
  readonly link: string;
  /** This node, as its peers call it. */
  readonly node: string;
  /** Of the link: largest inner packet. */
  readonly mtu: number;
  /** UDP port that it listens on. */
  readonly port: number;
  readonly cipher: TunnelCipher;
};
export type TunnelPeerItem = {
  readonly kind: 'tunnel-peer';
  readonly link: string;
  readonly peer: string;
  readonly endpoint: Address;
  readonly port: number;
  /** Base64, the newest first; none in plain mode and with a password. */
  readonly publicKeys: readonly string[];
  /** Inner addresses that the peer stands for. Sorted as text. */
  readonly allowed: readonly Prefix[];
};

/** `key` is the path below /proc/sys with slashes, e.g. `net/ipv4/ip_forward`. */
export type SysctlItem = { readonly kind: 'sysctl'; readonly key: string; readonly value: string };

/**
 * The structure of our nftables table in one family: sets, maps, chains and rules in nft syntax, as the body between
 * the braces. Elements of the sets are items of their own and survive a change of structure.
 */
export type NftTableItem = {
  readonly kind: 'nft-table';
  readonly family: 'inet' | 'bridge';
  readonly body: string;
};

/** One element of a set, or of a map when `data` is there; fields as text, in the order of the set's type. */
export type NftElementItem = {
  readonly kind: 'nft-element';
  readonly set: NftSetName;
  readonly key: readonly string[];
  readonly data?: readonly string[];
};

/** Shapes what the link sends, with a token bucket (tc-tbf). Rate in bit/s, burst in bytes. */
export type ShaperItem = {
  readonly kind: 'shaper';
  readonly link: string;
  readonly rate: number;
  readonly burst: number;
};
/** All that comes in by `link` is sent through `to` (an ifb), where a shaper can hold it back. */
export type RedirectItem = { readonly kind: 'redirect'; readonly link: string; readonly to: string };

/**
 * A commented jump or accept in a table that is not ours, for firewalls whose verdict cannot be overridden from our own
 * table (an accept here does not undo a drop there). `comment` finds it again.
 */
export type ForeignRuleItem = {
  readonly kind: 'foreign-rule';
  readonly family: 'ip' | 'ip6' | 'inet';
  readonly table: string;
  readonly chain: string;
  /** Rule text in nft syntax, without the comment. */
  readonly rule: string;
  readonly comment: string;
};

export type Item =
  | LinkItem
  | AddressItem
  | RouteItem
  | RuleItem
  | NeighborItem
  | ProxyItem
  | FdbItem
  | StationItem
  | FouPortItem
  | WireguardPeerItem
  | EspPortItem
  | XfrmStateItem
  | XfrmPolicyItem
  | TunnelItem
  | TunnelPeerItem
  | SysctlItem
  | NftTableItem
  | NftElementItem
  | ShaperItem
  | RedirectItem
  | ForeignRuleItem;

export type ItemKind = Item['kind'];
export type ItemKey = string;
export type HostState = ReadonlyMap<ItemKey, Item>;

type Identity = { readonly [K in ItemKind]: (item: Extract<Item, { kind: K }>) => string };

/** What makes an item that item and no other, by kind. */
const IDENTITY: Identity = {
  link: (item) => item.name,
  address: (item) => `${item.link} ${item.address}`,
  route: (item) => `${item.table} ${item.prefix} ${item.metric}`,
  rule: ({ from, iif, table, priority }) =>
    `${from} ${iif === undefined ? '' : `${iif} `}${table} ${priority}`,
  neighbor: (item) => `${item.link} ${item.address}`,
  proxy: (item) => `${item.link} ${item.address}`,
  fdb: ({ link, mac, remote }) => (isUnicastMac(mac) ? `${link} ${mac}` : `${link} ${mac} ${remote}`),
  station: (item) => `${item.link} ${item.mac}`,
  'fou-port': ({ local, port }) => `${local} ${port}`,
  'wireguard-peer': (item) => `${item.link} ${item.publicKey}`,
  'esp-port': ({ local, port }) => `${local} ${port}`,
  'xfrm-state': ({ destination, spi }) => `${destination} 0x${spi.toString(16)}`,
  'xfrm-policy': ({ direction, source, destination, protocol, port, ifId }) =>
    [direction, source, destination, protocol, port, ifId].join(' '),
  tunnel: (item) => item.link,
  'tunnel-peer': (item) => `${item.link} ${item.peer}`,
  sysctl: (item) => item.key,
  'nft-table': (item) => item.family,
  'nft-element': (item) => `${item.set} ${item.key.join(' . ')}`,
  shaper: (item) => item.link,
  redirect: (item) => item.link,
  'foreign-rule': (item) => `${item.family} ${item.table} ${item.chain} ${item.comment}`,
};

/** What an item is about, apart from how it should be: two items with one key cannot both be in a state. */
export function keyOf<K extends ItemKind>(item: Extract<Item, { kind: K }>): ItemKey {
  return `${item.kind} ${IDENTITY[item.kind](item)}`;
}

/** A state from its items; throws TypeError when two of them claim one key with different content. */
export function hostState(items: Iterable<Item>): Map<ItemKey, Item> {
  const state = new Map<ItemKey, Item>();
  for (const item of items) {
    const key = keyOf(item);
    const other = state.get(key);
    if (other !== undefined && !sameItem(other, item)) {
      throw new TypeError(`two items claim ${key}: ${JSON.stringify(other)} and ${JSON.stringify(item)}`);
    }
    state.set(key, item);
  }
  return state;
}

/** Equality by value, whatever the order of properties; absent and undefined are the same. */
export function sameItem(a: Item, b: Item): boolean {
  if (a === b) return true;
  const left = a as Readonly<Record<string, unknown>>;
  const right = b as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(left)) if (!sameValue(left[name], right[name])) return false;
  return Object.keys(right).every((name) => right[name] === undefined || left[name] !== undefined);
}

/**
 * Attributes that mean something by their absence: a wanted route without an MTU has none, a link of ours without a
 * master is no port. Every other attribute that a wanted item does not name is left as the kernel has it.
 */
const CLEARED: Partial<Record<ItemKind, readonly string[]>> = {
  route: ['link', 'via', 'onlink', 'source', 'mtu', 'advmss'],
  'xfrm-state': ['ifId', 'sourcePort', 'destinationPort'],
  'xfrm-policy': ['from', 'to', 'mode', 'spi'],
  link: ['master', 'guePort'],
};

function clearedOf(item: Item): readonly string[] {
  return item.kind === 'link' && item.type === 'foreign' ? [] : (CLEARED[item.kind] ?? []);
}

/** Attributes that the kernel does not tell. */
const UNSEEN: Partial<Record<ItemKind, readonly string[]>> = { 'xfrm-state': ['key'] };

/**
 * Whether the kernel's item is as the wanted one asks. So the kernel may show a MAC address that nobody asked for, and
 * that is no difference.
 */
export function satisfies(seen: Item, wanted: Item): boolean {
  if (seen === wanted) return true;
  if (seen.kind === 'link' && seen.down === true) return false;
  const left = seen as Readonly<Record<string, unknown>>;
  const right = wanted as Readonly<Record<string, unknown>>;
  const unseen = UNSEEN[wanted.kind] ?? [];
  for (const name of Object.keys(right)) {
    if (unseen.includes(name)) continue;
    if (right[name] !== undefined && !sameValue(left[name], right[name])) return false;
  }
  return clearedOf(wanted).every((name) => right[name] !== undefined || (left[name] ?? false) === false);
}

/** What the kernel has after it changed what was there into what is wanted. */
export function changedItem<T extends Item>(was: Item | undefined, wanted: T): T {
  const left = { ...was } as Record<string, unknown>;
  for (const name of clearedOf(wanted)) delete left[name];
  return { ...left, ...wanted };
}

function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  return a.every((value, index) => value === b[index]);
}
