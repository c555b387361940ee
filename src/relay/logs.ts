/** The logs of the kinds that readers have asked for: each is followed in the store from the first reader on. */
import { RelayLog } from './log.ts';
import { Round } from './round.ts';
import { backoffMs } from '#lib/backoff.ts';
import type { Clock } from '#lib/clock.ts';
import { formatPath, type Wanted } from '#stores/relay/lines.ts';
import type { Store, StoreEvent } from '#stores/store.ts';

export type LogsOptions = {
  readonly store: Pick<Store, 'watch'>;
  readonly clock: Clock;
  readonly warn: (text: string) => void;
  readonly onEvent: (kind: string, type: StoreEvent['type']) => void;
};

/** What readers wait for: an entry, a change of state, or the end of this log as the store has lost its data. */
export type Followed = {
  readonly log: RelayLog;
  readonly round: Round;
  /** Why this log is not written any more. */
  lost: string | undefined;
};

const RETRY = { firstMs: 100, maxMs: 10_000 } as const;

export class Logs {
  readonly #options: LogsOptions;
  readonly #followed = new Map<string, Followed>();
  readonly #closed = new AbortController();

  constructor(options: LogsOptions) {
    this.#options = options;
  }

  close(): void {
    this.#closed.abort();
  }
  /** Why nothing is heard of some kind; undefined: all is well. */
  get away(): string | undefined {
    return this.all().find(({ log }) => log.away !== undefined)?.log.away;
  }
  all(): readonly Followed[] {
    return [...this.#followed.values()];
  }

  of(wanted: Wanted): Followed {
    const key = formatPath(wanted);
    const found = this.#followed.get(key);
    if (found !== undefined) return found;
    const begun = this.#begin(key);
    void this.#follow(key, wanted);
    return begun;
  }
  #begin(key: string): Followed {
    const followed: Followed = {
      log: new RelayLog(),
      round: new Round(this.#options.clock),
      lost: undefined,
    };
    this.#followed.set(key, followed);
    return followed;
  }

  async #follow(key: string, { kind, ...options }: Wanted): Promise<void> {
    const { store, clock, warn } = this.#options;
    const { signal } = this.#closed;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        if (attempt > 0) this.#take(key, kind, { type: 'gap', reason: 'the watch begins again' });
        for await (const event of store.watch(kind, signal, options)) {
          if (event.type === 'synced') attempt = 0;
          this.#take(key, kind, event);
        }
      } catch (error) {
        warn(`${kind} cannot be followed, trying again: ${String(error)}`);
      }
      await clock.sleep(backoffMs(RETRY, attempt, Math.random()), signal);
    }
  }
  #take(key: string, kind: string, event: StoreEvent): void {
    this.#options.onEvent(kind, event.type);
    const followed = this.#followed.get(key) ?? this.#begin(key);
    if (event.type === 'malformed') this.#options.warn(`not read: ${event.origin}: ${event.message}`);
    if (event.type !== 'gap' || event.isLoss !== true) followed.log.take(event);
    else {
      // What was there may never come back: readers begin anew, and write again what was their own.
      followed.lost = event.reason;
      this.#begin(key);
    }
    followed.round.wake();
  }
}
