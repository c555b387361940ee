/**
 * Packets that are larger than the path to their peer. IPv4 without DF is cut into fragments, which their receiver puts together.
 * IPv6 has to get 1280 bytes through any link, cut below IP where the link is narrower (RFC 8200 section 5): into parts, which the
 * far end of the tunnel puts together (`parts.ts`). Of everything else the sender is told.
 */
import type { Counters } from './counters.ts';
import { cutPacket, finishChecksum, mayFragment } from './fragment.ts';
import { GSO, HEADER_BYTES, HINT_BYTES, KIND, PACKET_AT, VNET_NEEDS_CSUM } from './frame.ts';
import { checksumOffset, familyAt, mendHeaders } from './inner.ts';
import type { Memory } from './memory.ts';
import { LONGEST_BODY, PART_BYTES } from './parts.ts';
import type { Refusal } from './refusal.ts';
import type { OutPeer, Shipment } from './shipment.ts';

/** A packet from the device, and what virtio's header says of it. */
export type Packet = {
  /** Of the inner packet; there is room before it. */
  readonly at: number;
  readonly size: number;
  readonly flags: number;
  readonly gso: number;
  /** Payload in each segment of a super-packet. */
  readonly segment: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
};

export type NarrowOptions = {
  readonly memory: Memory;
  readonly shipment: Shipment;
  readonly counters: Counters;
  readonly sendWhole: (peer: OutPeer, packet: Packet) => void;
  readonly refuse: (packet: Packet, refusal: Refusal) => void;
};

/** RFC 8200 section 5. */
const LEAST6 = 1280;
const LARGEST = 65_535;
export const NARROW_BYTES = 2 * (PACKET_AT + LARGEST) + 64;

/** Writes the hint of a whole packet before it; gives its place. */
export function writePacketHint({ view }: Memory, packet: Packet): number {
  const hint = packet.at - HINT_BYTES;
  view.setUint8(hint, KIND.packet);
  view.setUint8(hint + 1, packet.flags & VNET_NEEDS_CSUM);
  view.setUint16(hint + 2, packet.checksumStart, true);
  view.setUint16(hint + 4, packet.checksumOffset, true);
  view.setUint16(hint + 6, 0);
  return hint;
}

export class NarrowPath {
  readonly #options: NarrowOptions;
  readonly #memory: Memory;
  readonly #scratch: number;
  readonly #part: number;
  #serial = 0;

  constructor(options: NarrowOptions) {
    this.#options = options;
    this.#memory = options.memory;
    this.#scratch = options.memory.reserve(PACKET_AT + LARGEST);
    this.#part = options.memory.reserve(PACKET_AT + LARGEST);
  }
  /** `largest`: bytes of the largest packet that this one stands for; more than the peer's MTU. */
  send(peer: OutPeer, packet: Packet, largest: number, headers: number): void {
    const { shipment, counters, refuse } = this.#options;
    const six = familyAt(this.#memory, packet.at, packet.size) === 6;
    const isOne = packet.gso === GSO.none;
    shipment.flush();
    if (six && largest <= LEAST6)
      return isOne ? this.#sendParts(peer, packet) : this.#sendCut(peer, packet, headers);
    if (!six && isOne && mayFragment(this.#memory, packet.at, peer.mtu)) return this.#fragment(peer, packet);
    counters.add(peer.row, 'tooBig');
    refuse(packet, { why: 'too-big', mtu: six ? Math.max(LEAST6, peer.mtu) : peer.mtu });
  }
  #fragment(peer: OutPeer, packet: Packet): void {
    const { at, size, checksumStart: start, checksumOffset: offset } = packet;
    if ((packet.flags & VNET_NEEDS_CSUM) !== 0) finishChecksum(this.#memory, at, size, { start, offset });
    const to = this.#scratch + PACKET_AT;
    cutPacket(this.#memory, { at, size, mtu: peer.mtu }, to, (size) => {
      const finished = { flags: 0, checksumStart: 0, checksumOffset: 0 };
      this.#options.sendWhole(peer, { ...packet, ...finished, at: to, size });
      this.#options.shipment.flush();
    });
  }
  /** A super-packet, segment by segment. */
  #sendCut(peer: OutPeer, packet: Packet, headers: number): void {
    const { at, size, segment, gso, checksumStart: transport } = packet;
    const { bytes } = this.#memory;
    const to = this.#scratch + PACKET_AT;
    const udp = (gso & ~GSO.ecn) === GSO.udp;
    for (let from = headers, first = 0; from < size; from += segment, first += 1) {
      const payload = Math.min(segment, size - from);
      bytes.copyWithin(to, at, at + headers);
      bytes.copyWithin(to + headers, at + from, at + from + payload);
      const holdsLast = from + payload >= size;
      mendHeaders(this.#memory, to, { udp, transport, headers, segment, first, holdsLast, payload });
      const checksum = { flags: VNET_NEEDS_CSUM, checksumOffset: checksumOffset(udp) };
      this.#sendParts(peer, { ...packet, ...checksum, at: to, size: headers + payload, gso: GSO.none });
    }
  }
  #sendParts(peer: OutPeer, packet: Packet): void {
    const { shipment, counters } = this.#options;
    const { view, bytes } = this.#memory;
    const body = writePacketHint(this.#memory, packet);
    const size = HINT_BYTES + packet.size;
    const each = Math.min(peer.mtu, LONGEST_BODY);
    const count = Math.ceil(size / each);
    this.#serial = (this.#serial + 1) >>> 0;
    const at = this.#part + HEADER_BYTES;
    for (let index = 0; index < count; index += 1) {
      const part = Math.min(each, size - index * each);
      view.setUint32(at, KIND.part, true);
      view.setUint8(at + 1, index);
      view.setUint8(at + 2, count);
      view.setUint32(at + 4, this.#serial, true);
      bytes.copyWithin(at + PART_BYTES, body + index * each, body + index * each + part);
      shipment.addWhole(peer, at, PART_BYTES + part);
      shipment.flush();
    }
    counters.add(peer.row, 'sentPackets');
    counters.add(peer.row, 'sentBytes', packet.size);
  }
}
