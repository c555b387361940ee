/**
 * Permanent neighbours, forwarding entries of VXLAN devices and stations of bridges over rtnetlink
 * (include/uapi/linux/neighbour.h). A neighbour of ours carries NDA_PROTOCOL; the others are ours because their link is.
 */
import { type Address, addressFamily, addressFromBytes } from '#net/address.ts';
import type { FdbItem, NeighborItem, ProxyItem, StationItem } from '#model/host.ts';
import { ROUTE_PROTOCOL } from '#model/numbers.ts';
import { isUnicastMac, macFromBytes } from '#net/mac.ts';
import {
  Attributes,
  type Message,
  type MessageWriter,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_REPLACE,
} from './message.ts';
import type { LinkNames } from './names.ts';

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
export const RTM_GETNEIGH = 30;
export const AF_BRIDGE = 7;

const AF_INET = 2;
const AF_INET6 = 10;
const HEADER = 12;
const FLAGS_AT = 10;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_MASTER = 9;
const NDA_PROTOCOL = 12;
/** Of a bridge: static. What is permanent there belongs to the port itself. */
const NUD_NOARP = 0x40;
const NUD_PERMANENT = 0x80;
const NTF_SELF = 0x02;
const NTF_MASTER = 0x04;
const NTF_PROXY = 0x08;
const NTF_STICKY = 0x40;

// eslint-disable-next-line max-params
function header(
  writer: MessageWriter,
  family: number,
  index: number,
  flags: number,
  state = NUD_PERMANENT,
): void {
  writer.put8(family);
  writer.put8(0);
  writer.put16(0);
  writer.put32(index);
  writer.put16(state);
  writer.put8(flags);
  writer.put8(0);
}

function familyOf(item: NeighborItem | ProxyItem): number {
  return addressFamily(item.address) === 4 ? AF_INET : AF_INET6;
}

