/**
 * From the TUN device to UDP. Packets are read until there are none, those of one size for one peer leave in one system
 * call (UDP_SEGMENT), and a super-packet of TCP leaves as its segments without being copied: each datagram is gathered
 * from a slot with its own header, the headers that all share, and its part of the payload.
 *
 * A packet stands in `Memory` with room before it, so that a datagram's header and hint are written where virtio's were:
 *
 *    at  · 16 header · 8 hint │ packet …
 *               └ 10 virtio ──┘
 */
import { Bundle } from './bundle.ts';
import type { Counters } from './counters.ts';
import { GSO, HINT_BYTES, KIND, PACKET_AT, VNET_BYTES } from './frame.ts';
import { familyAt } from './inner.ts';
import type { Memory } from './memory.ts';
import { NARROW_BYTES, NarrowPath, type Packet, writePacketHint } from './narrow.ts';
import type { Routes } from './routes.ts';
import { type Refusal, REFUSAL_BYTES, writeRefusal } from './refusal.ts';
import type { OutPeer, Shipment } from './shipment.ts';

/** One direction of a TUN device with IFF_VNET_HDR; offsets are into the memory. Answers −errno. */
export type TunSource = { read(at: number, size: number): number };
export type TunSink = { write(at: number, size: number): number };

export type OutboundOptions = {
  readonly memory: Memory;
  readonly source: TunSource;
  /** For refusals. */
  readonly sink: TunSink;
  readonly shipment: Shipment;
  readonly counters: Counters;
  /** Called once when a packet waits for a session. */
  readonly wanted: (peer: OutPeer) => void;
  /** Whether one more ICMP error may be sent now. */
  readonly mayRefuse: () => boolean;
};

const LARGEST = 65_535;
/** Packets that wait for a session; the oldest go first, as in WireGuard. */
const STAGED = 64;
const READ_AREA = 4 * (LARGEST + PACKET_AT + 1);

export class Outbound {
  readonly #options: OutboundOptions;
  readonly #memory: Memory;
  readonly #area: number;
  readonly #scratch: number;
  readonly #narrow: NarrowPath;
  readonly #bundle: Bundle;
  #at: number;
  routes: Routes;
  /** By the routes' owner numbers. */
  peers: readonly (OutPeer | undefined)[] = [];

