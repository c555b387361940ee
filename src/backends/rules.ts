/**
 * Our nftables tables as text: structure only, the elements are items of their own. The tables protect (spoofed
 * sources, forged tunnel packets) and translate (masquerade, host ports). They accept nothing, as an accept would end only
 * this table; ./foreign.ts deals with other programs' chains that drop.
 */
import { KUBE_PROXY_MASQUERADE_MARK, MARK, POD_LINK_PREFIX } from '#model/numbers.ts';
import { declareSet, NFT_SETS, type NftSetName } from '#model/nft-sets.ts';
import { FAMILIES, type Family } from '#net/address.ts';
import type { Mac } from '#net/mac.ts';
import { families } from '#net/per-family.ts';
import { nthAddress, type Prefix, prefixFamily } from '#net/prefix.ts';
import { hasBridge, type Self, takesBlocks } from './backend.ts';
import { hasSegment, outerPackets, segmentPorts, unsealedPackets } from './ways.ts';

/** How a family is written in nft. */
const WORDS = {
  4: { ip: 'ip', everybody: '{ 224.0.0.0/4, 255.255.255.255 }' },
  6: { ip: 'ip6', everybody: 'ff00::/8' },
} as const;

const PODS = `iifname "${POD_LINK_PREFIX}*"`;
const NOT_TO_LOOPBACK = 'ip daddr 127.0.0.0/8 counter drop';
const NOT_FROM_LOOPBACK = 'ip saddr 127.0.0.0/8 counter drop';
const HOSTPORT = `0x${MARK.hostPortMasquerade.toString(16)}`;
const NOT_HOSTPORT = `0x${(~MARK.hostPortMasquerade >>> 0).toString(16)}`;
const KUBE_MARK = `0x${KUBE_PROXY_MASQUERADE_MARK.toString(16)}`;

/** Neither a pod of this node nor the node itself. */
const NOT_HERE = {
  from: `iifname != "${POD_LINK_PREFIX}*" iifname != "lo"`,
  to: `oifname != "${POD_LINK_PREFIX}*" oifname != "lo"`,
} as const;

const GUARD = 'filter hook prerouting priority filter';

/** Neighbour discovery and multicast listener reports (RFC 4861, RFC 2710, RFC 3810): an IPv6 host is deaf without. */
const LINK_LOCAL_TALK =
  'icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld2-listener-report }';
/** What a host says before it has an address: duplicate address detection and its listener report. */
const UNSPECIFIED_TALK = 'icmpv6 type { nd-neighbor-solicit, mld-listener-report, mld2-listener-report }';

/** `subnet`: of this node's pods alone; absent where they have addresses of blocks, which are not in the rules. */
type Scope = { readonly family: Family; readonly range: Prefix; readonly subnet?: Prefix };

function chain(name: string, rules: readonly string[]): string {
  return `chain ${name} {\n${rules.map((rule) => `  ${rule}\n`).join('')}}`;
}
function baseChain(name: string, hook: string, rules: readonly string[]): string {
  return chain(name, [`type ${hook}; policy accept;`, ...rules]);
}
/** None where it would have no rules. */
function chainOf(name: string, hook: string, rules: readonly string[]): string[] {
  return rules.length === 0 ? [] : [baseChain(name, hook, rules)];
}
function sets(family: 'inet' | 'bridge'): string[] {
  return (Object.keys(NFT_SETS) as NftSetName[])
    .filter((name) => NFT_SETS[name].family === family)
    .map(declareSet);
}
/** Links by which packets of pods come in. */
function podLinks(self: Self): string[] {
  const { bridge } = self.settings.wiring;
  return hasBridge(self) ? [PODS, `iifname "${bridge.name}"`] : [PODS];
}
function scopes(self: Self): Scope[] {
  return families(self.subnets).map((family) => {
    const subnet = self.subnets[family] as Prefix;
    const range = self.settings.network.subnets[family]?.range ?? subnet;
    return takesBlocks(self) ? { family, range } : { family, range, subnet };
  });
}

