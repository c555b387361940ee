/**
 * The userspace tunnel: a TUN device whose packets go to other nodes over UDP, in clear or sealed, where the kernel has
 * neither VXLAN nor WireGuard.
 *
 *                    main thread: Control (handshakes, keys, MTU, addresses)
 *                       │ mail                                    ▲ handshakes, control data
 *   TUN ─ sender thread ┴─▶ UDP ─ ─ ─ network ─ ─ ─ UDP ─ receiver thread ─▶ TUN
 *
 * Device and socket are made in the network namespace of the calling thread, and stay there. Routes to the peers' prefixes
 * over the device, and its addresses, are for who started the tunnel. Packets from a peer that is not in the list, or with
 * a source address that its sender does not stand for, never reach the device. No secret is in what is logged or shown.
 */
import { randomInt } from 'node:crypto';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { Control } from './control.ts';
import { Counters, COUNTERS, type Counter } from './counters.ts';
import { decodeEndpoint, type Endpoint, sockaddrSize } from './endpoint.ts';
import type { Secrets } from './handshakes.ts';
import type { ControlEvent, ControlOptions, Link, Protection, TunnelPeer } from './link.ts';
import { type FromWorker, Letterbox, type ToReceiver, type ToSender, type WorkerStart } from './mail.ts';
import { PATH_MTU_TIMES, type PathMtuTimes } from './path-mtu.ts';
import { SESSION_TIMES, type SessionTimes } from './sessions.ts';
import { close, eventfd, sendto } from './sys.ts';
import { closeTun, openTun, type TunDevice } from './tun.ts';
import { openUdp, type UdpSocket } from './udp.ts';

export type { ControlEvent, Protection, TunnelPeer } from './link.ts';
export type { Endpoint } from './endpoint.ts';
export type { Secrets } from './handshakes.ts';

export type TunnelOptions = {
  /** This node, as its peers call it. */
  readonly node: string;
  readonly device: string;
  /** Of the device: the underlay's MTU less `overheadOf` (frame.ts). Paths that carry less are found out. */
  readonly mtu: number;
  /** UDP; 0: any free one. */
  readonly port: number;
  /** `plain`: anybody who can send from a peer's address is that peer. */
  readonly protection: Protection | 'plain';
  readonly peers: readonly TunnelPeer[];
  /** The device stays when the tunnel or its process ends, and the next one takes it up. */
  readonly keepDevice?: boolean;
  readonly log?: (event: TunnelEvent) => void;
  readonly times?: Partial<SessionTimes & PathMtuTimes>;
  /** The file of the worker threads, where it is not `worker.ts` beside this one (a bundle). */
  readonly worker?: URL;
  /** Peers at most, ever at a time. */
  readonly capacity?: number;
};

/** `failed`: a thread ended unasked (the device was deleted, or a defect); the tunnel is over. */
export type TunnelEvent = ControlEvent | { readonly event: 'failed'; readonly why: string };

export type PeerStatus = {
  readonly name: string;
  readonly endpoint: Endpoint | undefined;
  /** Largest inner packet, and whether that is proven. */
  readonly mtu: number;
  readonly path: string;
  /** Nothing came for longer than a peer keeps quiet. */
  readonly silent: boolean;
  readonly heardMs: number;
  /** Age of the session that sends; undefined without one, and in plain mode. */
  readonly sessionMs: number | undefined;
  readonly counters: Readonly<Record<Counter, number>>;
};

export type TunnelStatus = {
  readonly peers: readonly PeerStatus[];
  /** What has no peer. */
  readonly counters: Readonly<Record<Counter, number>>;
};

export type Tunnel = AsyncDisposable & {
  readonly device: { readonly name: string; readonly index: number };
  readonly port: number;
  /** The whole list, every time; who stays is not disturbed. Throws RangeError above the capacity. */
  setPeers(peers: readonly TunnelPeer[]): void;
  /** Sessions made with a secret that is no longer in it end at once; others are not disturbed. */
  setSecrets(secrets: Secrets): void;
  status(): TunnelStatus;
  /** Ends the threads, then closes device and socket. Idempotent. */
  close(): Promise<void>;
};

const TICK_MS = 100;
const CAPACITY = 5000;

type Thread<Mail> = {
  readonly worker: Worker;
  readonly letters: Letterbox<Mail>;
  /** Resolves when its loop begins; rejects when it never will. */
  readonly ready: Promise<void>;
  readonly ended: Promise<void>;
  readonly release: () => void;
};

type Ground = {
  readonly tun: TunDevice;
  readonly udp: UdpSocket;
  readonly counters: Counters;
  readonly options: TunnelOptions;
  readonly take: (mail: FromWorker) => void;
};

function startThread<Mail>(role: WorkerStart['role'], ground: Ground): Thread<Mail> {
  const { tun, udp, counters, options, take } = ground;
  const { port1, port2 } = new MessageChannel();
  const flag = new SharedArrayBuffer(4);
  const wake = eventfd();
  const start: WorkerStart = {
    role,
    tun: tun.fd,
    udp: udp.fd,
    wake,
    port: port2,
    flag,
    counters: counters.shared,
    cipher: options.protection === 'plain' ? undefined : options.protection.cipher,
    udpOffload: tun.udpOffload,
    sockaddrSize: sockaddrSize(udp.family),
  };
  const file = options.worker ?? new URL('./worker.ts', import.meta.url);
  const transferList: MessagePort[] = [port2];
  const worker = new Worker(file, { workerData: start, transferList, name: `tunnel ${role}` });
  worker.on('message', take);
  worker.unref();
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const ready = new Promise<void>((resolve, reject) => {
    worker.once('message', () => resolve());
    worker.once('error', reject);
  });
  worker.once('error', (error: Error) =>
    options.log?.({ event: 'failed', why: `${role}: ${error.message}` }),
  );
  const release = (): void => {
    port1.close();
    close(wake);
  };
  return { worker, letters: new Letterbox<Mail>(port1, flag, wake), ready, ended, release };
}

