/**
 * Datagrams that came in a row and become one packet for the device: segments of a super-packet, or packets of one UDP
 * flow. The first stands whole in the memory, with its hint before it; of the others only the payload is taken, from where
 * it stands.
 *
 *   first:  hint 8 │ headers · payload     next:  header, hint, headers │ payload     …
 *           └ virtio 10 ┴── one iovec ──┘                               └ one iovec ┘
 */
import { GSO, PACKET_AT, readCounter, TYPE, VNET_BYTES, VNET_NEEDS_CSUM } from './frame.ts';
import type { InSession } from './inbound.ts';
import { checksumOffset, IP4_HEADER, IP6_HEADER, isSameFlow, mendHeaders, UDP_HEADER } from './inner.ts';
import { IOVEC_BYTES, type Memory } from './memory.ts';

/** Segments of one super-packet whose first stands whole at `at` (of its inner packet). */
type RunState = {
  readonly session: InSession;
  readonly at: number;
  /** The counter that segment 0 has. */
  readonly base: number;
  readonly first: number;
  /** Bytes of inner headers; of the first datagram; the last four bytes of its hint (index, count, segment size). */
  readonly headers: number;
  readonly size: number;
  readonly tail: number;
  /** Datagrams of UDP that were packets of their own. */
  readonly joined: boolean;
  next: number;
  payload: number;
  parts: number;
  closed: boolean;
};

/** UDP_MAX_SEGMENTS of kernels before 6.9, and of a packet’s bytes. */
const [MOST_JOINED, MOST_BYTES] = [64, 65_000];
export const RUN_PARTS = 256;
export const RUN_BYTES = RUN_PARTS * IOVEC_BYTES;

/** Writes so many iovecs as one packet, which stands for so many of the wire, of so many bytes. */
export type RunSink = (session: InSession, iovecs: number, what: RunSize) => void;
export type RunSize = { readonly parts: number; readonly bytes: number };

export class Run {
  readonly #memory: Memory;
  readonly #iovecs: number;
  readonly #sink: RunSink;
  #state: RunState | undefined;

