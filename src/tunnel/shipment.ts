/**
 * Datagrams of one size for one peer on their way into one system call. The kernel cuts what it is given into datagrams
 * of the first one's size (UDP_SEGMENT, Documentation/networking/segmentation-offloads), so only the last may be smaller.
 */
import type { Counters } from './counters.ts';
import { HEADER_BYTES, HINT_BYTES, PACKET_AT, TAG_BYTES, TYPE, writeHeader, writeType } from './frame.ts';
import { IOVEC_BYTES, type Memory } from './memory.ts';
import type { OutgoingMessage } from './message.ts';
import type { Sealer } from './packet-cipher.ts';

export type UdpSink = {
  /** Sends the message at this offset; −errno when it could not. */
  send(message: number): number;
  /** This machine's own way to the peer has become too narrow for what was just sent. */
  tooLarge(peer: OutPeer): void;
};

export type OutSession = {
  /** The receiver's number of the session. */
  readonly index: number;
  /** Absent in plain mode. */
  readonly sealer: Sealer | undefined;
  counter: number;
};

export type OutPeer = {
  /** Its row of the counters; above 0. */
  readonly row: number;
  /** Where its datagrams go, as the socket wants it; undefined until it is known. */
  endpoint: Uint8Array | undefined;
  /** Largest inner packet. */
  mtu: number;
  session: OutSession | undefined;
  /** Packets (with virtio's header) that wait for a session. */
  readonly staged: Buffer[];
};

/** UDP_MAX_SEGMENTS of kernels before 6.9; later ones take 128. */
export const MOST = 64;
const MOST_BYTES = 65_000;
/** A datagram of segments is header and hint, shared headers, payload. */
const MOST_PARTS = 3 * MOST;
const SLOT = PACKET_AT;
/** What one key may seal. Beyond 2^32 datagrams AES-GCM’s bound is too weak (draft-irtf-cfrg-aead-limits). */
export const REJECT_AFTER_DATAGRAMS = 2 ** 32;

/** linux/errno.h, as kernels answer when a device cannot do UDP_SEGMENT (no checksum offload). */
const [EIO, EINVAL, EMSGSIZE] = [5, 22, 90];

export const SHIPMENT_PARTS = MOST_PARTS;
export const SHIPMENT_BYTES = MOST * SLOT + MOST_BYTES + 2048;

type Segments = {
  readonly hint: number;
  /** Hint and inner headers. */
  readonly headers: number;
  readonly payload: number;
  readonly segment: number;
};

type Sealing = OutSession & { readonly sealer: Sealer };
const isSealing = (session: OutSession): session is Sealing => session.sealer !== undefined;

export class Shipment {
  readonly #memory: Memory;
  readonly #message: OutgoingMessage;
  readonly #sink: UdpSink;
  readonly #counters: Counters;
  readonly #slots: number;
  readonly #sealed: number;
  #sealedEnd: number;
  #peer: OutPeer | undefined;
  #count = 0;
  #parts = 0;
  #partsEach = 1;
  #size = 0;
  #bytes = 0;
  /** The last datagram was smaller: nothing may follow it. */
  #closed = false;
  #canSegment = true;