/** Body of `table inet tartan`. Every packet of every pod passes these chains: what can be asked once is asked once. */
export function inetRules(self: Self): string {
  const { type, bridge, dropSpoofed } = self.settings.wiring;
  const bridges = type === 'bridge' ? [`iifname "${bridge.name}"`] : [];
  return [
    ...sets('inet'),
    chain('frompod', [NOT_TO_LOOPBACK, ...(dropSpoofed ? podSource() : [NOT_FROM_LOOPBACK])]),
    ...bridges.map(() => chain('frombridge', [NOT_TO_LOOPBACK, NOT_FROM_LOOPBACK])),
    chain('tunnel', tunnelGuard(self)),
    chain('hostports', hostPorts(self)),
    baseChain('guard', 'filter hook prerouting priority raw', [
      ...plainText(self, 'from'),
      ...untracked(self),
      `${PODS} goto frompod`,
      ...bridges.map((from) => `${from} goto frombridge`),
    ]),
    ...chainOf('rawoutput', 'filter hook output priority raw', untracked(self)),
    baseChain('input', 'filter hook input priority filter', [...toTunnel(self), ...encapsulated(self)]),
    baseChain('forward', 'filter hook forward priority filter', [
      ...toTunnel(self),
      ...plainText(self, 'to'),
    ]),
    ...chainOf('sealed', 'filter hook output priority filter', plainText(self, 'to')),
    ...chainOf('redirects', 'filter hook output priority filter', redirects(self)),
    baseChain('prerouting', 'nat hook prerouting priority dstnat', ['fib daddr type local jump hostports']),
    baseChain('output', 'nat hook output priority -100', ['fib daddr type local jump hostports']),
    baseChain('postrouting', 'nat hook postrouting priority srcnat', postrouting(self)),
  ].join('\n');
}

/** A routed pod may use its own addresses only; of 127.0.0.0/8 it has none. */
function podSource(): string[] {
  return [
    'iifname . ip saddr @podsources4 return',
    'iifname . ip6 saddr @podsources6 return',
    `ip6 saddr fe80::/10 ${LINK_LOCAL_TALK} return`,
    `ip6 saddr :: ${UNSPECIFIED_TALK} return`,
    'counter drop',
  ];
}

/** Pods never send what tunnels carry: masqueraded, such a packet would come from a known node. */
function tunnelGuard(self: Self): string[] {
  if (outerPackets(self).length === 0) return [];
  const bySource = scopes(self).map(
    ({ family, range, subnet = range }) => `${WORDS[family].ip} saddr ${subnet}`,
  );
  return [...podLinks(self), ...bySource].map((from) => `${from} counter drop`);
}

/** One comparison for all packets that are not a tunnel's. */
function toTunnel(self: Self): string[] {
  return outerPackets(self).map(({ any }) => `${any} jump tunnel`);
}

/** Our tunnels' packets: connection tracking would look at every packet twice, and has nothing to say of these. */
function untracked(self: Self): string[] {
  return outerPackets(self).map(({ own }) => `${own} notrack`);
}

/** Packets from or to pods of other nodes that were not sealed, or will not be, where the settings ask for it. */
function plainText(self: Self, side: 'from' | 'to'): string[] {
  const unsealed = unsealedPackets(self).map((match) => match[side]);
  if (unsealed.length === 0) return [];
  const field = side === 'from' ? 'saddr' : 'daddr';
  return scopes(self).map(({ family, range, subnet }) => {
    const { ip } = WORDS[family];
    const others = subnet === undefined ? NOT_HERE[side] : `${ip} ${field} != ${subnet}`;
    return `${unsealed.join(' ')} ${ip} ${field} ${range} ${others} counter drop`;
  });
}

/** Our tunnels' packets only from known peers. */
function encapsulated(self: Self): string[] {
  return outerPackets(self).flatMap(({ own }) =>
    FAMILIES.map((family) => `${own} ${WORDS[family].ip} saddr != @peers${family} counter drop`),
  );
}

/**
 * The mark asks for masquerade where the answer would otherwise not come back through here: a pod of this node (itself,
 * or a neighbour on the bridge) and 127.0.0.1. It is taken off again when no mapping matched. ::1 cannot be routed.
 */
