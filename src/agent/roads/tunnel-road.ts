/**
 * The userspace tunnel as a part of the kernel: what steps ask for becomes an order to the tunnel's process, which is found,
 * started, replaced by the present program, or ended. It outlives this agent; what it carries when an agent starts is what
 * is seen, so that no peer is dropped before all sources have said what they want.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Events, Logger } from '#lib/log.ts';
import type { TunnelSecrets } from './tunnel-secrets.ts';
import type { Clock } from '#lib/clock.ts';
import { type Reconciler, startReconciler } from '#lib/reconciler.ts';
import type { Failure, Userspace } from '#kernel/kernel.ts';
import type { Step } from '#model/diff.ts';
import type { Item, TunnelItem, TunnelPeerItem } from '#model/host.ts';
import { findProcess, type ProcessOptions, replaceProcess, startProcess } from '#tunnel/client.ts';
import type { LineClient } from '#tunnel/lines.ts';
import type { Look, Order } from '#tunnel/order.ts';
import { programOf } from '#tunnel/program.ts';
import type { TunnelEvent, TunnelStatus } from '#tunnel/tunnel.ts';

export type TunnelRoadOptions = {
  /** Of socket and log; boot-scoped. */
  readonly directory: string;
  /** The file that the process runs; absent: as this program is shipped. */
  readonly file?: string;
  /** Throws a Fault when they cannot be read. */
  readonly secrets: () => TunnelSecrets;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly events: Events;
};

type Failing = { readonly code: string; readonly message: string };

export const TUNNEL_SOCKET = 'tunnel.sock';
/** Files of secrets are looked at so often. */
const RESYNC_MS = 5000;

/** Ends the process, if there is one. */
export async function endTunnel(directory: string): Promise<void> {
  const client = await findProcess({ socket: join(directory, TUNNEL_SOCKET), onEvent: () => undefined });
  await client?.ask({ do: 'end' }).catch(() => undefined);
  client?.close();
}

/** Resolves when it is known what is carried. */
export async function openTunnelRoad(options: TunnelRoadOptions): Promise<TunnelRoad> {
  const road = new TunnelRoad(options);
  await road.find();
  return road;
}

/** As shipped, else the source. */
function shippedFile(): string {
  const shipped = join(import.meta.dirname, 'tunnel.cjs');
  return existsSync(shipped) ? shipped : join(import.meta.dirname, '../../tunnel/daemon.ts');
}

export class TunnelRoad implements Userspace {
  readonly #options: TunnelRoadOptions;
  readonly #process: ProcessOptions & { readonly name: string };
  readonly #peers = new Map<string, TunnelPeerItem>();
  #tunnel: TunnelItem | undefined;
  #client: LineClient | undefined;
  /** As the process has it. */
  #carried = '';
  #failure: Failing | undefined;
  /** How often steps were taken, and how often they had been when the last order was carried. */
  #taken = 0;
  #done = 0;
  #loop: Reconciler | undefined;
  /** Told when what is seen is no longer what the steps asked for, or is so again. */
  onChange: () => void = () => undefined;
  /** Told when the process carries all that was asked for. */
  onCarried: () => void = () => undefined;
  /** Told when the secrets are others: peers have to know. */
  onSecrets: () => void = () => undefined;
  #secrets: TunnelSecrets | undefined;

