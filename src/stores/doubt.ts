/**
 * Data that vanished all at once and are doubted: who wrote them writes them again. The doubt ends when all of it is back, or when
 * something has come back and nothing more comes for a while; what is still missing is gone then.
 */
import type { Clock } from '#lib/clock.ts';

export type DoubtOptions = {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly holdMs: number;
  readonly isConnected: () => boolean;
  /** Something is there that is not missing: without it nothing is believed to be gone. */
  readonly hasSome: (missing: ReadonlySet<string>) => boolean;
  readonly onSettled: (missing: ReadonlySet<string>) => void;
};

export class Doubt {
  readonly #options: DoubtOptions;
  #missing: Set<string> | undefined;
  #holdUntilMs = 0;

  constructor(options: DoubtOptions) {
    this.#options = options;
  }
  get isOpen(): boolean {
    return this.#missing !== undefined;
  }
  has(name: string): boolean {
    return this.#missing?.has(name) === true;
  }
  begin(names: Iterable<string>): void {
    this.#missing ??= new Set();
    for (const name of names) this.#missing.add(name);
  }
  /** It is there, or known to be gone. Answers whether it was missing. */
  clear(name: string): boolean {
    return this.#missing?.delete(name) === true;
  }
  /** Something has come: more may. */
  hold(): void {
    const { clock, holdMs } = this.#options;
    const isWaiting = this.#holdUntilMs > clock.monotonicMs();
    this.#holdUntilMs = clock.monotonicMs() + holdMs;
    if (!isWaiting) void this.#wait();
  }
  async #wait(): Promise<void> {
    const { clock, signal } = this.#options;
    for (let leftMs = 1; leftMs > 0 && !signal.aborted; leftMs = this.#holdUntilMs - clock.monotonicMs())
      await clock.sleep(Math.max(leftMs, 1), signal);
    this.settle();
  }
  settle(): void {
    const missing = this.#missing;
    const { clock, signal, isConnected, hasSome, onSettled } = this.#options;
    if (missing === undefined || !isConnected() || signal.aborted) return;
    const isRest = hasSome(missing) && clock.monotonicMs() >= this.#holdUntilMs;
    if (missing.size > 0 && !isRest) return;
    this.#missing = undefined;
    onSettled(missing);
  }
}
