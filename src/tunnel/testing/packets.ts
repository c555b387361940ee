/**
 * Inner packets for tests, and what they mean: the packets that a network card would make of one with virtio's header, cut
 * and with every checksum finished, by code that shares nothing with the room's.
 */
import { GSO, VNET_BYTES, VNET_NEEDS_CSUM } from '../frame.ts';

export type PacketShape = {
  readonly family: 4 | 6;
  readonly protocol: 'tcp' | 'udp';
  /** Bytes of payload. */
  readonly payload: number;
  /** Bytes in each segment of a super-packet; 0: it is none. */
  readonly segment: number;
  /** Of TCP options, a multiple of 4. */
  readonly options: number;
  /** TCP flags. */
  readonly flags: number;
  /** Tells packets apart; also the start of the payload. */
  readonly serial: number;
  /** Last byte of the destination address. */
  readonly to: number;
  /** Last byte of the source address. */
  readonly from: number;
  /** Whether the checksum is left unfinished; a super-packet's always is. */
  readonly partial: boolean;
  readonly mayFragment?: boolean;
};

/** The inverted sum of RFC 1071 in its plainest form. */
export function checksum(...parts: readonly Buffer[]): number {
  const all = Buffer.concat(parts.map((part) => Buffer.concat([part, Buffer.alloc(part.length % 2)])));
  let sum = 0;
  for (let at = 0; at < all.length; at += 2) sum = (sum + all.readUInt16BE(at)) % 0xffff;
  return 0xffff - sum;
}

function addressOf(family: 4 | 6, last: number): Buffer {
  return family === 4
    ? Buffer.from([10, 77, 0, last])
    : Buffer.concat([Buffer.from('fd77', 'hex'), Buffer.alloc(13), Buffer.from([last])]);
}

function pseudoHeader(packet: Buffer, transport: number, protocol: number): Buffer {
  const addresses =
    packet[0] === undefined || packet[0] >> 4 === 6 ? packet.subarray(8, 40) : packet.subarray(12, 20);
  const rest = Buffer.alloc(8);
  rest.writeUInt32BE(packet.length - transport, 0);
  rest.writeUInt32BE(protocol, 4);
  return Buffer.concat([addresses, rest]);
}

const layout = (
  packet: Buffer,
): { transport: number; protocol: number; checksumAt: number; headers: number } => {
  const six = (packet[0] ?? 0) >> 4 === 6;
  const transport = six ? 40 : 20;
  const protocol = packet[six ? 6 : 9] ?? 0;
  const headers = transport + (protocol === 6 ? ((packet[transport + 12] ?? 0) >> 4) * 4 : 8);
  return { transport, protocol, checksumAt: transport + (protocol === 6 ? 16 : 6), headers };
};

function finish(packet: Buffer): Buffer {
  const { transport, protocol, checksumAt } = layout(packet);
  packet.writeUInt16BE(0, checksumAt);
  const sum = checksum(pseudoHeader(packet, transport, protocol), packet.subarray(transport));
  packet.writeUInt16BE(sum === 0 ? 0xffff : sum, checksumAt);
  if (transport === 20) {
    packet.writeUInt16BE(0, 10);
    packet.writeUInt16BE(checksum(packet.subarray(0, 20)), 10);
  }
  return packet;
}

/** Leaves what Linux leaves of CHECKSUM_PARTIAL: the sum of the pseudo header, not inverted. */
function leavePartial(packet: Buffer): Buffer {
  finish(packet);
  const { transport, protocol, checksumAt } = layout(packet);
  packet.writeUInt16BE(0xffff - checksum(pseudoHeader(packet, transport, protocol)), checksumAt);
  return packet;
}

function ipHeader(shape: PacketShape, size: number): Buffer {
  const addresses = [addressOf(shape.family, shape.from), addressOf(shape.family, shape.to)];
  const protocol = shape.protocol === 'tcp' ? 6 : 17;
  const header = Buffer.alloc(shape.family === 4 ? 12 : 8);
  if (shape.family === 4) {
    header.writeUInt16BE(0x4500, 0);
    header.writeUInt16BE(20 + size, 2);
    header.writeUInt16BE(shape.serial & 0xffff, 4);
    header.writeUInt16BE(shape.mayFragment === true ? 0 : 0x4000, 6);
    header.writeUInt16BE(0x4000 | protocol, 8);
  } else {
    header.writeUInt32BE(0x6000_0000, 0);
    header.writeUInt16BE(size, 4);
    header.writeUInt16BE((protocol << 8) | 64, 6);
  }
  return Buffer.concat([header, ...addresses]);
}