  constructor(options: OutboundOptions, routes: Routes) {
    this.#options = options;
    this.#memory = options.memory;
    this.#area = this.#at = options.memory.reserve(READ_AREA);
    this.#scratch = options.memory.reserve(VNET_BYTES + REFUSAL_BYTES);
    this.#narrow = new NarrowPath({
      ...options,
      sendWhole: (peer, packet) => this.#sendWhole(peer, packet),
      refuse: (packet, refusal) => this.#refuse(packet, refusal),
    });
    this.#bundle = new Bundle(options);
    this.routes = routes;
  }
  /** Takes up to `budget` packets; 0 when there may be more, else the −errno of the device. */
  pump(budget: number): number {
    const { source, shipment } = this.#options;
    let result = 0;
    for (let taken = 0; taken < budget && result >= 0; taken += 1) {
      if (shipment.isEmpty && this.#bundle.isEmpty) this.#at = this.#area;
      else if (this.#at + PACKET_AT + LARGEST > this.#area + READ_AREA) this.#flush();
      result = source.read(this.#at + PACKET_AT - VNET_BYTES, LARGEST + VNET_BYTES);
      if (result > VNET_BYTES) this.#take(result - VNET_BYTES);
    }
    this.#flush();
    return Math.min(result, 0);
  }
  /** What waited for this peer's session goes now. */
  release(peer: OutPeer): void {
    this.#flush();
    for (const bytes of peer.staged.splice(0)) {
      bytes.copy(this.#memory.bytes, this.#area + PACKET_AT - VNET_BYTES);
      this.#take(bytes.length - VNET_BYTES);
      this.#flush();
    }
  }
  #flush(): void {
    this.#bundle.close();
    this.#options.shipment.flush();
    this.#at = this.#area;
  }
  #take(size: number): void {
    const { view } = this.#memory;
    const at = this.#at + PACKET_AT;
    const vnet = at - VNET_BYTES;
    const packet: Packet = {
      at,
      size,
      flags: view.getUint8(vnet),
      gso: view.getUint8(vnet + 1),
      segment: view.getUint16(vnet + 4, true),
      checksumStart: view.getUint16(vnet + 6, true),
      checksumOffset: view.getUint16(vnet + 8, true),
    };
    const peer = this.#peerOf(packet);
    if (peer === undefined) return;
    if (peer.session === undefined || peer.endpoint === undefined) return this.#stage(peer, packet);
    if (packet.gso === GSO.none && this.#bundle.takes(peer, size)) {
      this.#at = this.#bundle.add(peer, packet) - PACKET_AT;
      return;
    }
    this.#bundle.close();
    if (packet.gso !== GSO.none) this.#sendSegments(peer, packet);
    else if (size > peer.mtu) this.#sendNarrow(peer, packet, size);
    else this.#sendWhole(peer, packet);
  }
  #peerOf(packet: Packet): OutPeer | undefined {
    const family = familyAt(this.#memory, packet.at, packet.size);
    const { counters } = this.#options;
    if (family === undefined) {
      counters.add(0, 'malformed');
      return undefined;
    }
    const to = packet.at + (family === 4 ? 16 : 24);
    const peer = this.peers[this.routes.ownerOf(family, this.#memory.view, to)];
    if (peer === undefined) {
      counters.add(0, 'unroutable');
      this.#refuse(packet, { why: 'no-road' });
    }
    return peer;
  }
  #stage(peer: OutPeer, { at, size }: Packet): void {
    const { counters, wanted } = this.#options;
    const from = at - VNET_BYTES;
    peer.staged.push(Buffer.from(this.#memory.bytes.subarray(from, at + size)));
    if (peer.staged.length === 1) wanted(peer);
    if (peer.staged.length <= STAGED) return;
    peer.staged.shift();
    counters.add(peer.row, 'noSession');
  }
  #sendWhole(peer: OutPeer, packet: Packet): void {
    const { shipment, counters } = this.#options;
    const { at, size } = packet;
    const hint = writePacketHint(this.#memory, packet);
    shipment.addWhole(peer, hint, HINT_BYTES + size);
    counters.add(peer.row, 'sentPackets');
    counters.add(peer.row, 'sentBytes', size);
    this.#keep(peer, at + size);
  }
  /** What is plain is sent from where it stands, so the next packet stands behind it. */
  #keep(peer: OutPeer, end: number): void {
    if (peer.session?.sealer === undefined) this.#at = Math.ceil(end / 8) * 8;
  }
  #sendSegments(peer: OutPeer, packet: Packet): void {
    const { shipment, counters } = this.#options;
    const { view } = this.#memory;
    const { at, size, gso, segment, checksumStart: transport } = packet;
    const udp = (gso & ~GSO.ecn) === GSO.udp;
    const headers = transport + (udp ? 8 : (view.getUint8(at + Math.min(transport + 12, size)) >> 4) * 4);
    const count = Math.ceil((size - headers) / segment);
    if (headers > 255 || headers >= size || segment === 0 || count > 255)
      return counters.add(peer.row, 'malformed');
    if (headers + segment > peer.mtu) return this.#sendNarrow(peer, packet, headers + segment, headers);
    const hint = at - HINT_BYTES;
    view.setUint8(hint, KIND.segment);
    view.setUint8(hint + 1, gso);
    view.setUint8(hint + 2, transport);
    view.setUint8(hint + 3, headers);
    view.setUint8(hint + 5, count);
    view.setUint16(hint + 6, segment, true);
    shipment.addSegments(peer, { hint, headers: HINT_BYTES + headers, payload: size - headers, segment });
    this.#keep(peer, at + size);
    counters.add(peer.row, 'sentPackets', count);
    counters.add(peer.row, 'sentBytes', size);
  }
  #sendNarrow(peer: OutPeer, packet: Packet, largest: number, headers = 0): void {
    this.#narrow.send(peer, packet, largest, headers);
    this.#at = this.#area;
  }
  #refuse(packet: Packet, refusal: Refusal): void {
    if (!this.#options.mayRefuse()) return;
    const at = this.#scratch + VNET_BYTES;
    const size = writeRefusal(this.#memory, packet, refusal, at);
    if (size === 0) return;
    this.#memory.bytes.fill(0, this.#scratch, at);
    this.#options.sink.write(this.#scratch, VNET_BYTES + size);
  }
}

export const OUTBOUND_BYTES = READ_AREA + NARROW_BYTES + 2 * REFUSAL_BYTES;
