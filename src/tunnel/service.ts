/**
 * The tunnel of an order: made when the order comes, made anew when it needs another socket, device or cipher, and made
 * again when it failed. Orders are done one after the other; the newest is what counts.
 */
import { isDeepStrictEqual } from 'node:util';
import type { LinkLegacy } from './legacy.ts';
import { isSameGround, optionsOf, type Order, peersOf, secretsOf } from './order.ts';
import {
  type PreparedTunnel,
  prepareTunnel,
  startTunnel,
  type Tunnel,
  type TunnelEvent,
  type TunnelGround,
  type TunnelOptions,
  type TunnelStatus,
} from './tunnel.ts';

export type ServiceOptions = {
  /** The file of worker threads. */
  readonly worker: string;
  readonly tell: (event: TunnelEvent) => void;
};

/** What a process leaves to the next one. */
export type Estate = {
  readonly order: Order;
  readonly links: readonly LinkLegacy[];
};

const AGAIN_MS = 1000;

export class Service {
  readonly #options: ServiceOptions;
  #turn: Promise<unknown> = Promise.resolve();
  #order: Order | undefined;
  #tunnel: Tunnel | undefined;
  #again: NodeJS.Timeout | undefined;

  constructor(options: ServiceOptions) {
    this.#options = options;
  }
  get order(): Order | undefined {
    return this.#order;
  }
  get ground(): TunnelGround | undefined {
    return this.#tunnel?.ground;
  }
  status(): TunnelStatus | undefined {
    return this.#tunnel?.status();
  }
  /** Throws TunnelSysError, TypeError or RangeError when it cannot be carried. */
  carry(order: Order): Promise<void> {
    return this.#next(() => this.#carry(order));
  }
  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
  async #carry(order: Order): Promise<void> {
    const before = this.#order;
    this.#order = order;
    if (this.#tunnel === undefined || before === undefined || !isSameGround(before, order))
      return this.#restart(order);
    if (order.secrets !== undefined && !isDeepStrictEqual(order.secrets, before.secrets))
      this.#tunnel.setSecrets(secretsOf(order.secrets));
    this.#tunnel.setPeers(peersOf(order));
  }
  async #restart(order: Order): Promise<void> {
    clearTimeout(this.#again);
    await this.#drop();
    try {
      this.#tunnel = await startTunnel(this.#tunnelOptions(order));
    } catch (error) {
      this.#again = setTimeout(() => void this.#tryAgain(), AGAIN_MS);
      throw error;
    }
  }
  #tryAgain(): Promise<void> {
    return this.#next(async () => {
      if (this.#tunnel === undefined && this.#order !== undefined) await this.#restart(this.#order);
    }).catch(() => {});
  }
  async #drop(): Promise<void> {
    const tunnel = this.#tunnel;
    this.#tunnel = undefined;
    await tunnel?.close();
  }
  #tunnelOptions(order: Order): TunnelOptions {
    const { worker } = this.#options;
    return { ...optionsOf(order), peers: peersOf(order), worker, log: (event) => this.#log(event) };
  }
  #log(event: TunnelEvent): void {
    this.#options.tell(event);
    // The device may be made again at any time; then the order holds as before.
    if (event.event === 'failed') void this.#next(() => this.#drop()).then(() => this.#tryAgain());
  }
  /** Threads on what another process still uses. */
  async prepare(order: Order, ground: TunnelGround): Promise<PreparedTunnel> {
    this.#order = order;
    return prepareTunnel(this.#tunnelOptions(order), ground);
  }
  begin(prepared: PreparedTunnel, links: readonly LinkLegacy[]): void {
    this.#tunnel = prepared.begin(links);
  }
  /** Undefined when nothing is carried. Device and socket stay open. */
  leave(): Promise<Estate | undefined> {
    return this.#next(async () => {
      const [tunnel, order] = [this.#tunnel, this.#order];
      if (tunnel === undefined || order === undefined) return undefined;
      this.#tunnel = undefined;
      return { order, links: await tunnel.leave() };
    });
  }
  close(): Promise<void> {
    clearTimeout(this.#again);
    this.#order = undefined;
    return this.#next(() => this.#drop());
  }
}
