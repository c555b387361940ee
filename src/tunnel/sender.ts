/** The worker that carries packets from the TUN device to UDP. It decides nothing: peers, keys and MTUs come as mail. */
import type { MessagePort } from 'node:worker_threads';
import { Counters } from './counters.ts';
import { HEADER_BYTES, PACKET_AT, TAG_BYTES } from './frame.ts';
import { type FromWorker, Mailbox, type SenderPeer, type ToSender, type WorkerStart } from './mail.ts';
import { IOVEC_BYTES, Memory } from './memory.ts';
import { OutgoingMessage } from './message.ts';
import { Outbound, OUTBOUND_BYTES } from './outbound.ts';
import { packetCiphers } from './packet-cipher.ts';
import { rateLimit } from './rate-limit.ts';
import { Routes } from './routes.ts';
import { type OutPeer, Shipment, SHIPMENT_BYTES, SHIPMENT_PARTS } from './shipment.ts';
import { EAGAIN, EINTR, ENOBUFS, read, sendmsg, writev } from './sys.ts';
import { FirstLetter, Waiting, waitForRoom } from './waiting.ts';

const LARGEST = 65_535;
const REFUSALS_PER_SECOND = 100;
const TELLINGS_PER_SECOND = 10;
/** Packets between two looks at the mail. */
const BUDGET = 256;
/** How long a full socket buffer is waited for: longer, and the queue of the device is where packets are lost. */
const ROOM_MS = 10;

export class Sender {
  readonly #start: WorkerStart;
  readonly #tell: (mail: FromWorker) => void;
  readonly #memory = new Memory(OUTBOUND_BYTES + SHIPMENT_BYTES + 2 * LARGEST);
  readonly #mailbox: Mailbox<ToSender>;
  readonly #waiting: Waiting;
  readonly #first: FirstLetter;
  readonly #shipment: Shipment;
  readonly #outbound: Outbound;
  readonly #peers: (OutPeer | undefined)[] = [];
  readonly #control: number;
  readonly #pollfd: number;
  /** −errno of the last send. */
  #sent = 0;

