/**
 * What the threads of a tunnel tell each other. A worker's loop blocks in poll(2) and never turns its event loop, so mail to
 * it is a message on a port, a flag that costs one load to look at, and an eventfd that ends the poll.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { Prefix } from '#net/prefix.ts';
import type { CipherName } from './node-cipher.ts';
import { wake } from './sys.ts';

/** Prefix and slot of its peer. */
export type Route = readonly [Prefix, number];

/** A peer of the sender. `slot` is the routes' owner number, and the counters' row less one. */
export type SenderPeer = {
  readonly slot: number;
  readonly endpoint: Uint8Array | undefined;
  readonly mtu: number;
};

export type ToSender =
  | { readonly kind: 'peers'; readonly peers: readonly SenderPeer[]; readonly routes: readonly Route[] }
  | { readonly kind: 'peer'; readonly peer: SenderPeer }
  /** `key` absent: plain. `session` absent: there is none. `counter`: the first that it may use; absent: 0. */
  | {
      readonly kind: 'session';
      readonly slot: number;
      readonly session:
        | { readonly index: number; readonly key?: Uint8Array; readonly counter?: number }
        | undefined;
    }
  /** Control data, padded with zeros to a datagram whose UDP payload has `size` bytes. */
  | { readonly kind: 'control'; readonly slot: number; readonly body: Uint8Array; readonly size: number }
  | { readonly kind: 'stop' };

export type ToReceiver =
  | {
      readonly kind: 'peers';
      readonly routes: readonly Route[];
      /** In plain mode: who sends from where. */
      readonly plain: readonly (readonly [endpoint: string, slot: number])[];
    }
  | {
      readonly kind: 'session';
      readonly index: number;
      readonly slot: number;
      readonly key: Uint8Array;
      /** Nothing up to here is taken; absent: nothing came yet. */
      readonly highest?: number;
    }
  | { readonly kind: 'forget'; readonly index: number }
  | { readonly kind: 'stop' };

export type FromWorker =
  /** The loop begins when the letterbox is opened. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'wanted'; readonly slot: number }
  /** Control data of this size could not be sent at all. */
  | { readonly kind: 'refused'; readonly slot: number; readonly size: number; readonly errno: number }
  /** Data were too large for this machine's own way to the peer. */
  | { readonly kind: 'narrow'; readonly slot: number }
  | { readonly kind: 'handshake'; readonly message: Uint8Array; readonly from: Uint8Array }
  | { readonly kind: 'control'; readonly slot: number; readonly body: Uint8Array; readonly size: number }
  | { readonly kind: 'confirmed'; readonly slot: number; readonly index: number }
  /** A datagram of a session that is not known came from there. */
  | { readonly kind: 'lost'; readonly from: Uint8Array }
  | { readonly kind: 'heard'; readonly slot: number; readonly from: Uint8Array }
  /** A router says that datagrams to there may have this many bytes, IP header included. */
  | { readonly kind: 'too-big'; readonly to: Uint8Array; readonly mtu: number }
  /**
   * The loop has ended; `errno` of what ended it, 0 when it was asked to. `highest`: the receiver's sessions and the highest
   * counter that came in each.
   */
  | {
      readonly kind: 'ended';
      readonly errno: number;
      readonly highest?: readonly (readonly [index: number, counter: number])[];
    };

/** What a worker is started with. Descriptors belong to the main thread. */
export type WorkerStart = {
  readonly role: 'sender' | 'receiver';
  readonly tun: number;
  readonly udp: number;
  readonly wake: number;
  readonly port: MessagePort;
  readonly flag: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  /** Undefined: plain. */
  readonly cipher: CipherName | undefined;
  /** Of the device: it takes super-packets of UDP. */
  readonly udpOffload: boolean;
  /** Bytes of a socket address of `udp`. */
  readonly sockaddrSize: number;
};

export class Letterbox<Mail> {
  readonly #port: MessagePort;
  readonly #flag: Int32Array;
  readonly #eventfd: number;
  #isOpen = false;

  constructor(port: MessagePort, flag: SharedArrayBuffer, eventfd: number) {
    this.#port = port;
    this.#flag = new Int32Array(flag);
    this.#eventfd = eventfd;
  }
  post(mail: Mail): void {
    this.#port.postMessage(mail, []);
    if (this.#isOpen) this.#ring();
  }
  /** Letters so far were kept back: the worker begins with all of them in its hands. */
  open(): void {
    this.#isOpen = true;
    this.#ring();
  }
  #ring(): void {
    Atomics.store(this.#flag, 0, 1);
    wake(this.#eventfd);
  }
}

export class Mailbox<Mail> {
  readonly #port: MessagePort;
  readonly #flag: Int32Array;

  constructor(port: MessagePort, flag: SharedArrayBuffer) {
    this.#port = port;
    this.#flag = new Int32Array(flag);
  }
  get hasMail(): boolean {
    return Atomics.load(this.#flag, 0) !== 0;
  }
  /** All that has come, in order. */
  *take(): Iterable<Mail> {
    Atomics.store(this.#flag, 0, 0);
    for (;;) {
      const got = receiveMessageOnPort(this.#port);
      if (got === undefined) return;
      yield got.message;
    }
  }
}
