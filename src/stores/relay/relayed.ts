/**
 * A store whose watches come by way of a relay where there is one (docs/decisions/0020-relay.md). Everything else goes to
 * the store itself, and so do watches when no relay has answered for a while; what was told before stays meanwhile.
 */
import { Bridge } from './bridge.ts';
import { type Line, NOW_HEADER, parseLine, patched, type Patch, type Told, type Wanted } from './lines.ts';
import { Passage } from './passage.ts';
import { type Opened, Relays, type RelaysOptions, type RelayUse } from './relays.ts';
import { backoffMs } from '#lib/backoff.ts';
import { type Clock, systemClock } from '#lib/clock.ts';
import { given } from '#lib/given.ts';
import { Fault } from '#model/fault.ts';
import { createQueue } from '../event-queue.ts';
import type { Store, StoreEvent, Stored, StoreKind, WatchOptions } from '../store.ts';

/** Each of them up to twice as long: what happens to one agent happens to all at once. */
export type Patience = {
  /** So long no relay may answer before the store is watched instead. */
  readonly fallBackMs: number;
  /** From then on relays are looked for so often. */
  readonly lookMs: number;
  /** After so long another is sought where a relay does not hear from the store. */
  readonly awayMs: number;
  /** As Passage has it. */
  readonly holdMs: number;
};
type Closable = Store & { close(): void };
export type RelayedOptions = Omit<RelaysOptions, 'store' | 'clock'> & {
  readonly store: Closable;
  readonly clock?: Clock;
  readonly patience?: Partial<Patience>;
};

const PATIENCE: Patience = { fallBackMs: 30_000, lookMs: 150_000, awayMs: 10_000, holdMs: 10_000 };
const RETRY = { firstMs: 500, maxMs: 8000 } as const;
/** Of pods each agent needs its own node's alone, which nobody else does: they come from the store itself. */
const OWN = 'v1/Pod';

export type Relayed = Closable & { relayUse(): RelayUse };

export function relayed({ store, clock = systemClock, patience, ...more }: RelayedOptions): Relayed {
  const relays = new Relays({ ...more, store, clock });
  const common = { store, clock, relays, patience: { ...PATIENCE, ...patience } };
  const follow = (kind: StoreKind, signal: AbortSignal, options: WatchOptions): AsyncIterable<StoreEvent> => {
    const left = new AbortController();
    const queue = createQueue<StoreEvent>(signal, () => left.abort());
    const whole = AbortSignal.any([signal, left.signal]);
    const push = (event: StoreEvent): void => queue.push(event);
    void new RelayedWatch({ ...common, wanted: { kind, ...options }, signal: whole }, push).run();
    return queue;
  };
  return {
    watch: (kind, signal, options = {}) => {
      if (kind !== 'Manifest' || options.only !== undefined) return follow(kind, signal, options);
      return join(signal, (inner) => [
        follow(kind, inner, { except: OWN }),
        store.watch(kind, inner, { only: OWN }),
      ]);
    },
    get: (kind, name) => store.get(kind, name),
    list: (kind) => store.list(kind),
    put: (kind, name, value, options) => store.put(kind, name, value, options),
    remove: (kind, name, options) => store.remove(kind, name, options),
    relayUse: () => relays.use(),
    close: () => {
      relays.close();
      store.close();
    },
  };
}

/** `synced` when all are. */
function join(
  signal: AbortSignal,
  open: (signal: AbortSignal) => readonly AsyncIterable<StoreEvent>[],
): AsyncIterable<StoreEvent> {
  const left = new AbortController();
  const queue = createQueue<StoreEvent>(signal, () => left.abort());
  const sources = open(AbortSignal.any([signal, left.signal]));
  const waiting = new Set(sources);
  for (const source of sources) {
    const bridge = new Bridge();
    void (async () => {
      for await (const event of source)
        for (const each of bridge.pass(event)) {
          if (each.type !== 'synced') queue.push(each);
          else if (waiting.delete(source) && waiting.size === 0) queue.push(each);
        }
    })();
  }
  return queue;
}

type Options = Pick<RelayedOptions, 'store'> & {
  readonly clock: Clock;
  readonly relays: Relays;
  readonly patience: Patience;
  readonly wanted: Wanted;
  readonly signal: AbortSignal;
};

class RelayedWatch {
  readonly #options: Options;
  readonly #passage: Passage;

  constructor(options: Options, push: (event: StoreEvent) => void) {
    this.#options = options;
    const { clock, signal, patience } = options;
    this.#passage = new Passage({ push, clock, signal, holdMs: patience.holdMs });
  }

  async run(): Promise<void> {
    const { signal, relays } = this.#options;
    let opened: Opened | undefined;
    relays.note(this, 'waiting');
    while (!signal.aborted) {
      opened ??= await this.#seek();
      if (opened === undefined) opened = await this.#watchStore();
      else {
        await this.#read(opened);
        opened = undefined;
      }
    }
    relays.note(this, undefined);
  }