  constructor(start: WorkerStart, tell: (mail: FromWorker) => void) {
    const memory = this.#memory;
    this.#start = start;
    this.#tell = tell;
    this.#mailbox = new Mailbox(start.port, start.flag);
    this.#waiting = new Waiting(memory, [start.tun], start.wake);
    this.#first = new FirstLetter(memory, this.#mailbox, start.wake);
    const counters = new Counters(start.counters);
    const message = new OutgoingMessage(memory, SHIPMENT_PARTS, new Uint8Array());
    const mayTell = rateLimit(TELLINGS_PER_SECOND);
    const sink = {
      send: (at: number) => this.#send(at),
      tooLarge: ({ row }: OutPeer) => mayTell() && this.#tell({ kind: 'narrow', slot: row - 1 }),
    };
    this.#shipment = new Shipment(memory, message, sink, counters);
    const iovec = memory.reserve(IOVEC_BYTES);
    this.#outbound = new Outbound(
      {
        memory,
        counters,
        shipment: this.#shipment,
        source: { read: (at, size) => read(start.tun, memory.addressOf(at), size) },
        sink: {
          write: (at, size) => {
            memory.setPart(iovec, at, size);
            return writev(start.tun, memory.addressOf(iovec), 1);
          },
        },
        wanted: (peer) => this.#tell({ kind: 'wanted', slot: peer.row - 1 }),
        mayRefuse: rateLimit(REFUSALS_PER_SECOND),
      },
      new Routes([]),
    );
    this.#outbound.peers = this.#peers;
    this.#control = memory.reserve(PACKET_AT + LARGEST);
    this.#pollfd = memory.reserve(8);
  }
  /** Until it is told to stop, or the device is gone. */
  run(): void {
    this.#tell({ kind: 'ready' });
    this.#first.wait();
    for (;;) {
      if (this.#mailbox.hasMail && !this.#readMail()) return this.#tell({ kind: 'ended', errno: 0 });
      const result = this.#outbound.pump(BUDGET);
      if (result === -EAGAIN) this.#waiting.wait();
      else if (result !== 0 && result !== -EINTR) return this.#tell({ kind: 'ended', errno: -result });
    }
  }
  /**
   * IP_RECVERR makes the answer to the datagram before (ICMP) an error of this send, which then has not happened: once more.
   */
  #send(at: number): number {
    const { udp } = this.#start;
    const pointer = this.#memory.addressOf(at);
    this.#sent = sendmsg(udp, pointer);
    if (this.#sent >= 0) return this.#sent;
    if (this.#sent === -EAGAIN || this.#sent === -ENOBUFS)
      waitForRoom(this.#memory, this.#pollfd, udp, ROOM_MS);
    this.#sent = sendmsg(udp, pointer);
    return this.#sent;
  }
  /** False when it is time to stop. */
  #readMail(): boolean {
    for (const mail of this.#mailbox.take()) {
      if (mail.kind === 'stop') return false;
      if (mail.kind === 'peers') this.#setPeers(mail.peers, new Routes(mail.routes));
      else if (mail.kind === 'peer') this.#setPeer(mail.peer);
      else if (mail.kind === 'session') this.#setSession(mail.slot, mail.session);
      else this.#sendControl(mail.slot, mail.body, mail.size);
    }
    return true;
  }
  #setPeers(peers: readonly SenderPeer[], routes: Routes): void {
    const slots = new Set(peers.map(({ slot }) => slot));
    for (const [slot, peer] of this.#peers.entries()) {
      if (peer === undefined || slots.has(slot)) continue;
      peer.session?.sealer?.close();
      this.#peers[slot] = undefined;
    }
    for (const peer of peers) this.#setPeer(peer);
    this.#outbound.routes = routes;
  }
  #setPeer({ slot, endpoint, mtu }: SenderPeer): void {
    const known = this.#peers[slot];
    if (known !== undefined) {
      [known.endpoint, known.mtu] = [endpoint, mtu];
      this.#release(known);
    } else this.#peers[slot] = { row: slot + 1, endpoint, mtu, session: undefined, staged: [] };
  }
  #setSession(slot: number, session: Extract<ToSender, { kind: 'session' }>['session']): void {
    const peer = this.#peers[slot];
    if (peer === undefined) return;
    peer.session?.sealer?.close();
    peer.session = undefined;
    if (session === undefined) return;
    const { cipher } = this.#start;
    const { index, key, counter = 0 } = session;
    const sealer =
      key === undefined || cipher === undefined ? undefined : packetCiphers(cipher).sealer(this.#memory, key);
    key?.fill(0);
    peer.session = { index, sealer, counter };
    this.#release(peer);
  }
  #release(peer: OutPeer): void {
    if (peer.session !== undefined && peer.endpoint !== undefined) this.#outbound.release(peer);
  }
  #sendControl(slot: number, body: Uint8Array, size: number): void {
    const peer = this.#peers[slot];
    if (peer?.session === undefined || peer.endpoint === undefined) return;
    const around = HEADER_BYTES + (peer.session.sealer === undefined ? 0 : TAG_BYTES);
    const inner = Math.max(body.length, size - around);
    const at = this.#control + HEADER_BYTES;
    this.#memory.bytes.fill(0, at, at + inner);
    this.#memory.bytes.set(body, at);
    this.#shipment.flush();
    this.#shipment.addWhole(peer, at, inner);
    this.#shipment.flush();
    if (this.#sent < 0) this.#tell({ kind: 'refused', slot, size, errno: -this.#sent });
  }
}

export function runSender(start: WorkerStart, parent: MessagePort): void {
  new Sender(start, (mail) => parent.postMessage(mail, [])).run();
}
