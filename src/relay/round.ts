/**
 * Tells all readers of a log that there is something new: at once, and the next time when three times as long has passed as
 * that took. So who has many readers gathers for them what comes meanwhile, and telling never takes more than a quarter of
 * the time, however much happens.
 */
import type { Clock } from '#lib/clock.ts';

const REST_TIMES = 3;
/** Where others take the time, nobody waits for long. */
const MAX_REST_MS = 200;

export class Round {
  readonly readers = new Set<() => void>();
  readonly #clock: Clock;
  #isUnderWay = false;
  #isDue = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wake(): void {
    this.#isDue = true;
    if (!this.#isUnderWay) void this.#go();
  }
  async #go(): Promise<void> {
    this.#isUnderWay = true;
    // What comes at once is told at once.
    await nextTurn();
    while (this.#isDue) {
      this.#isDue = false;
      const beginMs = this.#clock.monotonicMs();
      for (const tell of this.readers) tell();
      // By then it has been encrypted and handed over.
      await nextTurn();
      const tookMs = this.#clock.monotonicMs() - beginMs;
      await this.#clock.sleep(Math.min(REST_TIMES * tookMs, MAX_REST_MS));
    }
    this.#isUnderWay = false;
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
