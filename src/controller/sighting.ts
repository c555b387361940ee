/**
 * What somebody who does not hold a lease knows of it, by his own monotonic clock: since when it has been as it is. Times that
 * others wrote are never compared with anything. That it is not there is one more thing that it may be: whoever held it may not
 * have noticed yet.
 */
import type { Lease } from '#model/lease.ts';
import type { Stored } from '#stores/store.ts';

export class Sighting {
  readonly #durationMs: number;
  #version: string | undefined;
  #sinceMs = 0;

  /** `durationMs`: of leases that do not say theirs. */
  constructor(durationMs: number) {
    this.#durationMs = durationMs;
  }

  /** Whether a holder may act on the strength of what was found. `nowMs`: monotonic, after the store has answered. */
  mayBeHeld(found: Stored | undefined, nowMs: number): boolean {
    const version = found?.version ?? 'absent';
    if (version !== this.#version) this.#sinceMs = nowMs;
    this.#version = version;
    const lease = found?.value as Partial<Lease> | undefined;
    if (lease?.holderIdentity === '') return false;
    const seconds = lease?.leaseDurationSeconds;
    return nowMs - this.#sinceMs < (seconds === undefined ? this.#durationMs : seconds * 1000);
  }
}
