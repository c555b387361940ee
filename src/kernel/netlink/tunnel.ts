/**
 * IP in IP and GRE devices over rtnetlink (include/uapi/linux/if_tunnel.h). What the five kinds share has one name here;
 * their numbers differ. IPv4's kinds have a TOS whose lowest bit says `inherit`, IPv6's a flag beside the traffic class.
 * Each may wrap its packets in UDP with a header that tells what is inside (GUE, draft-ietf-intarea-gue, variant 0).
 */
import type { TunnelLink } from '#model/host.ts';
import { type Address, addressFromBytes } from '#net/address.ts';
import type { Attributes, MessageWriter } from './message.ts';
import type { LinkNames } from './names.ts';

type Kind = TunnelLink['type'];

/** IFLA_IPTUN_ of ipip, sit and ip6tnl; IFLA_GRE_ of the others. */
// prettier-ignore
const IPTUN = { link: 1, local: 2, remote: 3, ttl: 4, tos: 5, flowInfo: 7, flags: 8, proto: 9, pmtuDiscovery: 10, encap: 15 };
// prettier-ignore
const GRE = { link: 1, local: 6, remote: 7, ttl: 8, tos: 9, flowInfo: 12, flags: 13, proto: 0, pmtuDiscovery: 10, encap: 14 };
/** From `encap` on, in both enumerations. */
const ENCAP = { type: 0, flags: 1, sourcePort: 2, port: 3 } as const;
const TUNNEL_ENCAP_GUE = 2;
/** A UDP checksum over IPv6, which may not do without (RFC 8200 section 8.1). */
const TUNNEL_ENCAP_FLAG_CSUM6 = 2;

type Way = {
  readonly at: typeof GRE;
  readonly six: boolean;
  /** What the device carries (IPPROTO_; 0: both families). sit and ip6tnl carry several, and ask. */
  readonly proto?: number;
};
const WAYS: Readonly<Record<Kind, Way>> = {
  ipip: { at: IPTUN, six: false, proto: 4 },
  sit: { at: IPTUN, six: false, proto: 41 },
  ip6tnl: { at: IPTUN, six: true, proto: 0 },
  gre: { at: GRE, six: false },
  ip6gre: { at: GRE, six: true },
};

const TOS_INHERIT = 1;
/** include/uapi/linux/ip6_tunnel.h. Without the first every packet would carry 8 bytes of options (RFC 2473, 4.1.1). */
const IP6_TNL_F_IGN_ENCAP_LIMIT = 0x1;
const IP6_TNL_F_USE_ORIG_TCLASS = 0x2;
const TCLASS_SHIFT = 20;

/** `parent` is an index. */
export type TunnelRow = Pick<TunnelLink, 'type' | 'local' | 'remote' | 'ttl' | 'tos' | 'guePort'> & {
  readonly parent?: number;
};

export function isTunnelKind(kind: string | undefined): kind is Kind {
  return kind !== undefined && Object.hasOwn(WAYS, kind);
}

/** The attributes within IFLA_INFO_DATA. */
export function putTunnel(writer: MessageWriter, item: TunnelLink, names: LinkNames): void {
  const { at, six, proto } = WAYS[item.type];
  const { tos } = item;
  if (item.parent !== undefined) writer.u32(at.link, names.index(item.parent));
  if (item.guePort !== undefined) putEncap(writer, at, { six, port: item.guePort });
  writer.address(at.local, item.local);
  writer.address(at.remote, item.remote);
  writer.u8(at.ttl, item.ttl);
  if (proto !== undefined) writer.u8(at.proto, proto);
  if (six) {
    writer.u32(at.flags, IP6_TNL_F_IGN_ENCAP_LIMIT | (tos === 'inherit' ? IP6_TNL_F_USE_ORIG_TCLASS : 0));
    writer.u32be(at.flowInfo, tos === 'inherit' ? 0 : tos << TCLASS_SHIFT);
    return;
  }
  writer.u8(at.tos, tos === 'inherit' ? TOS_INHERIT : tos);
  writer.u8(at.pmtuDiscovery, 1);
}

/** The source port is chosen by flow, so that links in parallel share the load. */
function putEncap(writer: MessageWriter, at: typeof GRE, to: { six: boolean; port: number }): void {
  writer.u16(at.encap + ENCAP.type, TUNNEL_ENCAP_GUE);
  writer.u16(at.encap + ENCAP.flags, to.six ? TUNNEL_ENCAP_FLAG_CSUM6 : 0);
  writer.u16be(at.encap + ENCAP.sourcePort, 0);
  writer.u16be(at.encap + ENCAP.port, to.port);
}

/** Without addresses (a device made by hand may have none) they read as unspecified, which nobody wants. */
export function readTunnel(type: Kind, data: Attributes | undefined): TunnelRow {
  const { at, six } = WAYS[type];
  const address = (number: number): Address =>
    addressFromBytes(data?.data(number) ?? new Uint8Array(six ? 16 : 4));
  return {
    type,
    local: address(at.local),
    remote: address(at.remote),
    ttl: data?.u8(at.ttl) ?? 0,
    tos: readTos(type, data),
    ...readOptions(type, data),
  };
}

function readOptions(type: Kind, data: Attributes | undefined): Pick<TunnelRow, 'parent' | 'guePort'> {
  const { at } = WAYS[type];
  const parent = data?.u32(at.link) ?? 0;
  const gue = data?.u16(at.encap + ENCAP.type) === TUNNEL_ENCAP_GUE;
  return {
    ...(parent === 0 ? {} : { parent }),
    ...(gue ? { guePort: data?.u16be(at.encap + ENCAP.port) ?? 0 } : {}),
  };
}

function readTos(type: Kind, data: Attributes | undefined): TunnelRow['tos'] {
  const { at, six } = WAYS[type];
  if (!six) {
    const tos = data?.u8(at.tos) ?? 0;
    return tos === TOS_INHERIT ? 'inherit' : tos;
  }
  if (((data?.u32(at.flags) ?? 0) & IP6_TNL_F_USE_ORIG_TCLASS) !== 0) return 'inherit';
  return ((data?.u32be(at.flowInfo) ?? 0) >>> TCLASS_SHIFT) & 0xff;
}