function hostPorts(self: Self): string[] {
  const local = takesBlocks(self)
    ? podLinks(self)
    : scopes(self).map(({ family, subnet, range }) => `${WORDS[family].ip} saddr ${subnet ?? range}`);
  return [
    ...[...local, 'ip saddr 127.0.0.0/8'].map((from) => `${from} meta mark set meta mark | ${HOSTPORT}`),
    'dnat ip to ip daddr . meta l4proto . th dport map @hostipports4',
    'dnat ip to meta l4proto . th dport map @hostports4',
    'ip6 daddr ::1 return',
    'dnat ip6 to ip6 daddr . meta l4proto . th dport map @hostipports6',
    'dnat ip6 to meta l4proto . th dport map @hostports6',
    `meta mark set meta mark & ${NOT_HOSTPORT}`,
  ];
}

function postrouting(self: Self): string[] {
  const { enabled, randomFully } = self.settings.masquerade;
  const action = randomFully ? 'counter masquerade fully-random' : 'counter masquerade';
  return [
    `meta mark & ${KUBE_MARK} == ${KUBE_MARK} return`,
    `meta mark & ${HOSTPORT} == ${HOSTPORT} ct status dnat ${action}`,
    ...(enabled ? scopes(self).flatMap((scope) => masquerade(self, scope, action)) : []),
  ];
}

/**
 * flannel's order (pkg/trafficmngr): pods among themselves and packets routed straight to this node's pods keep their
 * source; what pods send elsewhere, and what the node sends to other nodes' pods, is masqueraded.
 */
function masquerade(self: Self, { family, range, subnet }: Scope, action: string): string[] {
  const { ip, everybody } = WORDS[family];
  if (subnet === undefined) return masqueradeOutside(self, { family, range }, action);
  const kept = self.settings.masquerade.exclude.filter((prefix) => prefixFamily(prefix) === family);
  return [
    `${ip} saddr ${subnet} ${ip} daddr ${range} return`,
    `${ip} saddr ${range} ${ip} daddr ${subnet} return`,
    `${ip} saddr != ${range} ${ip} daddr ${subnet} return`,
    ...kept.map((prefix) => `${ip} saddr ${range} ${ip} daddr ${prefix} return`),
    `${ip} saddr ${range} fib daddr type local return`,
    `${ip} saddr ${range} ${ip} daddr != ${everybody} ${action}`,
    `${ip} saddr != ${range} ${ip} daddr ${range} ${action}`,
  ];
}

/** Calico's way: what pods send to other than pods and nodes' own ends of tunnels is masqueraded, and nothing else is. */
function masqueradeOutside(self: Self, { family, range }: Scope, action: string): string[] {
  const { ip, everybody } = WORDS[family];
  const kept = self.settings.masquerade.exclude.filter((prefix) => prefixFamily(prefix) === family);
  return [
    ...[range, ...kept].map((prefix) => `${ip} saddr ${range} ${ip} daddr ${prefix} return`),
    `${ip} saddr ${range} fib daddr type local return`,
    `${ip} saddr ${range} ${ip} daddr != ${everybody} ${action}`,
  ];
}

/** Body of `table bridge tartan`, for pods that are ports of a bridge whose MAC address is `mac`. */
export function bridgeRules(self: Self, mac: Mac): string {
  const { wiring, policy } = self.settings;
  const guard = [...fromSegment(self), ...(wiring.dropSpoofed ? [`${PODS} jump portsource`] : [])];
  return [
    ...sets('bridge'),
    chain('advert', neighborAdvert()),
    chain('portsource', portSource()),
    ...(policy.enforce
      ? isolation(guard, mac)
      : [
          baseChain('guard', GUARD, guard),
          baseChain('output', 'filter hook output priority filter', deduplication(self, mac)),
        ]),
  ].join('\n');
}

/**
 * A pod from before the segment asks its gateway, which would send it straight to the other pod (RFC 792, RFC 4861 section 8): it
 * would go on there for minutes after the segment has gone.
 */
function redirects(self: Self): string[] {
  if (!hasSegment(self)) return [];
  const to = `oifname "${self.settings.wiring.bridge.name}"`;
  return [`${to} icmp type redirect counter drop`, `${to} icmpv6 type nd-redirect counter drop`];
}

