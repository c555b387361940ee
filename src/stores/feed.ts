/**
 * Follows kinds of objects in a store and keeps the present objects of each as a map: one watch a kind, however many
 * listen. Nothing is taken away during a gap: what the source does not repeat by its next `synced` is removed then, and
 * not before. What is this node's own is written again when the store has lost it.
 */
import type { Store, StoreEvent, Stored, StoreKind, WatchOptions } from './store.ts';
import type { Clock } from '#lib/clock.ts';
import { backoffMs } from '#lib/backoff.ts';
import { Fault } from '#model/fault.ts';

export type FeedsOptions = {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Record<'warn' | 'debug', (facts: object, text: string) => void>;
  readonly signal: AbortSignal;
  /** This node; absent: nothing is anybody's own. */
  readonly self?: string;
  /** An object cannot be read. */
  readonly onMalformed: (text: string) => void;
};

export type Listener = {
  /**
   * An object was put (or removed, then `object` is undefined). Called for all there are once the first full snapshot has
   * come, and never before.
   */
  readonly onChange: (name: string, object: Stored | undefined) => void;
  /** All there are have been told. */
  readonly onSynced?: () => void;
};

export type Feed = { readonly objects: ReadonlyMap<string, Stored>; readonly synced: boolean };

export class Feeds {
  readonly #options: FeedsOptions;
  /** By kind, and what of it. */
  readonly #feeds = new Map<string, FeedState>();

  constructor(options: FeedsOptions) {
    this.#options = options;
  }

  /**
   * The watch begins with the kind's first listener. One that comes late is told before this returns. `only`: as of a watch,
   * for who is the only listener; beside others it costs nothing to hear all.
   */
  follow(kind: StoreKind, listener: Listener, only?: string): Feed {
    const key = only === undefined ? kind : `${kind} ${only}`;
    let feed = this.#feeds.get(key);
    if (feed === undefined) {
      feed = new FeedState(this.#options, kind);
      this.#feeds.set(key, feed);
      void watch(this.#options, { kind, only }, feed);
    }
    feed.listen(listener);
    return feed;
  }
}

async function watch(
  { store, clock, log, signal }: FeedsOptions,
  { kind, only }: { readonly kind: StoreKind } & WatchOptions,
  feed: FeedState,
): Promise<void> {
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      feed.onEvent({ type: 'gap', reason: 'the watch begins' });
      for await (const event of store.watch(kind, signal, { only })) {
        if (event.type === 'synced') attempt = 0;
        feed.onEvent(event);
      }
    } catch (error) {
      log.warn({ kind, error: String(error) }, 'the store cannot be watched; trying again');
    }
    await clock.sleep(backoffMs({ firstMs: 100, maxMs: 10_000 }, attempt, Math.random()), signal);
  }
}

class FeedState implements Feed {
  readonly objects = new Map<string, Stored>();
  synced = false;
  /** Names repeated since the gap; undefined outside of one. */
  #repeated: Set<string> | undefined = new Set();
  readonly #options: FeedsOptions;
  readonly #kind: StoreKind;
  readonly #listeners: Listener[] = [];

  constructor(options: FeedsOptions, kind: StoreKind) {
    this.#options = options;
    this.#kind = kind;
  }

  listen(listener: Listener): void {
    this.#listeners.push(listener);
    if (this.synced) this.#tellAll([listener]);
  }

  onEvent(event: StoreEvent): void {
    switch (event.type) {
      case 'gap':
        return this.#onGap(event.reason, event.isLoss === true);
      case 'put':
        return this.#put(event.object);
      case 'removed':
        return this.#removed(event.name);
      case 'synced':
        return this.#onSynced();
      case 'malformed':
        return this.#options.onMalformed(`${event.origin}:${event.line ?? 1}: ${event.message}`);
    }
  }

  #onGap(reason: string, isLoss: boolean): void {
    this.#repeated = new Set();
    this.#options.log.debug({ kind: this.#kind, reason }, 'gap');
    if (isLoss && this.synced) void this.#restore(this.#repeated);
  }

  /** Until all of it is there again, or this gap is over. */
  async #restore(gap: ReadonlySet<string>): Promise<void> {
    const { clock, signal, log } = this.#options;
    for (let attempt = 0; this.#repeated === gap && !signal.aborted; attempt += 1) {
      const lost = [...this.objects.values()].filter(
        (object) => this.#isOwn(object) && !gap.has(object.name),
      );
      if (attempt > 0 && lost.length === 0) return;
      try {
        for (const object of lost) await this.#putAgain(object);
      } catch (error) {
        log.warn(
          { kind: this.#kind, error: String(error) },
          'what the store has lost could not be written again; trying again',
        );
      }
      await clock.sleep(backoffMs({ firstMs: 100, maxMs: 5000 }, attempt, Math.random()), signal);
    }
  }
  /** Adverts and pods are named by their node, claims name it. */
  #isOwn({ kind, name, value }: Stored): boolean {
    const { self } = this.#options;
    const isNamed = kind === 'Node' || kind === 'Workloads';
    return self !== undefined && (isNamed ? name : (value as { readonly node?: unknown }).node) === self;
  }
  /** Whoever took it meanwhile keeps it. */
  async #putAgain({ kind, name, value, expiresAtMs }: Stored): Promise<void> {
    const { store, clock } = this.#options;
    const left =
      expiresAtMs === undefined ? {} : { ttlSeconds: Math.max(60, (expiresAtMs - clock.nowMs()) / 1000) };
    try {
      await store.put(kind, name, value, { expect: 'absent', ...left });
    } catch (error) {
      if (!(error instanceof Fault && error.code === 'store-conflict')) throw error;
    }
  }

  #put(object: Stored): void {
    this.#repeated?.add(object.name);
    const before = this.objects.get(object.name);
    this.objects.set(object.name, object);
    if (before?.version !== object.version) this.#tell(object.name, object);
  }

  #removed(name: string): void {
    if (this.objects.delete(name)) this.#tell(name, undefined);
  }

  #tell(name: string, object: Stored | undefined): void {
    if (this.synced) for (const { onChange } of this.#listeners) onChange(name, object);
  }

  #onSynced(): void {
    const repeated = this.#repeated;
    this.#repeated = undefined;
    if (repeated !== undefined) {
      for (const name of this.objects.keys()) if (!repeated.has(name)) this.#removed(name);
    }
    if (this.synced) return;
    this.synced = true;
    this.#tellAll(this.#listeners);
  }

  #tellAll(listeners: readonly Listener[]): void {
    for (const { onChange, onSynced } of listeners) {
      for (const [name, object] of this.objects) onChange(name, object);
      onSynced?.();
    }
  }
}
