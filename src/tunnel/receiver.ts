/** The worker that carries datagrams from UDP to the TUN device, and hands what is not a packet to the main thread. */
import type { MessagePort } from 'node:worker_threads';
import { Counters } from './counters.ts';
import { endpointKey } from './endpoint.ts';
import { Inbound, INBOUND_BYTES, type InSession } from './inbound.ts';
import { type FromWorker, Mailbox, type ToReceiver, type WorkerStart } from './mail.ts';
import { Memory } from './memory.ts';
import { IncomingMessage } from './message.ts';
import { packetCiphers } from './packet-cipher.ts';
import { rateLimit } from './rate-limit.ts';
import { ReplayWindow } from './replay.ts';
import { Routes } from './routes.ts';
import { EAGAIN, EINTR, MSG_ERRQUEUE, recvmsg, writev } from './sys.ts';
import { FirstLetter, Waiting } from './waiting.ts';

const LARGEST = 1 << 16;
/** A super-packet comes in two pieces at least, and may begin at the end of a third: it is joined all the same. */
const AREAS = 3;
const TELLINGS_PER_SECOND = 10;
/** Datagrams (joined or not) between two looks at the mail. */
const BUDGET = 256;

export class Receiver {
  readonly #start: WorkerStart;
  readonly #tell: (mail: FromWorker) => void;
  readonly #memory = new Memory(INBOUND_BYTES + AREAS * LARGEST + 8192);
  readonly #mailbox: Mailbox<ToReceiver>;
  readonly #waiting: Waiting;
  readonly #first: FirstLetter;
  readonly #inbound: Inbound;
  readonly #messages: readonly IncomingMessage[];
  readonly #areas: readonly number[];
  readonly #errors: IncomingMessage;
  #turn = 0;
  #stopped = false;
  /** Where the datagrams that are being taken come from. */
  #from: IncomingMessage;
  #plain = new Map<string, InSession>();
  readonly #lastHeard = new Map<number, Buffer>();

