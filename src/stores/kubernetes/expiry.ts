import type { Clock } from '#lib/clock.ts';
import type { Stored } from '../store.ts';
import type { KubernetesClient } from './client.ts';

/**
 * Objects that end by themselves: nobody removes them from the API at that moment, so each reader does it for himself, by the
 * server's clock, and rather late than early.
 */
export type ExpiryOptions = {
  readonly client: Pick<KubernetesClient, 'knownServerTime'>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onExpired: (name: string) => void;
};

/** More than any two of us can be apart in what they know of the server's time, which they know by the second. */
const LATE_MS = 1500;

export class Expiry {
  readonly #options: ExpiryOptions;
  readonly #ends = new Map<string, number>();
  #wake: AbortController | undefined;
  #nextMs = Infinity;

  constructor(options: ExpiryOptions) {
    this.#options = options;
  }

  /** By the server's clock, of what is known of it; whoever else is asked by then says so too. */
  isExpired({ expiresAtMs }: Pick<Stored, 'expiresAtMs'>): boolean {
    const { lowMs = -Infinity } = this.#options.client.knownServerTime() ?? {};
    return expiresAtMs !== undefined && expiresAtMs + LATE_MS <= lowMs;
  }
  note({ name, expiresAtMs }: Pick<Stored, 'name' | 'expiresAtMs'>): void {
    if (expiresAtMs === undefined) return this.forget(name);
    this.#ends.set(name, expiresAtMs);
    if (expiresAtMs < this.#nextMs) void this.#wait(expiresAtMs);
  }
  forget(name: string): void {
    this.#ends.delete(name);
  }

  async #wait(untilMs: number): Promise<void> {
    const { client, clock, signal } = this.#options;
    this.#wake?.abort();
    const wake = new AbortController();
    this.#wake = wake;
    this.#nextMs = untilMs;
    const { lowMs = untilMs } = client.knownServerTime() ?? {};
    await clock.sleep(
      Math.min(Math.max(untilMs + LATE_MS - lowMs, 10), MAX_SLEEP_MS),
      AbortSignal.any([wake.signal, signal]),
    );
    if (!wake.signal.aborted && !signal.aborted) this.#look();
  }
  #look(): void {
    for (const [name, expiresAtMs] of this.#ends) {
      if (!this.isExpired({ expiresAtMs })) continue;
      this.#ends.delete(name);
      this.#options.onExpired(name);
    }
    const next = Math.min(...this.#ends.values());
    this.#nextMs = Infinity;
    if (Number.isFinite(next)) void this.#wait(next);
  }
}

/** The clocks may come apart meanwhile. */
const MAX_SLEEP_MS = 60_000;
