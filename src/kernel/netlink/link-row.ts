/** Links as the kernel tells them, and what they are in the model. */
import { addressFromBytes } from '#net/address.ts';
import type { LinkItem } from '#model/host.ts';
import { IFB_PREFIX, LINK_ALIAS, POD_LINK_PREFIX, REAPER_GROUP, UDP_TUNNEL } from '#model/numbers.ts';
import { type Mac, macFromBytes } from '#net/mac.ts';
import { BRPORT, IFF, IFLA, INFO, LINK_HEADER, PORT_FLAGS, VXLAN_ATTRIBUTE, XFRM_IF_ID } from './link.ts';
import { Attributes, type Message } from './message.ts';
import { isTunnelKind, readTunnel, type TunnelRow } from './tunnel.ts';

/** References to other links are indices. */
export type LinkRow = {
  readonly index: number;
  readonly name: string;
  /** IFLA_INFO_KIND; undefined for hardware and lo. */
  readonly kind: string | undefined;
  readonly ours: boolean;
  readonly flags: number;
  readonly mtu: number;
  readonly mac: Mac | undefined;
  readonly master: number | undefined;
  /** IFLA_LINK: of a veth its peer, in the peer's namespace. */
  readonly link: number | undefined;
  /** Number, in the asked namespace, of the one that `link` is in; undefined: the same. */
  readonly linkNetns: number | undefined;
  /** Undefined: the link is no port of a bridge. */
  readonly port: PortRow | undefined;
  readonly vxlan: VxlanRow | undefined;
  readonly tunnel: TunnelRow | undefined;
  /** Number of a device of IPsec. */
  readonly ifId: number | undefined;
};
type PortRow = { readonly [Flag in keyof typeof BRPORT]?: boolean };
type VxlanRow = {
  readonly vni: number;
  readonly port: number;
  readonly local: ReturnType<typeof addressFromBytes> | undefined;
  readonly parent: number;
  readonly learning: boolean;
  readonly gbp: boolean;
};

const POD_LINK = new RegExp(`^(?:${POD_LINK_PREFIX}|${IFB_PREFIX})[0-9a-f]{11}$`);
const GROUPS = 0x1_0000;

export function readLink({ bytes, at, end }: Message): LinkRow {
  const attributes = new Attributes(bytes, at + LINK_HEADER, end);
  const name = attributes.str(IFLA.name) ?? '';
  const mac = attributes.data(IFLA.address);
  const info = attributes.nest(IFLA.info);
  const kind = info?.str(INFO.kind);
  const port = info?.str(INFO.slaveKind) === 'bridge' ? info.nest(INFO.slaveData) : undefined;
  return {
    index: bytes.readInt32LE(at + 4),
    name,
    kind,
    ours: isOurs(name, kind, attributes),
    flags: bytes.readUInt32LE(at + 8),
    mtu: attributes.u32(IFLA.mtu) ?? 0,
    mac: mac?.length === 6 ? macFromBytes(mac) : undefined,
    master: attributes.u32(IFLA.master),
    link: attributes.u32(IFLA.link),
    linkNetns: attributes.u32(IFLA.linkNetns),
    port: port === undefined ? undefined : readPort(port),
    ...readData(kind, info),
  };
}

function readData(
  kind: string | undefined,
  info: Attributes | undefined,
): Pick<LinkRow, 'vxlan' | 'tunnel' | 'ifId'> {
  return {
    vxlan: kind === 'vxlan' ? readVxlan(info?.nest(INFO.data)) : undefined,
    tunnel: isTunnelKind(kind) ? readTunnel(kind, info?.nest(INFO.data)) : undefined,
    ifId: kind === 'xfrm' ? info?.nest(INFO.data)?.u32(XFRM_IF_ID) : undefined,
  };
}

