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
import { Control } from './control.ts';
import { Counters, COUNTERS, type Counter } from './counters.ts';
import { decodeEndpoint, type Endpoint } from './endpoint.ts';
import type { Secrets } from './handshakes.ts';
import type { LinkLegacy } from './legacy.ts';
import type { ControlEvent, ControlOptions, Link, Protection, TunnelPeer } from './link.ts';
import type { FromWorker, ToReceiver, ToSender } from './mail.ts';
import { PATH_MTU_TIMES, type PathMtuTimes } from './path-mtu.ts';
import { SESSION_TIMES, type SessionTimes } from './sessions.ts';
import { close, sendto } from './sys.ts';
import { type Ground, startThread, type Thread } from './thread.ts';
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
  /** Somebody else makes the device, and it stays; where there is none, that is an error (ENODEV). */
  readonly deviceExists?: boolean;
  readonly log?: (event: TunnelEvent) => void;
  readonly times?: Partial<SessionTimes & PathMtuTimes>;
  /** The file of the worker threads, where it is not `worker.ts` beside this one (a bundle). */
  readonly worker?: string;
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
  /** That session was made with the newest secrets of both sides; true in plain mode. */
  readonly newestKeys: boolean;
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
  readonly ground: TunnelGround;
  /** Ends the threads and leaves device and socket open: what a successor needs to go on with them. */
  leave(): Promise<readonly LinkLegacy[]>;
  /** Ends the threads, then closes device and socket. Idempotent. */
  close(): Promise<void>;
};

const TICK_MS = 100;
const CAPACITY = 5000;

const readRow = (counters: Counters, row: number): Record<Counter, number> =>
  Object.fromEntries(COUNTERS.map((name) => [name, counters.get(row, name)])) as Record<Counter, number>;

function statusOf(link: Link, control: Control, counters: Counters): PeerStatus {
  const { peer, endpoint, mtu, path, silent, heardAt, sessions, slot } = link;
  const { current } = sessions;
  const now = performance.now();
  return {
    name: peer.name,
    endpoint: endpoint && decodeEndpoint(endpoint),
    mtu,
    path: path?.phase ?? 'unknown',
    silent,
    heardMs: now - heardAt,
    sessionMs: current && now - current.bornAt,
    newestKeys: control.isNewest(link),
    counters: readRow(counters, slot + 1),
  };
}

/** Device and socket, already open. */
export type TunnelGround = { readonly tun: TunDevice; readonly udp: UdpSocket };

/** Its threads are there, but nothing is read or sent before `begin`. */
export type PreparedTunnel = {
  /** `legacy`: of the tunnel that device and socket come from, which has ended. */
  begin(legacy?: readonly LinkLegacy[]): Tunnel;
};

/** Resolves when the tunnel carries packets. Throws TunnelSysError when device or socket cannot be made. */
export async function startTunnel(options: TunnelOptions): Promise<Tunnel> {
  const { device: name, mtu, deviceExists: mustExist = false } = options;
  const keep = mustExist || options.keepDevice === true;
  const tun = openTun({ name, mtu, keep, mustExist });
  let udp: UdpSocket | undefined;
  try {
    udp = openUdp(options.port);
    return (await prepareTunnel(options, { tun, udp })).begin();
  } catch (error) {
    if (udp !== undefined) close(udp.fd);
    closeTun(tun, !keep);
    throw error;
  }
}

/** On device and socket of another process; they are this tunnel's from `begin` on. */
export async function prepareTunnel(options: TunnelOptions, ground: TunnelGround): Promise<PreparedTunnel> {
  const tunnel = new RunningTunnel(options, ground);
  await tunnel.ready;
  return {
    begin: (legacy) => {
      tunnel.begin(legacy);
      return tunnel;
    },
  };
}

class RunningTunnel implements Tunnel {
  readonly device: Tunnel['device'];
  readonly port: number;
  readonly ground: TunnelGround;
  readonly #options: TunnelOptions;
  readonly #counters: Counters;
  readonly #sender: Thread<ToSender>;
  readonly #receiver: Thread<ToReceiver>;
  readonly ready: Promise<unknown>;
  readonly #control: Control;
  #timer: NodeJS.Timeout | undefined;
  /** The receiver's sessions, once it has ended. */
  #highest: readonly (readonly [number, number])[] = [];
  #stopping: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: TunnelOptions, ground: TunnelGround) {
    const { protection, capacity = CAPACITY, worker, log } = options;
    this.#options = options;
    this.ground = ground;
    this.#counters = new Counters(capacity + 1);
    this.device = { name: ground.tun.name, index: ground.tun.index };
    this.port = ground.udp.port;
    const threads: Ground = {
      ...ground,
      counters: this.#counters,
      cipher: protection === 'plain' ? undefined : protection.cipher,
      worker,
      take: (mail) => this.#take(mail),
      failed: (why) => log?.({ event: 'failed', why }),
    };
    this.#sender = startThread<ToSender>('sender', threads);
    this.#receiver = startThread<ToReceiver>('receiver', threads);
    this.ready = Promise.all([this.#sender.ready, this.#receiver.ready]);
    this.#control = new Control(this.#controlOptions());
  }
  begin(legacy: readonly LinkLegacy[] = []): void {
    this.#control.inherit(legacy);
    this.setPeers(this.#options.peers);
    this.#openLetters();
    this.#timer = setInterval(() => this.#control.tick(), TICK_MS);
  }
  #controlOptions(): ControlOptions {
    const { node, mtu, protection, times, log } = this.#options;
    const { udp } = this.ground;
    return {
      node,
      mtu,
      protection: protection === 'plain' ? undefined : protection,
      family: udp.family,
      times: { ...SESSION_TIMES, ...PATH_MTU_TIMES, ...times },
      counters: this.#counters,
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
    if (mail.kind === 'ended') this.#noteEnd(mail);
    else if (this.#stopping === undefined) this.#control.take(mail);
  }
  #noteEnd({ errno, highest }: Extract<FromWorker, { kind: 'ended' }>): void {
    if (highest !== undefined) this.#highest = highest;
    if (this.#stopping === undefined)
      this.#options.log?.({ event: 'failed', why: `the device is gone (errno ${errno})` });
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
    const peers = [...this.#control.links].map((link) => statusOf(link, this.#control, this.#counters));
    return { peers, counters: readRow(this.#counters, 0) };
  }
  async leave(): Promise<readonly LinkLegacy[]> {
    await this.#stop();
    return this.#control.legacy(new Map(this.#highest));
  }
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }
  #stop(): Promise<void> {
    this.#stopping ??= this.#endThreads();
    return this.#stopping;
  }
  #openLetters(): void {
    this.#sender.letters.open();
    this.#receiver.letters.open();
  }
  async #endThreads(): Promise<void> {
    clearInterval(this.#timer);
    const threads = [this.#sender, this.#receiver];
    for (const { letters } of threads) letters.post({ kind: 'stop' });
    this.#openLetters();
    await Promise.all(threads.map(({ ended }) => ended));
    for (const { release } of threads) release();
  }
  async #close(): Promise<void> {
    await this.#stop();
    close(this.ground.udp.fd);
    closeTun(this.ground.tun, false);
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
