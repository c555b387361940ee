import type { StoreEvent, Version } from '../store.ts';

export type Steady = Exclude<StoreEvent, { readonly type: 'gap' }>;

/**
 * One source's gaps, bridged: what it tells again after a gap is compared with what it told before, and only the difference
 * goes on. So others that are told through the same hands, or thousands behind them, need not hear everything again.
 */
export class Bridge {
  readonly #versions = new Map<string, Version>();
  /** Names repeated since the gap; undefined outside of one. */
  #repeated: Set<string> | undefined;

  /** What is to be told in the event's place. `synced` is told each time. */
  *pass(event: StoreEvent): Generator<Steady> {
    if (event.type === 'gap') this.#repeated = new Set();
    else if (event.type === 'synced') yield* this.#close(event);
    else if (event.type === 'removed') {
      if (this.#versions.delete(event.name)) yield event;
    } else if (event.type === 'malformed') yield event;
    else {
      const { name, version } = event.object;
      this.#repeated?.add(name);
      if (this.#versions.get(name) === version) return;
      this.#versions.set(name, version);
      yield event;
    }
  }
  *#close(synced: Steady): Generator<Steady> {
    const repeated = this.#repeated;
    this.#repeated = undefined;
    for (const name of repeated === undefined ? [] : this.#versions.keys()) {
      if (repeated?.has(name) === true) continue;
      this.#versions.delete(name);
      yield { type: 'removed', name };
    }
    yield synced;
  }
}
