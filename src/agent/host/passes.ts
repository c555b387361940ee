/** Passes over the host as metrics tell of them: how long each took, and how long what it was for had waited. */
import type { Host } from './host.ts';
import type { Metrics } from '../metrics.ts';
import type { Clock } from '#lib/clock.ts';

export class HostPasses {
  readonly #host: Pick<Host, 'pass'>;
  readonly #metrics: Metrics;
  readonly #clock: Clock;
  /** When the oldest change not yet programmed came in (monotonic ms). */
  #changedAtMs: number | undefined;

  constructor(host: Pick<Host, 'pass'>, { metrics, clock }: { metrics: Metrics; clock: Clock }) {
    this.#host = host;
    this.#metrics = metrics;
    this.#clock = clock;
  }

  /** The store has something new. */
  note(): void {
    this.#changedAtMs ??= this.#clock.monotonicMs();
  }

  async pass(): Promise<'ok' | 'retry'> {
    const started = this.#clock.monotonicMs();
    const changedAt = this.#changedAtMs;
    this.#changedAtMs = undefined;
    const outcome = await this.#host.pass();
    const now = this.#clock.monotonicMs();
    this.#metrics.passes.inc({ result: outcome });
    this.#metrics.passSeconds.observe((now - started) / 1000);
    if (changedAt !== undefined && outcome === 'ok')
      this.#metrics.convergenceSeconds.observe((now - changedAt) / 1000);
    return outcome;
  }
}
