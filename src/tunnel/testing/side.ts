/** One end of a tunnel without a kernel: the twin of the workers' system calls, over the same memory and code. */
import { prefix } from '#net/prefix.ts';
import { Counters } from '../counters.ts';
import { Inbound, INBOUND_BYTES, type InboundEvents, type InSession } from '../inbound.ts';
import { Memory } from '../memory.ts';
import { OutgoingMessage } from '../message.ts';
import type { CipherName } from '../node-cipher.ts';
import { Outbound, OUTBOUND_BYTES } from '../outbound.ts';
import { packetCiphers } from '../packet-cipher.ts';
import { ReplayWindow } from '../replay.ts';
import { Routes } from '../routes.ts';
import { type OutPeer, Shipment, SHIPMENT_BYTES, SHIPMENT_PARTS } from '../shipment.ts';

const EAGAIN = 11;
const RECEIVE = 1 << 17;

export type Protection = { readonly cipher: CipherName; readonly key: Uint8Array } | 'plain';

/** Peers 0 and 1 stand for the addresses that end in 0–127 and 128–255. */
export const ROUTES = new Routes([
  [prefix('10.77.0.0/25'), 0],
  [prefix('10.77.0.128/25'), 1],
  [prefix('fd77::/121'), 0],
  [prefix('fd77::80/121'), 1],
]);

/** What leaves in one system call: datagrams that the kernel would cut and join again. */
export type Sent = { readonly data: Buffer; readonly segment: number; readonly to: Buffer };

export function datagramsOf({ data, segment }: Sent): Buffer[] {
  const each = segment === 0 ? data.length : segment;
  return Array.from({ length: Math.ceil(data.length / each) }, (_, index) =>
    data.subarray(index * each, (index + 1) * each),
  );
}

export class SendingSide {
  readonly sent: Sent[] = [];
  /** What came back over the device: refusals. */
  readonly answers: Buffer[] = [];
  readonly wanted: OutPeer[] = [];
  readonly counters = new Counters(3);
  readonly outbound: Outbound;
  readonly peers: readonly OutPeer[];
  readonly #queue: Buffer[] = [];

  constructor(protection: Protection, mtu: number) {
    const memory = new Memory(OUTBOUND_BYTES + SHIPMENT_BYTES + (1 << 17));
    const message = new OutgoingMessage(memory, SHIPMENT_PARTS, new Uint8Array());
    const sink = { send: () => this.sent.push(message.content), tooLarge: () => {} };
    const sealer = (): OutPeer['session'] => ({
      index: 5,
      counter: 0,
      sealer:
        protection === 'plain' ? undefined : packetCiphers(protection.cipher).sealer(memory, protection.key),
    });
    this.peers = [1, 2].map((row) => ({
      row,
      endpoint: Buffer.from([row]),
      mtu,
      session: sealer(),
      staged: [],
    }));
    this.outbound = new Outbound(
      {
        memory,
        shipment: new Shipment(memory, message, sink, this.counters),
        counters: this.counters,
        source: {
          read: (at) => {
            const next = this.#queue.shift();
            return next === undefined ? -EAGAIN : next.copy(memory.bytes, at);
          },
        },
        sink: {
          write: (at, size) => this.answers.push(Buffer.from(memory.bytes.subarray(at, at + size))),
        },
        wanted: (peer) => this.wanted.push(peer),
        mayRefuse: () => true,
      },
      ROUTES,
    );
    this.outbound.peers = this.peers;
  }
  /** Everything that these packets make leave. */
  take(packets: readonly Buffer[]): Sent[] {
    this.#queue.push(...packets);
    while (this.outbound.pump(64) === 0);
    return this.sent.splice(0);
  }
}

/** The node that is peer 0 of a sender, and knows the sender as peer `from`. */
export class ReceivingSide {
  readonly written: Buffer[] = [];
  readonly counters = new Counters(3);
  readonly inbound: Inbound;
  readonly session: InSession;
  readonly #memory = new Memory(INBOUND_BYTES + 2 * RECEIVE + 4096);
  readonly #areas = [this.#memory.reserve(RECEIVE), this.#memory.reserve(RECEIVE)] as const;
  #turn: 0 | 1 = 0;

  constructor(protection: Protection, from: number, events: Partial<InboundEvents> = {}) {
    const nothing = (): void => {};
    this.inbound = new Inbound(
      {
        memory: this.#memory,
        counters: this.counters,
        joinsUdp: true,
        sink: { write: (iovecs, count) => this.written.push(this.#memory.gather(iovecs, count)) },
        events: {
          handshake: nothing,
          control: nothing,
          confirmed: nothing,
          heard: nothing,
          unknown: nothing,
          lost: nothing,
          ...events,
        },
      },
      ROUTES,
    );
    const opener =
      protection === 'plain'
        ? undefined
        : packetCiphers(protection.cipher).opener(this.#memory, protection.key);
    this.session = {
      index: 5,
      peer: from,
      row: from + 1,
      opener,
      window: new ReplayWindow(),
      confirmed: false,
    };
    this.inbound.sessions.set(5, this.session);
    if (protection === 'plain') this.inbound.plainSession = () => this.session;
  }
  /** Datagrams as the kernel hands them over: those of one size in a row at once, the last may be smaller. */
  take(datagrams: readonly Buffer[]): Buffer[] {
    for (let from = 0; from < datagrams.length;) {
      const size = sizeAt(datagrams, from);
      const end = Math.min(datagrams.length, from + 64);
      let to = from + 1;
      while (to < end && sizeAt(datagrams, to) === size) to += 1;
      if (to < end && sizeAt(datagrams, to) < size) to += 1;
      const joined = Buffer.concat(datagrams.slice(from, to));
      const at = this.#areas[this.#turn];
      this.#turn = this.#turn === 0 ? 1 : 0;
      this.inbound.releaseArea(at, RECEIVE);
      joined.copy(this.#memory.bytes, at);
      this.inbound.take(at, joined.length, to - from > 1 ? size : 0);
      from = to;
    }
    this.inbound.flush();
    return this.written.splice(0);
  }
}

const sizeAt = (datagrams: readonly Buffer[], index: number): number => datagrams[index]?.length ?? 0;
