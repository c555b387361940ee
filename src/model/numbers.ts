/**
 * Every number and name by which Tartan marks what it owns in a kernel shared with others, in one place.
 * Changing one of these orphans the state of running hosts: observe and remove under the old value first.
 */

import type { Family } from '#net/address.ts';
import type { RoadName, TunnelCipher } from './settings.ts';

/** rtnetlink `rtm_protocol` of our routes (include/uapi/linux/rtnetlink.h; 84 is not assigned there). */
export const ROUTE_PROTOCOL = 84;
/** rtnetlink main table. */
export const MAIN_TABLE = 254;
/** Route metrics: smaller wins. Room between them is for live switching from one road to another. */
export const METRIC = { pod: 32, peer: 512, learned: 544, blackhole: 4096 } as const;
/** rtm_protocol of routes that BIRD writes (`RTPROT_BIRD`). They are its alone: we only look at them. */
export const BIRD_ROUTE_PROTOCOL = 12;

/**
 * A second interface of a pod: packets from its addresses are routed by a table of its own, in the pod's namespace. The
 * table's number is `table` + a hash of the interface's name below 0x10000.
 */
export const POD_RULE = { priority: 31_000, table: 0x7474_0000 } as const;

/**
 * Isolated bridge ports: what comes in by the bridge for a pod is routed to its port itself, by a table of its own. By way
 * of the bridge, br_netfilter would bridge it where its destination was translated, and isolation drop it.
 */
export const PORT_RULE = { priority: 31_100, table: 0x7473_0000 } as const;

/** Host ends of pod veth pairs: prefix + 11 hexadecimal digits (15 characters is the kernel's limit). */
export const POD_LINK_PREFIX = 'tt';
/** Intermediate functional blocks that shape what a pod sends: prefix + the same 11 digits. */
export const IFB_PREFIX = 'ti';
/** Tunnels to one peer each: prefix + 9 hexadecimal digits. */
export const TUNNEL_PREFIX = 'tartan';
/** A device that is made and taken away again, to see what the kernel has. */
export const TRIAL_LINK = 'tartan.try';
/** IFLA_IFALIAS of every other link that we made: only links that carry it are ever changed or deleted. */
export const LINK_ALIAS = 'tartan';
/** IFLA_GROUP base from which groups for deleting many links at once are taken. */
export const REAPER_GROUP = 0x7a_0000;

/** The nftables table, in the families `inet` and `bridge`. */
export const NFT_TABLE = 'tartan';

/**
 * Firewall mark bits. kube-proxy uses 0x4000 (masquerade) and 0x8000 (drop), Calico 0xffff0000 by default, Weave
 * 0x20000; ours is one bit below them.
 */
export const MARK = {
  hostPortMasquerade: 0x0000_2000,
  /** Allowed by a host endpoint's untracked or pre-DNAT policy: the rest of its policies is not asked. */
  hostAllowed: 0x0000_0800,
} as const;
/** Bits of connections' marks: `cut` is on those that policies allowed once and deny now. */
export const CONNECTION_MARK = { cut: 0x0000_1000 } as const;
/** kube-proxy's masquerade mark: such packets are left to kube-proxy. */
export const KUBE_PROXY_MASQUERADE_MARK = 0x4000;

export const WIREGUARD = { port: 51_820, link: 'tartan.wg' } as const;
/**
 * IPsec: the device and its number; what marks states (`reqid`) and policies (priority) as ours. All packets of a policy
 * that seals are asked for before those of one that drops the rest.
 */
export const XFRM = {
  link: 'tartan.esp',
  ifId: 0x7461_7274,
  requestId: 0x7461_7274,
  priority: { seal: 0x7461_7274, block: 0x7461_7275 },
  port: 4500,
} as const;
/** flannel's port of its backend udp. */
export const UDP_TUNNEL = { port: 8285, link: 'tartan.udp' } as const;
export const VXLAN = { vni: 1, port: 8472 } as const;
/** Another VNI than the road vxlan has: both may stand at once. */
export const LAYER2 = { vni: 2, port: 8472 } as const;
/** kube-router's. */
export const FOU = { port: 5555 } as const;

/** IANA protocol numbers: IPv4 in IP, IPv6 in IP, GRE, IPsec's ESP. */
export const ENCAPSULATION = { 4: 4, 6: 41, gre: 47, esp: 50 } as const;

/** Of the userspace tunnel: outer header, 8 UDP, 24 of its frame (src/tunnel/frame.ts), 16 of a tag. */
export const TUNNEL_OVERHEAD = {
  plain: { 4: 52, 6: 72 },
  'aes-256-gcm': { 4: 68, 6: 88 },
  'chacha20-poly1305': { 4: 68, 6: 88 },
} as const satisfies Record<TunnelCipher, Record<Family, number>>;

/** Bytes that a carrier adds in front of the inner IP packet, by family of the outer packet. */
export const OVERHEAD = {
  /** Outer Ethernet is not counted, the inner one is: 20 or 40 IP + 8 UDP + 8 VXLAN + 14 Ethernet (RFC 7348). */
  vxlan: { 4: 50, 6: 70 },
  /** The outer header alone (RFC 2003, RFC 4213, RFC 2473 without options). */
  ipip: { 4: 20, 6: 40 },
  /** The outer header and GRE's 4 bytes (RFC 2784: no key, no checksum). */
  gre: { 4: 24, 6: 44 },
  /** Those of ipip, 8 UDP and 4 of GUE (draft-ietf-intarea-gue section 3). */
  fou: { 4: 32, 6: 52 },
  layer2: { 4: 50, 6: 70 },
  /** Outer header, 8 UDP, 16 of the message and 16 of its tag (the WireGuard paper, section 5.4.6). */
  wireguard: { 4: 60, 6: 80 },
  /** At least: outer header, 8 UDP, 8 and 2 of ESP, 8 of its IV, 16 of its tag. Padding takes up to 3 more. */
  ipsec: { 4: 62, 6: 82 },
  /** At most. */
  udp: TUNNEL_OVERHEAD['aes-256-gcm'],
  bgp: { 4: 0, 6: 0 },
  'bgp-ipip': { 4: 20, 6: 40 },
  'host-gw': { 4: 0, 6: 0 },
  alloc: { 4: 0, 6: 0 },
} as const satisfies Record<RoadName, Record<Family, number>>;

/** Smallest MTU an IPv6 link may have (RFC 8200 section 5). */
export const MIN_IPV6_MTU = 1280;

/** Next hop that routed pods see: never on any link for IPv4, answered by proxy ARP or a permanent neighbour. */
export const POD_GATEWAY = { 4: '169.254.1.1', 6: 'fe80::1' } as const;
/** MAC of every routed pod's host end, so that a pod's permanent neighbour never goes stale. */
export const POD_GATEWAY_MAC = 'ee:ee:ee:ee:ee:ee';
