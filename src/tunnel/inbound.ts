/**
 * From UDP to the TUN device. The kernel hands over many datagrams at once (UDP_GRO); each is checked for itself (known
 * session or peer, replay, tag, source address), and segments of one super-packet that came in a row go to the device as
 * one packet again, without being copied. Whatever is wrong with a datagram costs only that datagram, and is counted.
 */
import type { Counters } from './counters.ts';
import {
  GSO,
  HEADER_BYTES,
  KIND,
  PACKET_AT,
  readCounter,
  TAG_BYTES,
  TYPE,
  VNET_BYTES,
  VNET_NEEDS_CSUM,
} from './frame.ts';
import { checksumOffset, familyAt, IP4_HEADER, IP6_HEADER, mendHeaders } from './inner.ts';
import { IOVEC_BYTES, type Memory } from './memory.ts';
import type { Opener } from './packet-cipher.ts';
import type { ReplayWindow } from './replay.ts';
import type { Routes } from './routes.ts';

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
};

export type InboundOptions = {
  readonly memory: Memory;
  readonly sink: PacketSink;
  readonly counters: Counters;
  readonly events: InboundEvents;
};

/** Segments of one super-packet whose first stands whole at `at` (of its inner packet). */
type Run = {
  readonly session: InSession;
  readonly at: number;
  /** The counter that segment 0 has. */
  readonly base: number;
  readonly first: number;
  next: number;
  payload: number;
  parts: number;
  closed: boolean;
};

export const INBOUND_PARTS = 256;
export const INBOUND_BYTES = INBOUND_PARTS * IOVEC_BYTES;

export class Inbound {
  readonly #options: InboundOptions;
  readonly #memory: Memory;
  readonly #iovecs: number;
  #run: Run | undefined;
  #heard: InSession | undefined;
  routes: Routes;
  /** By this side's number of the session. */
  readonly sessions = new Map<number, InSession>();
  /** In plain mode the session of the sender; undefined when the sender is unknown. */
  plainSession: (() => InSession | undefined) | undefined;

