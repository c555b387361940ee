/**
 * Processes and one store in simulated time, with all that may come between them: each process has clocks of its own that run
 * at its own rate and may be set, stops for a while with everything in it, and speaks with the store by a network that delays
 * requests, delivers them after their sender has given them up, loses them, or loses their answers.
 */
import type { Clock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';
import type { Store, StoreKind } from '#stores/store.ts';

export type Span = { readonly process: number; readonly atMs: number; readonly forMs: number };
export type Trouble = {
  readonly seed: number;
  /** Of monotonic clocks, by process. */
  readonly rates: readonly number[];
  readonly pauses: readonly Span[];
  readonly partitions: readonly Span[];
  /** Wall clocks are set by so much. */
  readonly jumps: readonly { readonly process: number; readonly atMs: number; readonly byMs: number }[];
  /** Share of requests that are lost, that lose their answer, and that come late. */
  readonly lossiness: number;
  readonly maxDelayMs: number;
};

const GIVEN_UP_MS = 5000;
const LATE_MS = 40_000;

export type SimulatedProcess = {
  readonly clock: Clock;
  readonly store: Pick<Store, 'get' | 'put'>;
  readonly isPaused: () => boolean;
};

type Event = { readonly atMs: number; readonly run: () => void };

export class Simulation {
  nowMs = 0;
  /** After it there is no trouble. */
  readonly #calmMs: number;
  readonly #trouble: Trouble;
  readonly #store: Pick<Store, 'get' | 'put'>;
  readonly #events: Event[] = [];
  #random: number;

  constructor(store: Pick<Store, 'get' | 'put'>, trouble: Trouble, calmMs: number) {
    this.#store = store;
    this.#trouble = trouble;
    this.#calmMs = calmMs;
    this.#random = trouble.seed;
  }

  /** 0 ≤ random < 1; Park and Miller's. */
  random(): number {
    this.#random = (this.#random * 48_271) % 2_147_483_647;
    return this.#random / 2_147_483_647;
  }

  at(atMs: number, run: () => void): void {
    this.#events.push({ atMs: Math.max(atMs, this.nowMs), run });
  }

  /** `check` is called after every event. */
  async runUntil(endMs: number, check: () => void): Promise<void> {
    for (;;) {
      const next = this.#events.reduce<Event | undefined>(
        (first, event) => (first === undefined || event.atMs < first.atMs ? event : first),
        undefined,
      );
      if (next === undefined || next.atMs > endMs) break;
      this.#events.splice(this.#events.indexOf(next), 1);
      this.nowMs = next.atMs;
      next.run();
      await new Promise((resolve) => setImmediate(resolve));
      check();
    }
    this.nowMs = endMs;
  }

  process(index: number): SimulatedProcess {
    const rate = this.#trouble.rates[index] ?? 1;
    const set = (): number =>
      this.#trouble.jumps
        .filter(({ process, atMs }) => process === index && atMs <= this.nowMs)
        .reduce((sum, { byMs }) => sum + byMs, 0);
    const clock: Clock = {
      monotonicMs: () => this.nowMs * rate,
      nowMs: () => 1e12 + this.nowMs * rate + set(),
      sleep: (ms) => new Promise((resolve) => this.#wake(index, this.nowMs + ms / rate, resolve)),
    };
    return {
      clock,
      isPaused: () => this.#isIn(this.#trouble.pauses, index) !== undefined,
      store: {
        get: (kind, name) => this.#request(index, () => this.#store.get(kind, name)),
        put: (kind: StoreKind, name, value, options) =>
          this.#request(index, () => this.#store.put(kind, name, value, options)),
      },
    };
  }

  #isIn(spans: readonly Span[], index: number): Span | undefined {
    const { nowMs } = this;
    if (nowMs >= this.#calmMs) return undefined;
    return spans.find(
      ({ process, atMs, forMs }) => process === index && atMs <= nowMs && nowMs < atMs + forMs,
    );
  }

  /** In the process, which may be standing still at that moment. */
  #wake(index: number, atMs: number, run: () => void): void {
    this.at(atMs, () => {
      const pause = this.#isIn(this.#trouble.pauses, index);
      if (pause === undefined) run();
      else this.#wake(index, Math.min(pause.atMs + pause.forMs, this.#calmMs), run);
    });
  }

  #request<T>(index: number, apply: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const isCalm = this.nowMs >= this.#calmMs;
      const fate = isCalm ? 1 : this.random() / Math.max(this.#trouble.lossiness, 1e-9);
      const delay = (): number => this.random() * (isCalm ? 50 : this.#trouble.maxDelayMs);
      this.#wake(index, this.nowMs + GIVEN_UP_MS, () => reject(new Fault('store-away', 'no answer')));
      const isCut = (): boolean => this.#isIn(this.#trouble.partitions, index) !== undefined;
      if (fate < 0.33 || isCut()) return;
      this.at(this.nowMs + (fate < 0.5 ? this.random() * LATE_MS : delay()), () => {
        const isUnanswered = (fate >= 0.5 && fate < 0.83) || isCut();
        const answer = (settle: () => void): void => {
          if (!isUnanswered) this.#wake(index, this.nowMs + delay(), settle);
        };
        apply().then(
          (value) => answer(() => resolve(value)),
          (error: Error) => answer(() => reject(error)),
        );
      });
    });
  }
}
