/**
 * Inner packets as bytes in `Memory`: the little of IPv4, IPv6, TCP and UDP that the tunnel reads and mends. Nothing here
 * trusts a packet: who reads past `size` gets what `layoutOf` refused.
 */
import type { Memory } from './memory.ts';

export const IP4_HEADER = 20;
export const IP6_HEADER = 40;
export const UDP_HEADER = 8;
const UDP = 17;
const DF = 0x4000;

const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const [FIN, PSH, CWR] = [0x01, 0x08, 0x80];

/** The family of the packet, if its header is whole; else undefined. */
export function familyAt({ view }: Memory, at: number, size: number): 4 | 6 | undefined {
  if (size < IP4_HEADER) return undefined;
  const version = view.getUint8(at) >> 4;
  if (version === 4) return 4;
  return version === 6 && size >= IP6_HEADER ? 6 : undefined;
}

/** One's complement sum of 16-bit words (RFC 1071), folded, not inverted. An odd last byte counts as the high half. */
export function sum16(view: DataView, at: number, size: number): number {
  let sum = 0;
  const even = at + (size & ~1);
  for (let place = at; place < even; place += 2) sum += view.getUint16(place);
  if ((size & 1) === 1) sum += view.getUint8(even) << 8;
  return fold(sum);
}

export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

export function setIp4Checksum(view: DataView, at: number): void {
  view.setUint16(at + 10, 0);
  view.setUint16(at + 10, ~sum16(view, at, (view.getUint8(at) & 0xf) * 4) & 0xffff);
}

/** What a run of segments is, relative to the super-packet whose headers stand at `at`. */
export type Run = {
  readonly udp: boolean;
  /** Offset of the TCP or UDP header. */
  readonly transport: number;
  readonly headers: number;
  /** Payload of a full segment. */
  readonly segment: number;
  readonly first: number;
  readonly holdsLast: boolean;
  /** Of the run. */
  readonly payload: number;
};

/**
 * Turns the headers of a super-packet, at `at`, into those of a run of its segments: lengths, sequence number, flags, and the
 * checksum, which stays the unfinished one of virtio (the sum of the pseudo header, whose length is the run's).
 */
export function mendHeaders({ view }: Memory, at: number, run: Run): void {
  const size = run.headers + run.payload;
  const transport = at + run.transport;
  const six = view.getUint8(at) >> 4 === 6;
  const before = six ? view.getUint16(at + 4) + IP6_HEADER : view.getUint16(at + 2);
  if (six) view.setUint16(at + 4, size - IP6_HEADER);
  else {
    view.setUint16(at + 2, size);
    view.setUint16(at + 4, view.getUint16(at + 4) + run.first);
    setIp4Checksum(view, at);
  }
  if (run.udp) view.setUint16(transport + 4, size - run.transport);
  else mendTcp(view, transport, run);
  const checksum = transport + (run.udp ? UDP_CHECKSUM : TCP_CHECKSUM);
  const [old, now] = [(before - run.transport) & 0xffff, (size - run.transport) & 0xffff];
  // RFC 1624 for a sum that is not inverted.
  view.setUint16(checksum, fold(view.getUint16(checksum) + (~old & 0xffff) + now));
}

function mendTcp(view: DataView, tcp: number, run: Run): void {
  view.setUint32(tcp + 4, view.getUint32(tcp + 4) + run.first * run.segment);
  let flags = view.getUint8(tcp + 13);
  if (!run.holdsLast) flags &= ~(FIN | PSH);
  if (run.first > 0) flags &= ~CWR;
  view.setUint8(tcp + 13, flags);
}

export const checksumOffset = (udp: boolean): number => (udp ? UDP_CHECKSUM : TCP_CHECKSUM);

/**
 * Where the UDP header is of a packet that may be joined with others of its flow: whole, without IP options, with an
 * unfinished checksum (which is then one of the whole), and some payload. 0 for any other. The hint stands before it.
 */
export function udpToJoin({ view }: Memory, at: number, size: number): number {
  if ((view.getUint8(at - 7) & 1) === 0 || size <= IP6_HEADER + UDP_HEADER) return 0;
  const transport = view.getUint8(at) >> 4 === 6 ? IP6_HEADER : IP4_HEADER;
  const isUdp = transport === IP6_HEADER ? isUdp6(view, at, size) : isUdp4(view, at, size);
  if (!isUdp || view.getUint16(at + transport + 4) !== size - transport) return 0;
  const isPartial =
    view.getUint16(at - 6, true) === transport && view.getUint16(at - 4, true) === UDP_CHECKSUM;
  return isPartial ? transport : 0;
}

function isUdp6(view: DataView, at: number, size: number): boolean {
  return view.getUint8(at + 6) === UDP && view.getUint16(at + 4) === size - IP6_HEADER;
}

/** Without options, and no fragment. */
function isUdp4(view: DataView, at: number, size: number): boolean {
  if (view.getUint8(at) !== 0x45 || (view.getUint16(at + 6) & ~DF) !== 0) return false;
  return view.getUint8(at + 9) === UDP && view.getUint16(at + 2) === size;
}

/** Whether two packets that `udpToJoin` gave a header differ in lengths, identification and checksums only. */
export function isSameFlow({ view }: Memory, a: number, b: number): boolean {
  const six = view.getUint8(a) >> 4 === 6;
  // Class and flow label, or version and type of service; next header and hop limit, or flags, lifetime and protocol.
  if (six && (view.getUint32(a) !== view.getUint32(b) || view.getUint16(a + 6) !== view.getUint16(b + 6)))
    return false;
  if (!six && (view.getUint16(a) !== view.getUint16(b) || view.getUint32(a + 6) !== view.getUint32(b + 6)))
    return false;
  // Addresses and ports.
  const [from, to] = six ? [8, IP6_HEADER + 4] : [12, IP4_HEADER + 4];
  for (let place = from; place < to; place += 4)
    if (view.getUint32(a + place) !== view.getUint32(b + place)) return false;
  return true;
}
