/**
 * The flow that a packet belongs to, read from its first bytes, IP header first (RFC 791, 8200, 9293, 768, 9260, 792,
 * 4443). What is cut off or is not IP is no flow; nothing is ever thrown.
 */
import { PROTOCOL } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import { addressFromBytes } from '#net/address.ts';

const IPV4 = {
  bytes: 20,
  total: 2,
  fragment: 6,
  protocol: 9,
  source: 12,
  destination: 16,
  address: 4,
} as const;
const IPV6 = { bytes: 40, payload: 4, next: 6, source: 8, destination: 24, address: 16 } as const;
const FRAGMENT_OFFSET = 0x1fff;
/** Extension headers that say how long they are: hop-by-hop, routing, destination options. */
const OPTIONS = new Set([0, 43, 60]);
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const WITH_PORTS = new Set<number>([PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.udplite]);
const WITH_TYPE = new Set<number>([PROTOCOL.icmp, PROTOCOL.icmpv6]);

/** `bytes`: of the whole packet, by its own header. */
export type Packet = { readonly flow: Flow; readonly bytes: number };

/** What comes behind the IP header; `at` is undefined where that is in another fragment or cut off. */
type Transport = { readonly protocol: number; readonly at: number | undefined };

export function readPacket(data: Buffer): Packet | undefined {
  const version = (data[0] ?? 0) >> 4;
  if (version === 4 && data.length >= IPV4.bytes)
    return packetOf(data, IPV4, data.readUInt16BE(IPV4.total), transport4(data));
  if (version !== 6 || data.length < IPV6.bytes) return undefined;
  return packetOf(data, IPV6, IPV6.bytes + data.readUInt16BE(IPV6.payload), transport6(data));
}

/**
 * What TCP or UDP carry in this packet; undefined where that is cut off, in another fragment, or of another protocol. Of TCP
 * it is what the one segment has.
 */
export function readPayload(data: Buffer): Buffer | undefined {
  const { protocol, at } = transportOf(data) ?? {};
  if (at === undefined || at + UDP_BYTES > data.length) return undefined;
  if (protocol === PROTOCOL.udp) return udpPayload(data.subarray(at));
  return protocol === PROTOCOL.tcp ? tcpPayload(data.subarray(at)) : undefined;
}

function transportOf(data: Buffer): Transport | undefined {
  const version = (data[0] ?? 0) >> 4;
  if (version === 4) return data.length < IPV4.bytes ? undefined : transport4(data);
  return version === 6 && data.length >= IPV6.bytes ? transport6(data) : undefined;
}

const UDP_BYTES = 8;
const TCP_BYTES = 20;

function udpPayload(datagram: Buffer): Buffer | undefined {
  const end = datagram.readUInt16BE(4);
  return end < UDP_BYTES || end > datagram.length ? undefined : datagram.subarray(UDP_BYTES, end);
}

/** Behind its options. */
function tcpPayload(segment: Buffer): Buffer | undefined {
  return segment.length < TCP_BYTES ? undefined : segment.subarray((segment.readUInt8(12) >> 4) * 4);
}

type Places = { readonly source: number; readonly destination: number; readonly address: number };

// eslint-disable-next-line max-params
function packetOf(data: Buffer, places: Places, bytes: number, transport: Transport): Packet {
  const addressAt = (at: number) => addressFromBytes(data.subarray(at, at + places.address));
  const flow = {
    protocol: transport.protocol,
    source: addressAt(places.source),
    destination: addressAt(places.destination),
    ...details(data, transport),
  };
  return { flow, bytes };
}

function transport4(data: Buffer): Transport {
  const isFirst = (data.readUInt16BE(IPV4.fragment) & FRAGMENT_OFFSET) === 0;
  const at = ((data[0] ?? 0) & 15) * 4;
  return { protocol: data.readUInt8(IPV4.protocol), at: isFirst ? at : undefined };
}

function transport6(data: Buffer): Transport {
  let protocol = data.readUInt8(IPV6.next);
  let at: number = IPV6.bytes;
  for (;;) {
    const size = extensionBytes(data, protocol, at);
    if (size === undefined) return { protocol, at };
    if (at + 8 > data.length) return { protocol, at: undefined };
    const isLater = protocol === FRAGMENT && data.readUInt16BE(at + 2) >> 3 !== 0;
    protocol = data.readUInt8(at);
    at += size;
    if (isLater) return { protocol, at: undefined };
  }
}

/** Undefined: it is no extension header. */
function extensionBytes(data: Buffer, header: number, at: number): number | undefined {
  const units = data[at + 1] ?? 0;
  if (OPTIONS.has(header)) return (units + 1) * 8;
  if (header === FRAGMENT) return 8;
  return header === AUTHENTICATION ? (units + 2) * 4 : undefined;
}

function details(data: Buffer, { protocol, at }: Transport): Partial<Flow> {
  if (at === undefined || at + 4 > data.length) return {};
  if (WITH_PORTS.has(protocol))
    return { sourcePort: data.readUInt16BE(at), destinationPort: data.readUInt16BE(at + 2) };
  if (WITH_TYPE.has(protocol)) return { icmp: { type: data.readUInt8(at), code: data.readUInt8(at + 1) } };
  return {};
}
