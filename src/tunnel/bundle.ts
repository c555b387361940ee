/**
 * Small packets that the device had ready together leave in one sealed datagram: to seal, send, receive and open one costs
 * what it costs for any other. Nothing waits for company, and no byte is copied: packets are read one behind the other, and
 * what a packet is preceded by, there as here, has the size of virtio's header.
 *
 *    hint 8 (kind) │ length u16 · hint 8 │ packet … │ length u16 · hint 8 │ packet … │
 *
 * Lost, it costs all its packets. It fits through any link that may carry IPv6, so that a path found to be narrow costs none.
 */
import type { Counters } from './counters.ts';
import { HEADER_BYTES, HINT_BYTES, KIND, TAG_BYTES, VNET_BYTES } from './frame.ts';
import { IP6_HEADER, UDP_HEADER } from './inner.ts';
import type { Memory } from './memory.ts';
import { type Packet, writePacketHint } from './narrow.ts';
import type { OutPeer, Shipment } from './shipment.ts';

/** RFC 8200 section 5, without what is around a body. */
const MOST_BODY = 1280 - IP6_HEADER - UDP_HEADER - HEADER_BYTES - TAG_BYTES;

type BundleOptions = {
  readonly memory: Memory;
  readonly shipment: Shipment;
  readonly counters: Counters;
};

export class Bundle {
  readonly #options: BundleOptions;
  #peer: OutPeer | undefined;
  /** Of the first packet's length, and behind the last packet. */
  #from = 0;
  #end = 0;
  #count = 0;

  constructor(options: BundleOptions) {
    this.#options = options;
  }
  get isEmpty(): boolean {
    return this.#count === 0;
  }
  /** Whether a packet is one for bundles: under a key, and so small that two of its size have room. */
  takes({ session, mtu }: OutPeer, size: number): boolean {
    return session?.sealer !== undefined && 2 * (VNET_BYTES + size) <= mostOf(mtu);
  }
  /**
   * It stands right behind the one before it, or begins a new bundle. The bytes before it are given up, virtio's header and
   * eight more. Answers where the next has to stand.
   */
  add(peer: OutPeer, packet: Packet): number {
    const { memory, counters } = this.#options;
    const { at, size } = packet;
    const from = at - VNET_BYTES;
    const follows = this.#peer === peer && this.#end === from;
    if (!follows || at + size - this.#from > mostOf(peer.mtu)) this.close();
    writePacketHint(memory, packet);
    memory.view.setUint16(from, size, true);
    if (this.#count === 0) [this.#peer, this.#from] = [peer, from];
    this.#count += 1;
    this.#end = at + size;
    counters.add(peer.row, 'sentPackets');
    counters.add(peer.row, 'sentBytes', size);
    return this.#end + VNET_BYTES;
  }
  /** It is sealed: its bytes are free. */
  close(): void {
    const { memory, shipment } = this.#options;
    if (this.#peer !== undefined && this.#count === 1) {
      const hint = this.#from + VNET_BYTES - HINT_BYTES;
      shipment.addWhole(this.#peer, hint, this.#end - hint);
    } else if (this.#peer !== undefined) {
      const hint = this.#from - HINT_BYTES;
      memory.view.setUint32(hint, KIND.bundle, true);
      memory.view.setUint32(hint + 4, 0);
      shipment.addWhole(this.#peer, hint, this.#end - hint);
    }
    this.#peer = undefined;
    this.#count = 0;
  }
}

/** Bytes of packets, each with what precedes it. */
const mostOf = (mtu: number): number => Math.min(MOST_BODY - HINT_BYTES, mtu);