/** Adds the entry, or gives it this MAC. */
export function putNeighbor(writer: MessageWriter, item: NeighborItem, names: LinkNames): void {
  writer.begin(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  header(writer, familyOf(item), names.index(item.link), 0);
  writer.address(NDA_DST, item.address);
  writer.mac(NDA_LLADDR, item.mac);
  writer.u8(NDA_PROTOCOL, ROUTE_PROTOCOL);
  writer.end();
}

export function removeNeighbor(writer: MessageWriter, item: NeighborItem, names: LinkNames): void {
  writer.begin(RTM_DELNEIGH, 0);
  header(writer, familyOf(item), names.index(item.link), 0);
  writer.address(NDA_DST, item.address);
  writer.end();
}

/** Permanent: it stays while the link has no carrier, as a bridge without ports has none. */
export function putProxy(writer: MessageWriter, item: ProxyItem, names: LinkNames): void {
  writer.begin(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  header(writer, familyOf(item), names.index(item.link), NTF_PROXY);
  writer.address(NDA_DST, item.address);
  writer.u8(NDA_PROTOCOL, ROUTE_PROTOCOL);
  writer.end();
}

export function removeProxy(writer: MessageWriter, item: ProxyItem, names: LinkNames): void {
  writer.begin(RTM_DELNEIGH, 0);
  header(writer, familyOf(item), names.index(item.link), NTF_PROXY);
  writer.address(NDA_DST, item.address);
  writer.end();
}

/** Adds the entry, or points it at this remote. The kernel replaces only entries of one machine, the rest it appends. */
export function putFdb(writer: MessageWriter, item: FdbItem, names: LinkNames): void {
  const mode = isUnicastMac(item.mac) ? NLM_F_REPLACE : NLM_F_APPEND;
  writer.begin(RTM_NEWNEIGH, NLM_F_CREATE | mode);
  header(writer, AF_BRIDGE, names.index(item.link), NTF_SELF);
  writer.mac(NDA_LLADDR, item.mac);
  writer.address(NDA_DST, item.remote);
  writer.end();
}

export function removeFdb(writer: MessageWriter, item: FdbItem, names: LinkNames): void {
  writer.begin(RTM_DELNEIGH, 0);
  header(writer, AF_BRIDGE, names.index(item.link), NTF_SELF);
  writer.mac(NDA_LLADDR, item.mac);
  writer.address(NDA_DST, item.remote);
  writer.end();
}

/** Adds the entry, or moves it to this port; it stays there whoever else sends from the address. */
export function putStation(writer: MessageWriter, item: StationItem, names: LinkNames): void {
  writer.begin(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  header(writer, AF_BRIDGE, names.index(item.link), NTF_MASTER | NTF_STICKY, NUD_NOARP);
  writer.mac(NDA_LLADDR, item.mac);
  writer.end();
}

export function removeStation(writer: MessageWriter, item: StationItem, names: LinkNames): void {
  writer.begin(RTM_DELNEIGH, 0);
  header(writer, AF_BRIDGE, names.index(item.link), NTF_MASTER, NUD_NOARP);
  writer.mac(NDA_LLADDR, item.mac);
  writer.end();
}

const NO_MAC = macFromBytes(Buffer.alloc(6));

/** A neighbour, a forwarding entry or a station as the kernel has it. */
export type NeighborRow = {
  readonly index: number;
  readonly permanent: boolean;
  readonly marked: boolean;
  /** The item, but for the link's name. */
  readonly entry: Omit<NeighborItem, 'link'> | Omit<FdbItem, 'link'> | Omit<StationItem, 'link'>;
};

/**
 * Undefined for proxy entries, what bridges learn of themselves, and forwarding entries without MAC. A neighbour without
 * MAC has the zero one: so the kernel tells of a permanent neighbour that `ip neigh flush` removed.
 */
export function readNeighbor({ bytes, at, end }: Message): NeighborRow | undefined {
  const flags = bytes.readUInt8(at + FLAGS_AT);
  if ((flags & NTF_PROXY) !== 0) return undefined;
  const attributes = new Attributes(bytes, at + HEADER, end);
  const target = attributes.data(NDA_DST);
  const lladdr = attributes.data(NDA_LLADDR);
  const state = bytes.readUInt16LE(at + 8);
  const mac = lladdr?.length === 6 ? macFromBytes(lladdr) : undefined;
  const family = bytes.readUInt8(at);
  const entry =
    target === undefined
      ? isStation(family, state, attributes) && mac !== undefined && ({ kind: 'station', mac } as const)
      : readEntry(family, target, mac);
  if (entry === undefined || entry === false) return undefined;
  return {
    index: bytes.readInt32LE(at + 4),
    permanent: entry.kind === 'station' || (state & NUD_PERMANENT) !== 0,
    marked: attributes.u8(NDA_PROTOCOL) === ROUTE_PROTOCOL,
    entry,
  };
}

function isStation(family: number, state: number, attributes: Attributes): boolean {
  return family === AF_BRIDGE && state === NUD_NOARP && attributes.has(NDA_MASTER);
}

function readEntry(
  family: number,
  target: Buffer,
  mac: NeighborItem['mac'] | undefined,
): NeighborRow['entry'] | undefined {
  const address = addressFromBytes(target);
  if (family !== AF_BRIDGE) return { kind: 'neighbor', address, mac: mac ?? NO_MAC };
  return mac === undefined ? undefined : { kind: 'fdb', mac, remote: address };
}

/** A proxy entry of ours, with its link's index; undefined for everybody else's, and for entries without link. */
export function readProxy({ bytes, at, end }: Message): { index: number; address: Address } | undefined {
  const attributes = new Attributes(bytes, at + HEADER, end);
  const target = attributes.data(NDA_DST);
  const index = bytes.readInt32LE(at + 4);
  const ours = attributes.u8(NDA_PROTOCOL) === ROUTE_PROTOCOL;
  return target === undefined || index === 0 || !ours
    ? undefined
    : { index, address: addressFromBytes(target) };
}

/** The dump request for proxy entries of both families. */
export function askProxies(writer: MessageWriter, flags: number): void {
  writer.begin(RTM_GETNEIGH, flags);
  for (let byte = 0; byte < HEADER; byte += 1) writer.put8(byte === FLAGS_AT ? NTF_PROXY : 0);
  writer.end();
}

/** The dump request: all neighbours, or the forwarding entries of every bridge and VXLAN device (AF_BRIDGE). */
export function askNeighbors(writer: MessageWriter, family: number, flags: number): void {
  writer.begin(RTM_GETNEIGH, flags);
  writer.put8(family);
  for (let byte = 1; byte < HEADER; byte += 1) writer.put8(0);
  writer.end();
}
