/** Tells agents of this relay, as long as it lives: what is not told again in time is gone from the store by itself. */
import { backoffMs } from '#lib/backoff.ts';
import type { Clock } from '#lib/clock.ts';
import type { RelayAdvert } from '#model/relay.ts';
import type { Store } from '#stores/store.ts';

export type AdvertiserOptions = {
  readonly store: Pick<Store, 'put' | 'remove'>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly warn: (text: string) => void;
  readonly name: string;
  readonly advert: RelayAdvert;
};

const TTL_SECONDS = 90;
const AGAIN_MS = 30_000;
const RETRY = { firstMs: 200, maxMs: 10_000 } as const;

export class Advertiser {
  readonly #options: AdvertiserOptions;
  /** Agents know of it. */
  isTold = false;

  constructor(options: AdvertiserOptions) {
    this.#options = options;
  }

  /** Until the signal aborts; then it takes back what it has told. */
  async run(): Promise<void> {
    const { store, clock, signal, warn, name, advert } = this.#options;
    for (let failures = 0; !signal.aborted;) {
      try {
        await store.put('Relay', name, advert, { ttlSeconds: TTL_SECONDS });
        [this.isTold, failures] = [true, 0];
      } catch (error) {
        if (failures === 0) warn(`agents cannot be told of this relay, trying again: ${String(error)}`);
        failures += 1;
      }
      await clock.sleep(failures === 0 ? AGAIN_MS : backoffMs(RETRY, failures - 1, Math.random()), signal);
    }
    await store.remove('Relay', name).catch(() => undefined);
  }
}