  constructor(options: InboundOptions, routes: Routes) {
    this.#options = options;
    this.#memory = options.memory;
    this.#iovecs = options.memory.reserve(INBOUND_BYTES);
    this.routes = routes;
  }
  /**
   * Datagrams of one sender, at `at`, of `segment` bytes each (0: it is one). Their bytes are in use until `flush`, or
   * `releaseArea`.
   */
  take(at: number, size: number, segment: number): void {
    this.#heard = undefined;
    const each = segment === 0 ? size : segment;
    for (let from = 0; from < size; from += each) this.#takeDatagram(at + from, Math.min(each, size - from));
  }
  /** Before the area is read into again: what still stands there goes to the device. */
  releaseArea(at: number, size: number): void {
    const run = this.#run;
    if (run === undefined) return;
    if (run.parts > INBOUND_PARTS / 2 || (run.at >= at && run.at < at + size)) this.flush();
  }
  #takeDatagram(at: number, size: number): void {
    const { counters, events } = this.#options;
    if (size < HEADER_BYTES) return counters.add(0, 'malformed');
    const { view } = this.#memory;
    const type = view.getUint32(at, true);
    if (type === TYPE.sealed && this.plainSession === undefined) this.#takeSealed(at, size);
    else if (type === TYPE.plain && this.plainSession !== undefined) {
      const session = this.plainSession();
      if (session === undefined) return counters.add(0, 'unknownPeer');
      this.#takeBody(session, [readCounter(view, at), at + HEADER_BYTES, size - HEADER_BYTES]);
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
    if (session?.opener === undefined) return counters.add(0, 'unknownSession');
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
    this.#takeBody(session, [counter, at + HEADER_BYTES, body]);
  }
  #takeBody(session: InSession, [counter, at, size]: readonly [number, number, number]): void {
    const { counters, events } = this.#options;
    const kind = this.#memory.view.getUint8(at);
    const packet = at + PACKET_AT - HEADER_BYTES;
    const packetSize = size - (packet - at);
    if (kind === KIND.segment) this.#takeSegment(session, counter, packet, packetSize);
    else if (kind === KIND.packet) this.#takePacket(session, packet, packetSize);
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
    this.flush();
    if (!this.#isFrom(session, at, size)) return;
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
    this.#memory.setPart(this.#iovecs, vnet, VNET_BYTES + size);
    this.#write(session, 1, [1, size]);
  }
  #write(session: InSession, parts: number, [packets, bytes]: readonly [number, number]): void {
    const { sink, counters } = this.#options;
    if (sink.write(this.#iovecs, parts) < 0) return counters.add(session.row, 'refusedByTun');
    counters.add(session.row, 'receivedPackets', packets);
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
    const run = this.#run;
    if (run !== undefined && this.#continues(run, session, [counter, index, at])) {
      this.#memory.setPart(this.#iovecs + run.parts * IOVEC_BYTES, at + headers, payload);
      run.parts += 1;
      run.next += 1;
      run.payload += payload;
      run.closed = isLast;
      return;
    }
    this.flush();
    if (!this.#isFrom(session, at, size)) return;
    if (!isSound(this.#memory, at, headers)) return this.#options.counters.add(session.row, 'malformed');
    const base = counter - index;
    this.#run = { session, at, base, first: index, next: index + 1, payload, parts: 1, closed: isLast };
  }
  #continues(run: Run, session: InSession, [counter, index, at]: readonly [number, number, number]): boolean {
    const { view } = this.#memory;
    return (
      run.session === session &&
      !run.closed &&
      run.next === index &&
      run.base === counter - index &&
      view.getUint32(at - 8) === view.getUint32(run.at - 8) &&
      view.getUint16(at - 2) === view.getUint16(run.at - 2)
    );
  }
  /** The run, if there is one, becomes a packet. */
  flush(): void {
    const run = this.#run;
    if (run === undefined) return;
    this.#run = undefined;
    const { view } = this.#memory;
    const { at, first, payload, parts } = run;
    const [gso, transport, headers] = [view.getUint8(at - 7), view.getUint8(at - 6), view.getUint8(at - 5)];
    const segment = view.getUint16(at - 2, true);
    const udp = (gso & ~GSO.ecn) === GSO.udp;
    mendHeaders(this.#memory, at, {
      udp,
      transport,
      headers,
      segment,
      first,
      holdsLast: run.closed,
      payload,
    });
    const vnet = at - VNET_BYTES;
    const single = payload <= segment;
    view.setUint8(vnet, VNET_NEEDS_CSUM);
    view.setUint8(vnet + 1, single ? GSO.none : gso);
    view.setUint16(vnet + 2, single ? 0 : headers, true);
    view.setUint16(vnet + 4, single ? 0 : segment, true);
    view.setUint16(vnet + 6, transport, true);
    view.setUint16(vnet + 8, checksumOffset(udp), true);
    this.#memory.setPart(this.#iovecs, vnet, VNET_BYTES + headers + Math.min(segment, payload));
    this.#write(run.session, parts, [parts, headers + payload]);
  }
}

/** Whether the headers of a super-packet are as long and of the kind that the hint says. */
function isSound({ view }: Memory, at: number, headers: number): boolean {
  const [gso, transport] = [view.getUint8(at - 7) & ~GSO.ecn, view.getUint8(at - 6)];
  const four = view.getUint8(at) >> 4 === 4;
  if (gso !== GSO.udp && gso !== (four ? GSO.tcp4 : GSO.tcp6)) return false;
  if (four ? (view.getUint8(at) & 0xf) * 4 !== transport : transport < IP6_HEADER) return false;
  if (transport < IP4_HEADER) return false;
  if (gso === GSO.udp) return headers === transport + 8;
  const tcp = headers - transport;
  return tcp >= 20 && tcp === (view.getUint8(at + transport + 12) >> 4) * 4;
}