const readRow = (counters: Counters, row: number): Record<Counter, number> =>
  Object.fromEntries(COUNTERS.map((name) => [name, counters.get(row, name)])) as Record<Counter, number>;

function statusOf(link: Link, counters: Counters, now: number): PeerStatus {
  const { peer, endpoint, mtu, path, silent, heardAt, sessions, slot } = link;
  const { current } = sessions;
  return {
    name: peer.name,
    endpoint: endpoint && decodeEndpoint(endpoint),
    mtu,
    path: path?.phase ?? 'unknown',
    silent,
    heardMs: now - heardAt,
    sessionMs: current && now - current.bornAt,
    counters: readRow(counters, slot + 1),
  };
}

/** Resolves when the tunnel carries packets. Throws TunnelSysError when device or socket cannot be made. */
export async function startTunnel(options: TunnelOptions): Promise<Tunnel> {
  const { device, mtu, keepDevice = false, capacity = CAPACITY } = options;
  const tun = openTun({ name: device, mtu, keep: keepDevice });
  try {
    const udp = openUdp(options.port);
    const counters = new Counters(capacity + 1);
    const tunnel = new RunningTunnel(options, { tun, udp, counters });
    await tunnel.ready;
    return tunnel;
  } catch (error) {
    closeTun(tun, !keepDevice);
    throw error;
  }
}

class RunningTunnel implements Tunnel {
  readonly device: Tunnel['device'];
  readonly port: number;
  readonly #options: TunnelOptions;
  readonly #made: { readonly tun: TunDevice; readonly udp: UdpSocket; readonly counters: Counters };
  readonly #control: Control;
  readonly #sender: Thread<ToSender>;
  readonly #receiver: Thread<ToReceiver>;
  readonly #timer: NodeJS.Timeout;
  readonly ready: Promise<unknown>;
  #closing: Promise<void> | undefined;

  constructor(
    options: TunnelOptions,
    made: { readonly tun: TunDevice; readonly udp: UdpSocket; readonly counters: Counters },
  ) {
    this.#options = options;
    this.#made = made;
    this.device = { name: made.tun.name, index: made.tun.index };
    this.port = made.udp.port;
    const ground: Ground = { ...made, options, take: (mail) => this.#take(mail) };
    this.#sender = startThread<ToSender>('sender', ground);
    this.#receiver = startThread<ToReceiver>('receiver', ground);
    this.ready = Promise.all([this.#sender.ready, this.#receiver.ready]);
    this.#control = new Control(this.#controlOptions());
    this.setPeers(options.peers);
    this.#timer = setInterval(() => this.#control.tick(), TICK_MS);
  }
  #controlOptions(): ControlOptions {
    const { node, mtu, protection, times, log } = this.#options;
    const { udp, counters } = this.#made;
    return {
      node,
      mtu,
      protection: protection === 'plain' ? undefined : protection,
      family: udp.family,
      times: { ...SESSION_TIMES, ...PATH_MTU_TIMES, ...times },
      counters,
      now: () => performance.now(),
      random: () => randomInt(2 ** 32),
      toSender: (mail) => this.#sender.letters.post(mail),
      toReceiver: (mail) => this.#receiver.letters.post(mail),
      // Once more, as the first may only have been told of an earlier datagram's ICMP error.
      send: (message, to) => sendto(udp.fd, message, to) < 0 && sendto(udp.fd, message, to),
      log: (event) => log?.(event),
    };
  }
  #take(mail: FromWorker): void {
    if (this.#closing !== undefined) return;
    if (mail.kind === 'ended')
      this.#options.log?.({ event: 'failed', why: `the device is gone (errno ${mail.errno})` });
    else this.#control.take(mail);
  }
  setPeers(peers: readonly TunnelPeer[]): void {
    const { capacity = CAPACITY } = this.#options;
    if (peers.length > capacity)
      throw new RangeError(`${peers.length} peers are more than the ${capacity} there is room for`);
    this.#control.setPeers(peers);
  }
  setSecrets(secrets: Secrets): void {
    this.#control.setSecrets(secrets);
  }
  status(): TunnelStatus {
    const now = performance.now();
    const { counters } = this.#made;
    const peers = [...this.#control.links].map((link) => statusOf(link, counters, now));
    return { peers, counters: readRow(counters, 0) };
  }
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }
  async #close(): Promise<void> {
    clearInterval(this.#timer);
    for (const { letters } of [this.#sender, this.#receiver]) letters.post({ kind: 'stop' });
    await Promise.all([this.#sender.ended, this.#receiver.ended]);
    for (const { release } of [this.#sender, this.#receiver]) release();
    const { tun, udp } = this.#made;
    close(udp.fd);
    closeTun(tun, false);
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
