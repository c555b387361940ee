import type { StoreEvent, Stored } from '../store.ts';
import type { Informer, InformerListener } from './informer.ts';

/**
 * What several informers say, as the events of one watch: `synced` when all have everything. After a gap all objects are told
 * again, then `synced`, as readers take what was not repeated for gone.
 */
export class Merge {
  readonly #push: (event: StoreEvent) => void;
  readonly #toReader: (object: Stored) => Stored;
  readonly #informers = new Map<string, Informer>();
  /** It is known which informers there are. */
  #isComplete = false;
  #isSynced = false;
  /** What the reader knows he takes for gone unless it is told again. */
  #isGap = false;

  constructor(push: (event: StoreEvent) => void, toReader: (object: Stored) => Stored) {
    this.#push = push;
    this.#toReader = toReader;
  }

  /** `key`: what the informer is known by, and listened to as long as it is; `onVanished`: its kind is gone from the API. */
  listener(key: string, onVanished: () => void): InformerListener {
    const push = (event: StoreEvent): void => {
      if (this.#informers.has(key)) this.#push(event);
    };
    return {
      put: (object) => push({ type: 'put', object: this.#toReader(object) }),
      removed: (name) => push({ type: 'removed', name }),
      malformed: ({ origin, message }) => push({ type: 'malformed', origin, line: undefined, message }),
      lost: (reason, isLoss) => {
        if (this.#informers.has(key)) this.gap(reason, isLoss);
      },
      synced: () => this.#sync(),
      vanished: onVanished,
    };
  }
  add(key: string, informer: Informer): void {
    this.#informers.set(key, informer);
    this.#isSynced = false;
  }
  /** Its objects are gone, unless another has them when all is known again. */
  drop(key: string): void {
    const informer = this.#informers.get(key);
    if (!this.#informers.delete(key) || informer === undefined) return;
    if (informer.objects.size > 0) this.gap(`${key} is not served any more`, false);
  }
  complete(): void {
    this.#isComplete = true;
    this.#sync();
  }

  gap(reason: string, isLoss: boolean): void {
    if (this.#isGap && !isLoss) return;
    this.#isGap = true;
    this.#isSynced = false;
    this.#push({ type: 'gap', reason, ...(isLoss ? { isLoss } : {}) });
  }
  #sync(): void {
    const informers = [...this.#informers.values()];
    if (this.#isSynced || !this.#isComplete || !informers.every(({ isSynced }) => isSynced)) return;
    this.#isSynced = true;
    if (this.#isGap)
      for (const { objects } of informers)
        for (const object of objects.values()) this.#push({ type: 'put', object: this.#toReader(object) });
    this.#isGap = false;
    this.#push({ type: 'synced' });
  }
}