  constructor(memory: Memory, sink: RunSink) {
    this.#memory = memory;
    this.#iovecs = memory.reserve(RUN_BYTES);
    this.#sink = sink;
  }
  /** Before the area is read into again: what still stands there goes to the device. */
  releaseArea(at: number, size: number): void {
    const state = this.#state;
    if (state === undefined) return;
    if (state.parts > RUN_PARTS / 2 || (state.at >= at && state.at < at + size)) this.flush();
  }
  /** A run whose first datagram has its hint (of a segment) before the inner packet at `at`. */
  begin(session: InSession, [base, at, size]: readonly [number, number, number], joined: boolean): void {
    const { view } = this.#memory;
    const headers = view.getUint8(at - 5);
    const first = view.getUint8(at - 4);
    this.#state = {
      session,
      at,
      base,
      first,
      headers,
      size: size + PACKET_AT,
      tail: view.getUint32(at - 4, true),
      joined,
      next: first + 1,
      payload: size - headers,
      parts: 1,
      closed: first === view.getUint8(at - 3) - 1,
    };
  }
  #append(state: RunState, at: number, payload: number): void {
    this.#memory.setPart(this.#iovecs + state.parts * IOVEC_BYTES, at, payload);
    state.parts += 1;
    state.next += 1;
    state.payload += payload;
  }
  /**
   * The way of nearly all datagrams of a plain super-packet: they differ from the one before in counter and index only, and
   * nothing has to be looked up. True when the datagram at `at` was one, and is taken.
   */
  goesOn(session: InSession, at: number, size: number): boolean {
    const state = this.#state;
    if (state?.session !== session || state.size !== size || state.closed || state.joined) return false;
    if (!this.#isNext(state, at)) return false;
    this.#append(state, at + PACKET_AT + state.headers, size - PACKET_AT - state.headers);
    return true;
  }
  #isNext({ at: first, tail, next, base }: RunState, at: number): boolean {
    const { view } = this.#memory;
    return (
      next < ((tail >>> 8) & 0xff) - 1 &&
      view.getUint32(at, true) === TYPE.plain &&
      view.getUint32(at + 16, true) === view.getUint32(first - 8, true) &&
      view.getUint32(at + 20, true) === ((tail & ~0xff) | next) >>> 0 &&
      readCounter(view, at) === base + next
    );
  }
  /** Takes a segment, its inner packet at `at`, if it is the next one of the run. */
  takeSegment(session: InSession, counter: number, at: number, size: number): boolean {
    const state = this.#state;
    const { view } = this.#memory;
    const index = view.getUint8(at - 4);
    if (
      state?.session !== session ||
      state.closed ||
      state.joined ||
      state.next !== index ||
      state.base !== counter - index ||
      view.getUint32(at - 8) !== view.getUint32(state.at - 8) ||
      view.getUint16(at - 2) !== view.getUint16(state.at - 2)
    )
      return false;
    this.#append(state, at + state.headers, size - state.headers);
    state.closed = index === view.getUint8(at - 3) - 1;
    return true;
  }
  /** Takes a packet that `udpToJoin` knows, if it is a further one of the run’s flow. */
  takeUdp(session: InSession, at: number, size: number): boolean {
    const state = this.#state;
    if (state?.session !== session || state.closed || !state.joined) return false;
    const payload = size - state.headers;
    const segment = state.tail >>> 16;
    const fits = state.parts < MOST_JOINED && state.payload + payload + state.headers <= MOST_BYTES;
    if (payload > segment || !fits || !isSameFlow(this.#memory, at, state.at)) return false;
    this.#append(state, at + state.headers, payload);
    state.closed = payload < segment;
    return true;
  }
  /** Begins a run with a packet that `udpToJoin` gave this header. */
  beginUdp(session: InSession, [at, size, transport]: readonly [number, number, number]): void {
    const { view } = this.#memory;
    view.setUint8(at - 7, GSO.udp);
    view.setUint8(at - 6, transport);
    view.setUint8(at - 5, transport + UDP_HEADER);
    view.setUint16(at - 4, 0);
    view.setUint16(at - 2, size - transport - UDP_HEADER, true);
    this.begin(session, [Number.NaN, at, size], true);
  }
  /** The run, if there is one, becomes a packet. */
  flush(): void {
    const state = this.#state;
    if (state === undefined) return;
    this.#state = undefined;
    const { view } = this.#memory;
    const { at, first, payload, parts } = state;
    const [gso, transport, headers] = [view.getUint8(at - 7), view.getUint8(at - 6), view.getUint8(at - 5)];
    const segment = view.getUint16(at - 2, true);
    const udp = (gso & ~GSO.ecn) === GSO.udp;
    mendHeaders(this.#memory, at, {
      udp,
      transport,
      headers,
      segment,
      first,
      holdsLast: state.closed,
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
    this.#sink(state.session, this.#iovecs, { parts, bytes: headers + payload });
  }
}

/** Whether the headers of a super-packet are as long and of the kind that the hint says. */
export function isSound({ view }: Memory, at: number, headers: number): boolean {
  const [gso, transport] = [view.getUint8(at - 7) & ~GSO.ecn, view.getUint8(at - 6)];
  const four = view.getUint8(at) >> 4 === 4;
  if (gso !== GSO.udp && gso !== (four ? GSO.tcp4 : GSO.tcp6)) return false;
  if (four ? (view.getUint8(at) & 0xf) * 4 !== transport : transport < IP6_HEADER) return false;
  if (transport < IP4_HEADER) return false;
  if (gso === GSO.udp) return headers === transport + 8;
  const tcp = headers - transport;
  return tcp >= 20 && tcp === (view.getUint8(at + transport + 12) >> 4) * 4;
}
