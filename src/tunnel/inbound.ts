/**
 * From UDP to the TUN device. The kernel hands over many datagrams at once (UDP_GRO); each is checked for itself (known
 * session or peer, replay, tag, source address), and segments of one super-packet that came in a row go to the device as
 * one packet again, without being copied. Whatever is wrong with a datagram costs only that datagram, and is counted.
 */
import type { Counters } from './counters.ts';
import {
  HEADER_BYTES,
  HINT_BYTES,
  KIND,
  PACKET_AT,
  readCounter,
  TAG_BYTES,
  TYPE,
  VNET_BYTES,
  VNET_NEEDS_CSUM,
} from './frame.ts';
import { familyAt, udpToJoin } from './inner.ts';
import { IOVEC_BYTES, type Memory } from './memory.ts';
import type { Opener } from './packet-cipher.ts';
import { LONGEST_BODY, Parts } from './parts.ts';
import type { ReplayWindow } from './replay.ts';
import type { Routes } from './routes.ts';
import { isSound, Run, RUN_BYTES, type RunSize } from './run.ts';

/** Writes `count` iovecs as one packet with virtio's header; −errno. */
export type PacketSink = { write(iovecs: number, count: number): number };

export type InSession = {
  readonly index: number;
  /** Owner number of the peer in the routes. */
  readonly peer: number;
  /** Its row of the counters. */
  readonly row: number;
  /** Absent in plain mode, as is the replay window's meaning: anybody can send anything. */
  readonly opener: Opener | undefined;
  readonly window: ReplayWindow;
  /** An authentic datagram has come. */
  confirmed: boolean;
};

/** What is not for the device. Bytes are copies. */
export type InboundEvents = {
  /** A handshake message, from the sender of the datagrams that are being taken. */
  readonly handshake: (message: Buffer) => void;
  /** Authentic control data: kind and body behind the header. */
  readonly control: (session: InSession, body: Buffer) => void;
  readonly confirmed: (session: InSession) => void;
  /** The newest authentic datagram of a session so far, once for each `take`: where it came from is where the peer is. */
  readonly heard: (session: InSession) => void;
  /** A datagram of a session that is not known; it is looked up once more afterwards. */
  readonly unknown: () => void;
  /** It is not known then either. */
  readonly lost: () => void;
};

export type InboundOptions = {
  readonly memory: Memory;
  readonly sink: PacketSink;
  readonly counters: Counters;
  readonly events: InboundEvents;
  /** Whether the device takes super-packets of UDP (Linux 6.2). */
  readonly joinsUdp: boolean;
};

export const INBOUND_BYTES = RUN_BYTES + IOVEC_BYTES + HEADER_BYTES + LONGEST_BODY;

export class Inbound {
  readonly #options: InboundOptions;
  readonly #memory: Memory;
  readonly #iovec: number;
  readonly #run: Run;
  readonly #parts = new Parts();
  /** Where a body that came in parts is put together; virtio's header may begin before its hint. */
  readonly #whole: number;
  #heard: InSession | undefined;
  /** Of the sender of the datagrams that are being taken. */
  #plain: InSession | undefined;
  routes: Routes;
  /** By this side's number of the session. */
  readonly sessions = new Map<number, InSession>();
  /** In plain mode the session of the sender; undefined when the sender is unknown. */
  plainSession: (() => InSession | undefined) | undefined;