/** As the TUN device gives it: virtio's header and the packet. */
export function makePacket(shape: PacketShape): Buffer {
  const tcp = shape.protocol === 'tcp';
  const transport = Buffer.alloc(tcp ? 20 + shape.options : 8);
  transport.writeUInt16BE(1000, 0);
  transport.writeUInt16BE(2000, 2);
  if (tcp) {
    transport.writeUInt32BE((0xffff_f000 + shape.serial * 70_000) >>> 0, 4);
    transport[12] = (transport.length / 4) << 4;
    transport[13] = shape.flags;
  } else transport.writeUInt16BE(8 + shape.payload, 4);
  const payload = Buffer.alloc(shape.payload);
  for (let at = 0; at < payload.length; at += 1) payload[at] = (shape.serial + at * 7 + (at >> 8)) & 0xff;
  const packet = Buffer.concat([ipHeader(shape, transport.length + payload.length), transport, payload]);
  const isSuper = shape.segment > 0 && shape.payload > shape.segment;
  const partial = isSuper || shape.partial;
  if (partial) leavePartial(packet);
  else finish(packet);
  return Buffer.concat([virtioHeader(packet, shape, { isSuper, partial }), packet]);
}

function virtioHeader(
  packet: Buffer,
  shape: PacketShape,
  { isSuper, partial }: { isSuper: boolean; partial: boolean },
): Buffer {
  const { transport, checksumAt, headers } = layout(packet);
  const header = Buffer.alloc(VNET_BYTES);
  if (partial) {
    header[0] = VNET_NEEDS_CSUM;
    header.writeUInt16LE(transport, 6);
    header.writeUInt16LE(checksumAt - transport, 8);
  }
  if (!isSuper) return header;
  header[1] = shape.protocol === 'udp' ? GSO.udp : shape.family === 4 ? GSO.tcp4 : GSO.tcp6;
  header.writeUInt16LE(headers, 2);
  header.writeUInt16LE(shape.segment, 4);
  return header;
}

/** The packets on the wire that a packet with virtio's header stands for (software GSO, as in the kernel). */
export function wirePackets(given: Buffer): Buffer[] {
  const [header, whole] = [given.subarray(0, VNET_BYTES), given.subarray(VNET_BYTES)];
  if (header[1] === GSO.none) {
    const packet = Buffer.from(whole);
    return [((header[0] ?? 0) & VNET_NEEDS_CSUM) === 0 ? packet : completed(packet, header)];
  }
  const { transport, headers, protocol } = layout(whole);
  const size = header.readUInt16LE(4);
  const payload = whole.subarray(headers);
  const count = Math.ceil(payload.length / size);
  return Array.from({ length: count }, (_, index) => {
    const part = payload.subarray(index * size, (index + 1) * size);
    const packet = Buffer.concat([whole.subarray(0, headers), part]);
    if (transport === 20) {
      packet.writeUInt16BE(packet.length, 2);
      packet.writeUInt16BE((packet.readUInt16BE(4) + index) & 0xffff, 4);
    } else packet.writeUInt16BE(packet.length - 40, 4);
    if (protocol === 17) packet.writeUInt16BE(packet.length - transport, transport + 4);
    else {
      packet.writeUInt32BE((packet.readUInt32BE(transport + 4) + index * size) >>> 0, transport + 4);
      let flags = packet[transport + 13] ?? 0;
      if (index < count - 1) flags &= ~0x09;
      if (index > 0) flags &= ~0x80;
      packet[transport + 13] = flags;
    }
    // The pseudo header's sum that stood there was of the whole: a wrong one shows in what the far end makes of it.
    return finish(packet);
  });
}

/** What a card does for NEEDS_CSUM: it trusts the sum that stands there. */
function completed(packet: Buffer, header: Buffer): Buffer {
  const [start, offset] = [header.readUInt16LE(6), header.readUInt16LE(8)];
  const sum = checksum(packet.subarray(start));
  packet.writeUInt16BE(sum === 0 ? 0xffff : sum, start + offset);
  return packet;
}

/** Whether the unfinished checksum of a packet with virtio's header is what Linux would have left. */
export function isPartialRight(given: Buffer): boolean {
  const whole = given.subarray(VNET_BYTES);
  const { checksumAt } = layout(whole);
  const [stands, wanted] = [whole, leavePartial(Buffer.from(whole))].map((packet) =>
    packet.readUInt16BE(checksumAt),
  );
  return (stands ?? 0) % 0xffff === (wanted ?? 0) % 0xffff;
}