  constructor(options: TunnelRoadOptions) {
    const { directory, file = shippedFile() } = options;
    this.#options = options;
    this.#process = {
      socket: join(directory, TUNNEL_SOCKET),
      log: join(directory, 'tunnel.log'),
      program: [process.execPath, ...process.execArgv, file],
      name: programOf(file),
      onEvent: (event) => this.#tell(event),
    };
  }
  /** Takes over what a process carries. */
  async find(): Promise<void> {
    const client = await findProcess(this.#process);
    if (client === undefined) return;
    const { order } = await client.ask<Look>({ do: 'look' });
    client.close();
    if (order !== undefined) for (const item of itemsOf(order)) this.#note(item);
    this.#nudge();
  }
  observe(): readonly Item[] {
    const tunnel = this.#failure === undefined && this.#tunnel !== undefined ? [this.#tunnel] : [];
    return [...tunnel, ...this.#peers.values()];
  }
  /** Something was asked for that the process does not carry yet. */
  get isBehind(): boolean {
    return this.#done !== this.#taken;
  }
  apply(steps: readonly Step[]): Failure[] {
    this.#taken += 1;
    for (const step of steps) this.#take(step);
    this.#nudge();
    const failure = this.#failure;
    if (failure === undefined) return [];
    return steps
      .filter((step) => step.op !== 'remove' && step.item.kind === 'tunnel')
      .map((step) => ({ step, ...failure }));
  }
  #take(step: Step): void {
    if (step.op !== 'remove') return this.#note(step.item);
    if (step.was.kind === 'tunnel') this.#tunnel = undefined;
    else if (step.was.kind === 'tunnel-peer') this.#peers.delete(step.was.peer);
  }
  #note(item: Item): void {
    if (item.kind === 'tunnel') this.#tunnel = item;
    else if (item.kind === 'tunnel-peer') this.#peers.set(item.peer, item);
  }
  /** Undefined while nothing is carried, or its process does not answer. */
  async status(): Promise<TunnelStatus | undefined> {
    const look = await this.#client?.ask<Look>({ do: 'look' }).catch(() => undefined);
    return look?.status;
  }

  #nudge(): void {
    const { clock, signal, log } = this.#options;
    const onError = (error: unknown): void => log.error({ err: error }, 'a pass of the tunnel failed');
    const pass = (): Promise<'ok' | 'retry'> => this.#pass();
    if (this.#loop === undefined) {
      this.#loop = startReconciler({ pass, onError, clock, signal, resyncMs: RESYNC_MS });
    } else this.#loop.nudge();
  }
  async #pass(): Promise<'ok' | 'retry'> {
    const taken = this.#taken;
    try {
      await this.#make();
      this.#settle(undefined);
      if (this.#done !== taken) this.#noteCarried(taken);
      return 'ok';
    } catch (error) {
      const { message, code = 'EIO' } = error as Error & { readonly code?: string };
      this.#settle({ code, message });
      return 'retry';
    }
  }
  #noteCarried(taken: number): void {
    this.#done = taken;
    if (!this.isBehind) this.onCarried();
  }
  #settle(failure: Failing | undefined): void {
    const before = this.#failure?.message;
    this.#failure = failure;
    if (failure?.message === before) return;
    if (failure !== undefined) this.#options.events.add('error', `userspace tunnel: ${failure.message}`);
    this.onChange();
  }
  async #make(): Promise<void> {
    if (this.#tunnel === undefined) return this.#end();
    const order = orderOf(this.#tunnel, [...this.#peers.values()], this.#look());
    const client = (this.#client ??= await this.#open());
    const text = JSON.stringify(order);
    if (text === this.#carried) return;
    await client.ask({ do: 'carry', order });
    this.#carried = text;
  }
  #look(): TunnelSecrets {
    const secrets = this.#options.secrets();
    if (this.#secrets !== undefined && this.#secrets !== secrets) this.onSecrets();
    this.#secrets = secrets;
    return secrets;
  }
  async #end(): Promise<void> {
    const client = this.#client ?? (await findProcess(this.#process));
    this.#client = undefined;
    this.#carried = '';
    await client?.ask({ do: 'end' });
    client?.close();
  }
  async #open(): Promise<LineClient> {
    const found = await findProcess(this.#process);
    const client = found === undefined ? await startProcess(this.#process) : await this.#renew(found);
    void client.closed.then(() => this.#lose(client));
    this.#carried = '';
    return client;
  }
  /** A process of another program leaves to one of this; where it cannot, it goes on. */
  async #renew(found: LineClient): Promise<LineClient> {
    const { program, status } = await found.ask<Look>({ do: 'look' });
    if (program === this.#process.name || status === undefined) return found;
    try {
      const renewed = await replaceProcess(this.#process, found);
      this.#options.events.add('info', 'the userspace tunnel’s process was replaced by the present program');
      return renewed;
    } catch (error) {
      this.#options.events.add('warning', `the userspace tunnel keeps its old program: ${String(error)}`);
      return (await findProcess(this.#process)) ?? startProcess(this.#process);
    }
  }
  #lose(client: LineClient): void {
    if (this.#client !== client || this.#options.signal.aborted) return;
    this.#client = undefined;
    this.#options.events.add('warning', 'the userspace tunnel’s process has ended; it is started again');
    this.#nudge();
  }
  #tell(event: TunnelEvent): void {
    const { events, log } = this.#options;
    if (event.event === 'failed') events.add('error', `userspace tunnel: ${event.why}`);
    else if (event.event === 'silent')
      events.add('warning', `nothing comes from ${event.peer} by the userspace tunnel`);
    else log.debug(event, 'userspace tunnel');
  }
}

function orderOf(
  { link: device, node, mtu, port, cipher }: TunnelItem,
  peers: readonly TunnelPeerItem[],
  { text: secrets }: TunnelSecrets,
): Order {
  return {
    node,
    device,
    mtu,
    port,
    cipher,
    ...(secrets === undefined ? {} : { secrets }),
    peers: peers.map(({ peer: name, endpoint: address, port, allowed: prefixes, publicKeys }) => ({
      name,
      endpoint: { address, port },
      prefixes,
      publicKeys,
    })),
  };
}

function itemsOf({ node, device: link, mtu, port, cipher, peers }: NonNullable<Look['order']>): Item[] {
  const items = peers.flatMap(({ name: peer, endpoint, prefixes: allowed, publicKeys }): Item[] => {
    if (endpoint === undefined) return [];
    return [
      {
        kind: 'tunnel-peer',
        link,
        peer,
        endpoint: endpoint.address,
        port: endpoint.port,
        publicKeys,
        allowed,
      },
    ];
  });
  return [{ kind: 'tunnel', link, node, mtu, port, cipher }, ...items];
}