  constructor(start: WorkerStart, tell: (mail: FromWorker) => void) {
    const memory = this.#memory;
    const { tun, udp, wake, sockaddrSize } = start;
    this.#start = start;
    this.#tell = tell;
    this.#mailbox = new Mailbox(start.port, start.flag);
    this.#waiting = new Waiting(memory, [udp], wake);
    this.#first = new FirstLetter(memory, this.#mailbox, wake);
    this.#areas = Array.from({ length: AREAS }, () => memory.reserve(LARGEST));
    this.#messages = this.#areas.map(
      (at) => new IncomingMessage(memory, { at, size: LARGEST }, sockaddrSize),
    );
    const quoted = memory.reserve(64);
    this.#errors = new IncomingMessage(memory, { at: quoted, size: 64 }, sockaddrSize);
    this.#from = this.#errors;
    const sink = {
      write: (iovecs: number, count: number) => writev(tun, memory.addressOf(iovecs), count),
    };
    const counters = new Counters(start.counters);
    const mayTell = rateLimit(TELLINGS_PER_SECOND);
    const events = {
      handshake: (message: Buffer) => this.#tell({ kind: 'handshake', message, from: this.#sender() }),
      control: ({ peer }: InSession, body: Buffer) =>
        this.#tell({ kind: 'control', slot: peer, body: body.subarray(0, 16), size: body.length }),
      confirmed: ({ peer, index }: InSession) => this.#tell({ kind: 'confirmed', slot: peer, index }),
      heard: ({ peer }: InSession) => this.#hear(peer),
      unknown: () => this.#readMail(),
      lost: () => mayTell() && this.#tell({ kind: 'lost', from: this.#sender() }),
    };
    this.#inbound = new Inbound(
      { memory, sink, counters, events, joinsUdp: start.udpOffload },
      new Routes([]),
    );
    if (start.cipher === undefined) this.#inbound.plainSession = () => this.#plainSession();
  }
  run(): void {
    this.#tell({ kind: 'ready' });
    this.#first.wait();
    for (;;) {
      if (this.#mailbox.hasMail) this.#readMail();
      if (this.#stopped) return this.#leave();
      if (this.#pump()) continue;
      this.#inbound.flush();
      this.#waiting.wait();
      if (this.#waiting.hasError(0)) this.#readErrors();
    }
  }
  /** False when there is nothing left. An ICMP error in between is read, told and forgotten. */
  #pump(): boolean {
    for (let taken = 0; taken < BUDGET; taken += 1) {
      const area = this.#areas[this.#turn];
      const message = this.#messages[this.#turn];
      if (area === undefined || message === undefined) throw new Error('no such area');
      this.#inbound.releaseArea(area, LARGEST);
      message.reset();
      const size = recvmsg(this.#start.udp, this.#memory.addressOf(message.at));
      if (size === -EAGAIN) return false;
      if (size === -EINTR) continue;
      if (size < 0) {
        this.#readErrors();
        continue;
      }
      this.#from = message;
      this.#inbound.take(area, size, message.segment());
      this.#turn = (this.#turn + 1) % AREAS;
    }
    return true;
  }
  #leave(): void {
    this.#inbound.flush();
    const highest = [...this.#inbound.sessions].map(
      ([index, { window }]) => [index, window.highest] as const,
    );
    this.#tell({ kind: 'ended', errno: 0, highest });
  }
  #readErrors(): void {
    for (;;) {
      this.#errors.reset();
      const result = recvmsg(this.#start.udp, this.#memory.addressOf(this.#errors.at), MSG_ERRQUEUE);
      if (result < 0) return;
      const mtu = this.#errors.tooBig();
      if (mtu > 0) this.#tell({ kind: 'too-big', to: this.#errors.nameBytes(), mtu });
    }
  }
  #sender(): Buffer {
    return this.#from.nameBytes();
  }
  #hear(slot: number): void {
    const known = this.#lastHeard.get(slot);
    if (known !== undefined && this.#from.hasName(known)) return;
    const from = this.#sender();
    this.#lastHeard.set(slot, from);
    this.#tell({ kind: 'heard', slot, from });
  }
  #lastPlain: { readonly from: Buffer; readonly session: InSession | undefined } | undefined;
  #plainSession(): InSession | undefined {
    if (this.#lastPlain === undefined || !this.#from.hasName(this.#lastPlain.from)) {
      const from = this.#sender();
      this.#lastPlain = { from, session: this.#plain.get(endpointKey(from)) };
    }
    return this.#lastPlain.session;
  }
  #readMail(): void {
    for (const mail of this.#mailbox.take()) {
      if (mail.kind === 'stop') this.#stopped = true;
      else if (mail.kind === 'peers') this.#setPeers(mail);
      else if (mail.kind === 'session') this.#addSession(mail);
      else this.#forget(mail.index);
    }
  }
  #setPeers({ routes, plain }: Extract<ToReceiver, { kind: 'peers' }>): void {
    this.#inbound.routes = new Routes(routes);
    this.#lastPlain = undefined;
    const sessionOf = (slot: number): InSession => ({
      index: 0,
      peer: slot,
      row: slot + 1,
      opener: undefined,
      window: new ReplayWindow(),
      confirmed: true,
    });
    this.#plain = new Map(plain.map(([endpoint, slot]) => [endpoint, sessionOf(slot)]));
  }
  #addSession({ index, slot, key, highest }: Extract<ToReceiver, { kind: 'session' }>): void {
    const { cipher } = this.#start;
    if (cipher === undefined) return;
    const opener = packetCiphers(cipher).opener(this.#memory, key);
    key.fill(0);
    const window = new ReplayWindow(highest);
    this.#inbound.sessions.set(index, {
      index,
      peer: slot,
      row: slot + 1,
      opener,
      window,
      confirmed: false,
    });
  }
  #forget(index: number): void {
    const session = this.#inbound.sessions.get(index);
    if (session === undefined) return;
    this.#inbound.flush();
    session.opener?.close();
    this.#inbound.sessions.delete(index);
  }
}

export function runReceiver(start: WorkerStart, parent: MessagePort): void {
  new Receiver(start, (mail) => parent.postMessage(mail, [])).run();
}
