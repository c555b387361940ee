/** Events about wrong objects: ten thousand of them at once must not push all others out of what status shows. */
import type { Events } from './log.ts';
import type { Clock } from './clock.ts';

/** So many are told one by one, within such a time; of the others their number. */
const FEW = 10;
const WITHIN_MS = 1000;

export class Complaints {
  readonly #events: Events;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #sinceMs = -Infinity;
  #told = 0;
  #untold = 0;

  constructor(events: Events, clock: Clock, signal: AbortSignal) {
    this.#events = events;
    this.#clock = clock;
    this.#signal = signal;
  }

  add(text: string): void {
    const now = this.#clock.monotonicMs();
    if (now - this.#sinceMs > WITHIN_MS) [this.#sinceMs, this.#told] = [now, 0];
    this.#told += 1;
    if (this.#told <= FEW) this.#events.add('error', text);
    else if ((this.#untold += 1) === 1) void this.#sumUp();
  }

  async #sumUp(): Promise<void> {
    await this.#clock.sleep(WITHIN_MS, this.#signal);
    this.#events.add('error', `${this.#untold} more objects are wrong; tartan status lists them`);
    this.#untold = 0;
  }
}