/** By the segment comes nothing that claims to be of this node. */
function fromSegment(self: Self): string[] {
  const ports = segmentPorts(self).map((link) => `iifname "${link}"`);
  return ports.flatMap((port) =>
    scopes(self).flatMap(({ family, subnet = [] }) =>
      [subnet]
        .flat()
        .flatMap((own) => [
          `${port} ${WORDS[family].ip} saddr ${own} counter drop`,
          ...(family === 4 ? [`${port} arp saddr ip ${own} counter drop`] : []),
        ]),
    ),
  );
}

/**
 * Pods of an isolated bridge reach each other by way of the host, or not at all. A pod that still knows another's MAC
 * address from before is led there too. The bridge answers for every pod, but must not answer a pod for its own address:
 * that would tell it of a duplicate (RFC 4862 section 5.4, RFC 5227).
 */
function isolation(guard: readonly string[], mac: Mac): string[] {
  return [
    // For a set, the target takes the source's place, as above; which was none, and is put back.
    chain('probe', [
      'ip6 saddr set @th,64,128 iifname . ether saddr . ip6 saddr @portsources6 drop',
      'ip6 saddr set ::',
    ]),
    baseChain('guard', GUARD, [
      ...guard,
      `${PODS} ether type { ip, ip6 } ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 ether daddr != ${mac} ether daddr set ${mac} meta pkttype set host`,
    ]),
    baseChain('input', 'filter hook input priority filter', [
      'iifname . ether saddr . arp daddr ip @portsources4 drop',
      `${PODS} ip6 saddr :: icmpv6 type nd-neighbor-solicit jump probe`,
    ]),
    baseChain('forward', 'filter hook forward priority filter', [
      `${PODS} oifname "${POD_LINK_PREFIX}*" counter drop`,
    ]),
  ];
}

function deduplication(self: Self, mac: Mac): string[] {
  if (self.settings.wiring.bridge.hairpin !== 'promiscuous-bridge') return [];
  return scopes(self).flatMap((scope) => deduplicate(scope, mac));
}

/** A bridged pod may use its own MAC and addresses only, in ARP too (sender fields; probes of RFC 5227 have none). */
function portSource(): string[] {
  return [
    'iifname . ether saddr . ip saddr @portsources4 return',
    'iifname . ether saddr . arp saddr ip @portsources4 iifname . arp saddr ether . arp saddr ip @portsources4 return',
    'arp saddr ip 0.0.0.0 arp operation request return',
    'icmpv6 type nd-neighbor-advert jump advert',
    'iifname . ether saddr . ip6 saddr @portsources6 return',
    `ip6 saddr fe80::/10 ${LINK_LOCAL_TALK} return`,
    `ip6 saddr :: ${UNSPECIFIED_TALK} return`,
    'counter drop',
  ];
}

/**
 * An advertisement may speak of its sender's addresses only, or others' traffic would follow it. nft compares a field with
 * constants and sets alone, and this one (ICMPv6 after 8 bytes, RFC 4861 section 4.4) has no name before nft 1.0.7: so the
 * target is put in the place of the source address, which is the same in an honest advertisement, and looked up there.
 * Link-local targets, which nothing is routed by, are let through.
 */
function neighborAdvert(): string[] {
  return [
    'ip6 saddr != fe80::/10 iifname . ether saddr . ip6 saddr != @portsources6 counter drop',
    '@th,64,16 & 0xffc0 == 0xfe80 return',
    'ip6 saddr set @th,64,128 iifname . ether saddr . ip6 saddr @portsources6 return',
    'counter drop',
  ];
}

/**
 * kubenet's KUBE-DEDUP: a promiscuous bridge takes in a frame between two of its ports and would send it out a second
 * time with its own MAC; what the gateway itself sends stays.
 */
function deduplicate({ family, range, subnet = range }: Scope, mac: Mac): string[] {
  const { ip } = WORDS[family];
  const pods = `oifname "${POD_LINK_PREFIX}*"`;
  return [
    `${pods} ether saddr ${mac} ${ip} saddr ${nthAddress(subnet, 1n)} accept`,
    `${pods} ether saddr ${mac} ${ip} saddr ${subnet} counter drop`,
  ];
}
