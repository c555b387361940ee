/**
 * Hears the answers that the table of answers shows, from the first time that any are to be heard. Held answers are waited
 * for by a pod: whatever happens here, they go on.
 */
import type { AnswerOptions } from '#kernel/answers.ts';
import type { AnswerWay } from '#kernel/nftables/policy/answers.ts';
import { backoffMs } from '#lib/backoff.ts';
import type { Clock } from '#lib/clock.ts';
import { toFault } from '#model/fault.ts';

const RETRY = { firstMs: 1_000, maxMs: 60_000 };

export type ListenerOptions = {
  readonly readAnswers: (options: AnswerOptions) => Disposable;
  /** Of the kernel, the best; undefined: none. */
  readonly answerWay: () => AnswerWay | undefined;
  readonly onMessage: (message: Buffer) => void;
  /** It listens in this way now, or has come to listen in none. */
  readonly onWay: (way: AnswerWay | undefined) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
};

export class Listener {
  readonly #options: ListenerOptions;
  #reader: Disposable | undefined;
  #failures = 0;
  #isBegun = false;
  way: AnswerWay | undefined;
  /** Why it hears nothing. */
  problem: string | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => this.#reader?.[Symbol.dispose]());
  }

  begin(): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    this.#open();
  }

  #open(): void {
    const { answerWay, readAnswers, onMessage, signal } = this.#options;
    if (signal.aborted) return;
    try {
      const best = answerWay();
      if (best === undefined)
        throw new Error('the kernel can show no answers: it lacks nft_queue and nft_log');
      this.#reader = readAnswers({ way: best, onMessage, onEnd: () => this.#fail('its socket has failed') });
      this.#failures = 0;
      this.problem = undefined;
      this.way = best;
    } catch (error) {
      this.#fail(toFault(error).message);
    }
  }

  #fail(problem: string): void {
    const { clock, signal, onWay } = this.#options;
    this.problem = problem;
    this.way = undefined;
    const delayMs = backoffMs(RETRY, this.#failures++, Math.random());
    void clock.sleep(delayMs, signal).then(() => {
      this.#open();
      onWay(this.way);
    });
  }
}