  constructor(memory: Memory, message: OutgoingMessage, sink: UdpSink, counters: Counters) {
    this.#memory = memory;
    this.#message = message;
    this.#sink = sink;
    this.#counters = counters;
    this.#slots = memory.reserve(MOST * SLOT);
    this.#sealed = this.#sealedEnd = memory.reserve(MOST_BYTES + 2048);
  }
  get isEmpty(): boolean {
    return this.#count === 0;
  }
  /** The session, once a datagram of this size has room; undefined when its key is used up. */
  #makeRoom(peer: OutPeer, size: number, parts: number): OutSession | undefined {
    const fits =
      this.#peer === peer &&
      !this.#closed &&
      this.#partsEach === parts &&
      size <= this.#size &&
      this.#count < MOST &&
      this.#bytes + size <= MOST_BYTES;
    if (!fits) this.flush();
    const { session } = peer;
    if (session !== undefined && session.counter < REJECT_AFTER_DATAGRAMS) return session;
    this.#counters.add(peer.row, 'noSession');
    peer.session = undefined;
    return undefined;
  }
  #added(peer: OutPeer, size: number, parts: number, count = 1): void {
    if (this.#count === 0) {
      this.#peer = peer;
      this.#size = size;
      this.#partsEach = parts;
    }
    this.#closed = size < this.#size;
    this.#count += count;
    this.#parts += parts * count;
    this.#bytes += size * count;
  }
  #part(index: number, at: number, size: number): void {
    this.#memory.setPart(this.#message.iovecs + (this.#parts + index) * IOVEC_BYTES, at, size);
  }
  #header(at: number, session: OutSession): void {
    const { view } = this.#memory;
    writeType(view, at, session.sealer === undefined ? TYPE.plain : TYPE.sealed);
    writeHeader(view, at, session.index, session.counter);
  }
  /** A body (hint and packet) with room for a header before it; in plain mode it must stay there until `flush`. */
  addWhole(peer: OutPeer, body: number, size: number): void {
    const sealed = peer.session?.sealer === undefined ? 0 : TAG_BYTES;
    const total = HEADER_BYTES + size + sealed;
    const session = this.#makeRoom(peer, total, 1);
    if (session === undefined) return;
    if (!isSealing(session)) {
      this.#header(body - HEADER_BYTES, session);
      this.#part(0, body - HEADER_BYTES, total);
    } else this.#seal(session, 0, body, size);
    session.counter += 1;
    this.#added(peer, total, 1);
  }
  /**
   * A super-packet: its hint and headers stand before its payload; in plain mode they must stay there until `flush`, for the
   * end of one and the beginning of the next leave in one system call. Segments have consecutive counters.
   */
  addSegments(peer: OutPeer, segments: Segments): void {
    const { headers, payload, segment } = segments;
    const plain = peer.session?.sealer === undefined;
    const around = HEADER_BYTES + headers + (plain ? 0 : TAG_BYTES);
    for (let from = 0, index = 0; from < payload;) {
      const first = Math.min(segment, payload - from);
      const session = this.#makeRoom(peer, around + first, plain ? 3 : 1);
      if (session === undefined) return;
      const whole = this.#wholeSegments(around + segment, Math.floor((payload - from) / segment));
      // The last one may be smaller, and then goes by itself.
      const count = Math.max(1, whole);
      const size = whole > 0 ? segment : first;
      if (isSealing(session)) this.#sealSegments(session, segments, [index, count, size]);
      else this.#putSegments(session, segments, [index, count, size]);
      this.#added(peer, around + size, plain ? 3 : 1, count);
      from += count * size;
      index += count;
    }
  }
  /** How many datagrams of this size, of so many, have room behind those that are there. */
  #wholeSegments(size: number, wanted: number): number {
    if (this.#count > 0 && size !== this.#size) return 0;
    return Math.min(wanted, MOST - this.#count, Math.floor((MOST_BYTES - this.#bytes) / size));
  }
  /** The way of nearly all bytes of TCP: words are written, and nothing is called that need not be. */
  #putSegments(
    session: OutSession,
    { hint, headers, segment }: Segments,
    [index, count, size]: readonly [number, number, number],
  ): void {
    const { view } = this.#memory;
    const kind = view.getUint32(hint, true);
    const rest = view.getUint32(hint + 4, true) & ~0xff;
    const shared = hint + HINT_BYTES;
    const sharedSize = headers - HINT_BYTES;
    let slot = this.#slots + this.#count * SLOT;
    let iovec = this.#message.iovecs + this.#parts * IOVEC_BYTES;
    let from = hint + headers + index * segment;
    for (let each = 0; each < count; each += 1) {
      writeType(view, slot, TYPE.plain);
      writeHeader(view, slot, session.index, session.counter + each);
      view.setUint32(slot + HEADER_BYTES, kind, true);
      view.setUint32(slot + HEADER_BYTES + 4, rest | (index + each), true);
      this.#memory.setPart(iovec, slot, SLOT);
      this.#memory.setPart(iovec + IOVEC_BYTES, shared, sharedSize);
      this.#memory.setPart(iovec + 2 * IOVEC_BYTES, from, size);
      slot += SLOT;
      iovec += 3 * IOVEC_BYTES;
      from += size;
    }
    session.counter += count;
  }
  #sealSegments(
    session: Sealing,
    { hint, headers, segment }: Segments,
    [index, count, size]: readonly [number, number, number],
  ): void {
    const { bytes, view } = this.#memory;
    for (let each = 0; each < count; each += 1) {
      // Hint and headers go along, over what is sealed already: so each datagram is one piece for the cipher.
      const at = hint + (index + each) * segment;
      if (index + each > 0) bytes.copyWithin(at, at - segment, at - segment + headers);
      view.setUint8(at + 4, index + each);
      this.#seal(session, each, at, headers + size);
      session.counter += 1;
    }
  }
  /** The datagram becomes this part of those that are added next. */
  #seal(session: Sealing, part: number, from: number, size: number): void {
    const { sealer, counter } = session;
    const at = this.#sealedEnd;
    const body = at + HEADER_BYTES;
    this.#header(at, session);
    sealer.begin(counter);
    sealer.add(body, from, size);
    sealer.end(body + size);
    this.#sealedEnd = body + size + TAG_BYTES;
    this.#part(part, at, HEADER_BYTES + size + TAG_BYTES);
  }
  /** Everything leaves, or is lost and counted. */
  flush(): void {
    const peer = this.#peer;
    if (this.#count > 0 && peer?.endpoint !== undefined) {
      this.#message.to(peer.endpoint);
      this.#send(peer);
      if (peer.session !== undefined) this.#counters.set(peer.row, 'sealed', peer.session.counter);
    }
    [this.#peer, this.#count, this.#parts, this.#bytes, this.#closed] = [undefined, 0, 0, 0, false];
    this.#sealedEnd = this.#sealed;
  }
  #send(peer: OutPeer): void {
    if (this.#canSegment || this.#count === 1) {
      this.#message.set(0, this.#parts, this.#count > 1 ? this.#size : 0);
      const result = this.#sink.send(this.#message.at);
      if (this.#count === 1 || (result !== -EIO && result !== -EINVAL))
        return this.#note(peer, result, this.#count);
    }
    // The device cannot cut, or what it should cut is too large: one by one tells.
    if (this.#sendEach(peer)) this.#canSegment = false;
  }
  #note(peer: OutPeer, result: number, count: number): void {
    if (result >= 0) return;
    this.#counters.add(peer.row, 'refusedByUdp', count);
    if (result === -EMSGSIZE) this.#sink.tooLarge(peer);
  }
  /** Whether all of them went. */
  #sendEach(peer: OutPeer): boolean {
    let all = true;
    for (let index = 0; index < this.#count; index += 1) {
      this.#message.set(index * this.#partsEach, this.#partsEach, 0);
      const result = this.#sink.send(this.#message.at);
      this.#note(peer, result, 1);
      all &&= result >= 0;
    }
    return all;
  }
}