  /** Undefined: there are none, or none has answered for too long. A store that is away would be of no more use. */
  async #seek(): Promise<Opened | undefined> {
    const { clock, signal, patience } = this.#options;
    const untilMs = clock.monotonicMs() + spread(patience.fallBackMs);
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        return await this.#open();
      } catch (error) {
        const isAway = error instanceof Fault && error.code === 'store-away';
        if (!isAway && clock.monotonicMs() >= untilMs) return undefined;
      }
      await clock.sleep(backoffMs(RETRY, attempt, Math.random()), signal);
    }
    return undefined;
  }
  async #open(): Promise<Opened | undefined> {
    const { relays, wanted, signal } = this.#options;
    return relays.open(wanted, this.#passage.known(), signal);
  }

  async #watchStore(): Promise<Opened | undefined> {
    const { store, signal, relays, wanted, clock } = this.#options;
    const { kind, ...options } = wanted;
    const stop = new AbortController();
    const whole = AbortSignal.any([signal, stop.signal]);
    const found = this.#lookFor(whole).finally(() => stop.abort());
    this.#passage.begin();
    relays.note(this, 'store');
    try {
      for await (const event of store.watch(kind, whole, options)) this.#passage.take(event);
    } catch (error) {
      this.#passage.lose(String(error));
      await clock.sleep(backoffMs(RETRY, 0, Math.random()), whole);
    }
    stop.abort();
    return found;
  }
  async #lookFor(signal: AbortSignal): Promise<Opened | undefined> {
    const { clock, patience } = this.#options;
    for (;;) {
      await clock.sleep(spread(patience.lookMs), signal);
      if (signal.aborted) return undefined;
      const opened = await this.#open().catch(() => undefined);
      if (opened !== undefined) return opened;
    }
  }

  async #read({ relay, stream }: Opened): Promise<void> {
    const { relays, clock, signal } = this.#options;
    const offsetMs = clock.nowMs() - Number(stream.headers[NOW_HEADER] ?? clock.nowMs());
    const away = new Away(this.#options, stream.close);
    relays.note(this, relay);
    this.#passage.begin();
    let reason = 'it has ended the watch';
    try {
      for await (const text of stream.lines) this.#take(parseLine(text), offsetMs, away);
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    away.set(false);
    stream.close();
    if (signal.aborted) return;
    relays.leave(relay, reason);
    relays.note(this, 'waiting');
    this.#passage.lose(`the relay ${relay.name}: ${reason}`);
    // Who has lost the same relay comes at the same time.
    await clock.sleep(Math.random() * RETRY.firstMs * 2, signal);
  }

  #take(line: Line, offsetMs: number, away: Away): void {
    if ('put' in line) this.#put(line.put, offsetMs);
    else if ('patch' in line) this.#patch(line.patch, offsetMs);
    else if ('away' in line) {
      away.set(line.away !== null);
      if (line.away === null) this.#passage.resume();
      else this.#passage.lose(line.away);
    } else this.#passage.take(this.#eventOf(line));
  }
  #eventOf(line: Simple): StoreEvent {
    if ('removed' in line) return { type: 'removed', name: line.removed };
    if ('malformed' in line) return { type: 'malformed', line: undefined, ...line.malformed };
    if ('lost' in line) return { type: 'gap', reason: line.lost, isLoss: true };
    if (!('same' in line)) return { type: 'synced' };
    const object = this.#passage.object(line.same);
    if (object === undefined) throw new Error(`${line.same} is not known here`);
    return { type: 'put', object };
  }
  #put({ expiresAtMs, ...told }: Told, offsetMs: number): void {
    const expiry = given('expiresAtMs', expiresAtMs === undefined ? undefined : expiresAtMs + offsetMs);
    const object: Stored = { ...told, kind: this.#options.wanted.kind, ...expiry };
    this.#passage.take({ type: 'put', object });
  }
  #patch(patch: Patch, offsetMs: number): void {
    const before = this.#passage.object(patch.name);
    if (before?.version !== patch.from) throw new Error(`${patch.name} is not what a relay takes it for`);
    const { from: _, at, cut, add, ...told } = patch;
    this.#put({ ...told, value: patched(before.value, { at, cut, add }) }, offsetMs);
  }
}

type Simple = Exclude<
  Line,
  { readonly put: unknown } | { readonly patch: unknown } | { readonly away: unknown }
>;

/** While a relay hears nothing of the store: whether others do. */
class Away {
  readonly #options: Options;
  readonly #leave: () => void;
  #stop: AbortController | undefined;

  constructor(options: Options, leave: () => void) {
    this.#options = options;
    this.#leave = leave;
  }
  set(isAway: boolean): void {
    this.#stop?.abort();
    this.#stop = isAway ? new AbortController() : undefined;
    if (this.#stop !== undefined) void this.#wait(this.#stop.signal);
  }
  async #wait(stop: AbortSignal): Promise<void> {
    const { clock, signal, relays, patience } = this.#options;
    const whole = AbortSignal.any([stop, signal]);
    while (!whole.aborted) {
      await clock.sleep(spread(patience.awayMs), whole);
      if (whole.aborted) return;
      // It answers here, so it is the relay that is cut off.
      if (await relays.look().then(...ANSWERS)) return this.#leave();
    }
  }
}
const ANSWERS = [() => true, () => false] as const;

function spread(ms: number): number {
  return ms * (1 + Math.random());
}