function isOurs(name: string, kind: string | undefined, attributes: Attributes): boolean {
  if (attributes.str(IFLA.alias) === LINK_ALIAS) return true;
  if ((kind === 'veth' || kind === 'ifb') && POD_LINK.test(name)) return true;
  // Made by an ioctl that gives it no alias.
  if (kind === 'tun' && name === UDP_TUNNEL.link) return true;
  const group = attributes.u32(IFLA.group) ?? 0;
  return group >= REAPER_GROUP && group < REAPER_GROUP + GROUPS;
}

function readPort(port: Attributes): PortRow {
  const told = PORT_FLAGS.map((name) => [name, port.u8(BRPORT[name])] as const);
  return Object.fromEntries(
    told.flatMap(([name, value]) => (value === undefined ? [] : [[name, value !== 0]])),
  );
}

function readVxlan(data: Attributes | undefined): VxlanRow | undefined {
  if (data === undefined) return undefined;
  const local = data.data(VXLAN_ATTRIBUTE.local) ?? data.data(VXLAN_ATTRIBUTE.local6);
  return {
    vni: data.u32(VXLAN_ATTRIBUTE.id) ?? 0,
    port: data.u16be(VXLAN_ATTRIBUTE.port) ?? 0,
    local: local === undefined ? undefined : addressFromBytes(local),
    parent: data.u32(VXLAN_ATTRIBUTE.link) ?? 0,
    learning: data.u8(VXLAN_ATTRIBUTE.learning) === 1,
    gbp: data.has(VXLAN_ATTRIBUTE.gbp),
  };
}

export function isUp(row: LinkRow): boolean {
  return (row.flags & IFF.up) !== 0;
}

/** What cannot be told by the row alone. */
export type LinkContext = {
  /** Name of a link by index. */
  name(index: number): string | undefined;
  txChecksumOffload(name: string): boolean | undefined;
  wireguard(name: string): { readonly publicKey: string; readonly port: number } | undefined;
};

/** The model's item; a link of ours whose type we never make shows as `foreign`. */
export function linkItem(row: LinkRow, context: LinkContext): LinkItem {
  const common = { ...commonOf(row, context), ...row.port };
  if (!row.ours) return { ...common, type: 'foreign' };
  if (row.vxlan !== undefined) return vxlanItem(common, row.vxlan, context);
  if (row.tunnel !== undefined) return tunnelItem(common, row.tunnel, context);
  if (row.ifId !== undefined) return { ...common, type: 'xfrm', ifId: row.ifId };
  if (row.kind === 'wireguard') {
    return { ...common, type: 'wireguard', publicKey: '', port: 0, ...context.wireguard(row.name) };
  }
  if (row.kind === 'bridge' || row.kind === 'veth' || row.kind === 'ifb' || row.kind === 'tun') {
    return { ...common, type: row.kind };
  }
  return { ...common, type: 'foreign' };
}

function commonOf(row: LinkRow, context: LinkContext): Common {
  const master = row.master === undefined ? undefined : context.name(row.master);
  return {
    kind: 'link',
    name: row.name,
    mtu: row.mtu,
    promiscuous: (row.flags & IFF.promiscuous) !== 0,
    ...(isUp(row) ? {} : { down: true }),
    ...(row.mac === undefined ? {} : { mac: row.mac }),
    ...(master === undefined ? {} : { master }),
  };
}

type Common = Omit<Extract<LinkItem, { type: 'foreign' }>, 'type'>;

function tunnelItem(common: Common, { parent, ...tunnel }: TunnelRow, context: LinkContext): LinkItem {
  const name = parent === undefined ? undefined : context.name(parent);
  return { ...common, ...tunnel, ...(name === undefined ? {} : { parent: name }) };
}

function vxlanItem(common: Common, vxlan: VxlanRow, context: LinkContext): LinkItem {
  const { local, parent, ...rest } = vxlan;
  const offload = context.txChecksumOffload(common.name);
  // A device made by hand without a source shows as one with another source: it is made anew.
  return {
    ...common,
    ...rest,
    type: 'vxlan',
    local: local ?? addressFromBytes(new Uint8Array(4)),
    parent: context.name(parent) ?? '',
    ...(offload === undefined ? {} : { txChecksumOffload: offload }),
  };
}