  constructor(options: InboundOptions, routes: Routes) {
    this.#options = options;
    this.#memory = options.memory;
    this.#iovec = options.memory.reserve(IOVEC_BYTES);
    this.#whole = options.memory.reserve(HEADER_BYTES + LONGEST_BODY) + HEADER_BYTES;
    this.#run = new Run(options.memory, (session, iovecs, size) => this.#write(session, iovecs, size));
    this.routes = routes;
  }
  /**
   * Datagrams of one sender, at `at`, of `segment` bytes each (0: it is one). Their bytes are in use until `flush`, or
   * `releaseArea`.
   */
  take(at: number, size: number, segment: number): void {
    this.#heard = undefined;
    this.#plain = this.plainSession?.();
    const each = segment === 0 ? size : segment;
    for (let from = 0; from < size; from += each) {
      const part = Math.min(each, size - from);
      if (this.#plain === undefined || !this.#run.goesOn(this.#plain, at + from, part))
        this.#takeDatagram(at + from, part);
    }
  }
  /** Before the area is read into again: what still stands there goes to the device. */
  releaseArea(at: number, size: number): void {
    this.#run.releaseArea(at, size);
  }
  /** Nothing more comes for now: what waits for its continuation goes to the device. */
  flush(): void {
    this.#run.flush();
  }
  #takeDatagram(at: number, size: number): void {
    const { counters, events } = this.#options;
    if (size < HEADER_BYTES) return counters.add(0, 'malformed');
    const { view } = this.#memory;
    const type = view.getUint32(at, true);
    if (type === TYPE.sealed && this.plainSession === undefined) this.#takeSealed(at, size);
    else if (type === TYPE.plain && this.plainSession !== undefined) {
      const session = this.#plain;
      if (session === undefined) return counters.add(0, 'unknownPeer');
      this.#takeBody(session, readCounter(view, at), at + HEADER_BYTES, size - HEADER_BYTES);
    } else if (type === TYPE.initiation || type === TYPE.response)
      events.handshake(Buffer.from(this.#memory.bytes.subarray(at, at + size)));
    else counters.add(0, 'malformed');
  }
  #sessionOf(index: number): InSession | undefined {
    const session = this.sessions.get(index);
    if (session !== undefined) return session;
    this.#options.events.unknown();
    return this.sessions.get(index);
  }
  #takeSealed(at: number, size: number): void {
    const { counters, events } = this.#options;
    const { view } = this.#memory;
    const session = this.#sessionOf(view.getUint32(at + 4, true));
    if (session?.opener === undefined) {
      events.lost();
      return counters.add(0, 'unknownSession');
    }
    const counter = readCounter(view, at);
    const body = size - HEADER_BYTES - TAG_BYTES;
    if (body <= 0) return counters.add(session.row, 'malformed');
    if (!session.window.allows(counter)) return counters.add(session.row, 'replayed');
    if (!session.opener.open(counter, at + HEADER_BYTES, body))
      return counters.add(session.row, 'unauthentic');
    const newest = counter > session.window.highest;
    session.window.accept(counter);
    if (!session.confirmed) {
      session.confirmed = true;
      events.confirmed(session);
    }
    if (newest && this.#heard !== session) {
      this.#heard = session;
      events.heard(session);
    }
    this.#takeBody(session, counter, at + HEADER_BYTES, body);
  }
  #takeBody(session: InSession, counter: number, at: number, size: number): void {
    const { counters, events } = this.#options;
    const kind = this.#memory.view.getUint8(at);
    const packet = at + PACKET_AT - HEADER_BYTES;
    const packetSize = size - (packet - at);
    if (kind === KIND.segment) this.#takeSegment(session, counter, packet, packetSize);
    else if (kind === KIND.packet) this.#takePacket(session, packet, packetSize);
    else if (kind === KIND.part) this.#takePart(session, at, size);
    else if (kind === KIND.bundle) this.#takeBundle(session, at + HINT_BYTES, at + size);
    else if (kind > KIND.segment && size > 0)
      events.control(session, Buffer.from(this.#memory.bytes.subarray(at, at + size)));
    else counters.add(session.row, 'malformed');
  }
  /** Whether the inner packet comes from an address that its sender stands for; else it is counted. */
  #isFrom(session: InSession, at: number, size: number): boolean {
    const family = familyAt(this.#memory, at, size);
    const { counters } = this.#options;
    if (family === undefined) {
      counters.add(session.row, 'malformed');
      return false;
    }
    const source = at + (family === 4 ? 12 : 8);
    if (this.routes.ownerOf(family, this.#memory.view, source) === session.peer) return true;
    counters.add(session.row, 'foreignSource');
    return false;
  }
  #takePacket(session: InSession, at: number, size: number): void {
    const transport = this.#options.joinsUdp ? udpToJoin(this.#memory, at, size) : 0;
    if (transport > 0 && this.#run.takeUdp(session, at, size)) return;
    this.flush();
    if (!this.#isFrom(session, at, size)) return;
    if (transport > 0) return this.#run.beginUdp(session, [at, size, transport]);
    const { view, bytes } = this.#memory;
    const [flags, start, offset] = [
      view.getUint8(at - 7) & VNET_NEEDS_CSUM,
      view.getUint16(at - 6, true),
      view.getUint16(at - 4, true),
    ];
    const vnet = at - VNET_BYTES;
    bytes.fill(0, vnet, at);
    view.setUint8(vnet, flags);
    if (flags !== 0) {
      view.setUint16(vnet + 6, start, true);
      view.setUint16(vnet + 8, offset, true);
    }
    this.#memory.setPart(this.#iovec, vnet, VNET_BYTES + size);
    this.#write(session, this.#iovec, { parts: 1, bytes: size });
  }
  /** Where virtio's header has to stand before a packet are its length and its hint. */
  #takeBundle(session: InSession, from: number, end: number): void {
    const { view } = this.#memory;
    for (let at = from; at < end;) {
      const packet = at + VNET_BYTES;
      const next = packet <= end ? packet + view.getUint16(at, true) : packet;
      if (next > end || view.getUint8(packet - HINT_BYTES) !== KIND.packet)
        return this.#options.counters.add(session.row, 'malformed');
      this.#takePacket(session, packet, next - packet);
      at = next;
    }
  }
  #takePart(session: InSession, at: number, size: number): void {
    const { bytes } = this.#memory;
    const body = this.#parts.take(session.row, bytes.subarray(at, at + size));
    if (body === undefined) return;
    if (body[0] !== KIND.packet) return this.#options.counters.add(session.row, 'malformed');
    this.flush();
    body.copy(bytes, this.#whole);
    this.#takePacket(session, this.#whole + HINT_BYTES, body.length - HINT_BYTES);
    // It may have begun a run, and its place is needed for the next.
    this.flush();
  }
  #write(session: InSession, iovecs: number, { parts, bytes }: RunSize): void {
    const { sink, counters } = this.#options;
    if (sink.write(iovecs, parts) < 0) return counters.add(session.row, 'refusedByTun');
    counters.add(session.row, 'receivedPackets', parts);
    counters.add(session.row, 'receivedBytes', bytes);
  }
  #takeSegment(session: InSession, counter: number, at: number, size: number): void {
    const { view } = this.#memory;
    const headers = view.getUint8(at - 5);
    const index = view.getUint8(at - 4);
    const isLast = index === view.getUint8(at - 3) - 1;
    const segment = view.getUint16(at - 2, true);
    const payload = size - headers;
    if (payload <= 0 || payload > segment || (payload < segment && !isLast))
      return this.#options.counters.add(session.row, 'malformed');
    if (this.#run.takeSegment(session, counter, at, size)) return;
    this.flush();
    if (!this.#isFrom(session, at, size)) return;
    if (isSound(this.#memory, at, headers)) this.#run.begin(session, [counter - index, at, size], false);
    else this.#options.counters.add(session.row, 'malformed');
  }
}
