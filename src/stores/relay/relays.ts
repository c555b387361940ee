/**
 * Which relay this agent reads through: one for all kinds, chosen at random among those that tell of themselves in the store,
 * and left for another when it fails. Each is known by its certificate, which stands beside its address.
 */
import { formatPath, type Known, SERVER_NAME, type Wanted } from './lines.ts';
import type { Clock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';
import type { RelayAdvert } from '#model/relay.ts';
import type { Access } from '../kubernetes/access.ts';
import { type LineStream, Wire } from '../kubernetes/wire.ts';
import type { Store } from '../store.ts';

export type RelaysOptions = {
  readonly store: Pick<Store, 'list'>;
  readonly clock: Clock;
  /** As whom to come (RELAY_AUDIENCE); asked each time. */
  readonly token: () => string;
  readonly timeoutMs: number;
  readonly notice: (text: string) => void;
};

export type Relay = { readonly name: string; readonly access: Access };
export type Opened = { readonly relay: Relay; readonly stream: LineStream };

/** Where one watch stands: it is read through a relay, the store itself is watched, or it waits for one of the two. */
export type Way = Relay | 'store' | 'waiting';
/** How the watches of an agent stand, for who looks at it. */
export type RelayUse = {
  /** Relays that told of themselves when they were looked for last. */
  readonly known: number;
  /** Those that are read. */
  readonly through: readonly string[];
  readonly watches: { readonly relay: number; readonly store: number; readonly waiting: number };
  /** Why the last relay that was left was left, or did not answer; undefined: one has answered since. */
  readonly problem: string | undefined;
};

/** One that has failed is not the first to be tried again. */
const AVOID_MS = 60_000;

export class Relays {
  readonly #options: RelaysOptions;
  readonly #wire = new Wire();
  readonly #avoid = new Map<string, number>();
  #adverts: readonly Relay[] = [];
  #current: Relay | undefined;
  #choosing: Promise<Relay | undefined> | undefined;
  readonly #ways = new Map<object, Way>();
  #problem: string | undefined;
  #told = '';

  constructor(options: RelaysOptions) {
    this.#options = options;
  }
  close(): void {
    this.#wire.close();
  }

  /** Undefined: there is none. Throws what a relay that fails, or refuses, throws. */
  async open(wanted: Wanted, known: Known, signal: AbortSignal): Promise<Opened | undefined> {
    this.#choosing ??= this.#choose().finally(() => (this.#choosing = undefined));
    const relay = this.#current ?? (await this.#choosing);
    if (relay === undefined) return undefined;
    try {
      return { relay, stream: await this.#ask(relay, { wanted, known, signal }) };
    } catch (error) {
      if (!signal.aborted) this.leave(relay, error instanceof Error ? error.message : String(error));
      throw error;
    }
  }
  /** It fails, or has ended what it said. */
  leave(relay: Relay, why: string): void {
    this.#problem = `the relay ${relay.name}: ${why}`;
    this.#avoid.set(relay.name, this.#options.clock.monotonicMs() + AVOID_MS);
    if (this.#current === relay) this.#current = undefined;
  }
  /** Whether there are any; the store is asked. Throws as `list`. */
  async look(): Promise<boolean> {
    this.#adverts = await this.#list();
    return this.#adverts.length > 0;
  }
  /** Where a watch stands now; undefined: it has ended. */
  note(watch: object, way: Way | undefined): void {
    if (way === undefined) this.#ways.delete(watch);
    else this.#ways.set(watch, way);
    if (way === undefined || way === 'waiting') return;
    if (way !== 'store') this.#problem = undefined;
    this.#tell(way === 'store' ? undefined : way);
  }
  use(): RelayUse {
    const watches = { relay: 0, store: 0, waiting: 0 };
    const through = new Set<string>();
    for (const way of this.#ways.values()) {
      if (typeof way === 'object') through.add(way.name);
      watches[typeof way === 'object' ? 'relay' : way] += 1;
    }
    return { known: this.#adverts.length, through: [...through], watches, problem: this.#problem };
  }
  /** Undefined: through none. What has changed is told once; that there never was one is nothing new. */
  #tell(relay: Relay | undefined): void {
    const way = relay === undefined ? 'without a relay' : `through the relay ${relay.name}`;
    const isNews =
      way !== this.#told && (relay !== undefined || this.#adverts.length > 0 || this.#told !== '');
    const why = relay === undefined && this.#problem !== undefined ? `: ${this.#problem}` : '';
    if (isNews) this.#options.notice(`the store is watched ${way}${why}`);
    this.#told = way;
  }

  async #choose(): Promise<Relay | undefined> {
    try {
      await this.look();
    } catch (error) {
      // Those that were there before may be there still, and know more than a store that is away.
      if (this.#adverts.length === 0) throw error;
    }
    const now = this.#options.clock.monotonicMs();
    const good = this.#adverts.filter(({ name }) => (this.#avoid.get(name) ?? 0) <= now);
    const choice = good.length === 0 ? this.#adverts : good;
    this.#current = choice[Math.floor(Math.random() * choice.length)];
    return this.#current;
  }
  async #list(): Promise<Relay[]> {
    try {
      const adverts = await this.#options.store.list('Relay');
      return adverts.map(({ name, value }) => ({ name, access: accessTo(value as RelayAdvert) }));
    } catch (error) {
      // A cluster that knows of no relays has none, and neither has who may not know of them.
      if (error instanceof Fault && error.code === 'store-away') throw error;
      return [];
    }
  }
  async #ask(
    { access }: Relay,
    { wanted, known, signal }: { wanted: Wanted; known: Known; signal: AbortSignal },
  ): Promise<LineStream> {
    const { token, timeoutMs } = this.#options;
    const headers = { authorization: `Bearer ${token()}`, 'content-type': 'application/json' };
    const ask = { method: 'POST', path: formatPath(wanted), headers, timeoutMs, signal } as const;
    const stream = await this.#wire.stream(access, { ...ask, body: JSON.stringify(known) });
    if (stream.status === 200) return stream;
    throw new Error(`it answers ${stream.status}: ${(await stream.text()).trim().slice(0, 200)}`);
  }
}

function accessTo({ address, port, certificate }: RelayAdvert): Access {
  const host = address.includes(':') ? `[${address}]` : address;
  return {
    server: `https://${host}:${port}`,
    serverName: SERVER_NAME,
    ca: certificate,
    cert: undefined,
    key: undefined,
    token: undefined,
  };
}
