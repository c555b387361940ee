/** An agent's way to a store: followed, and ended with all that follows it. */
import { Follower } from '../../src/stores/contract.ts';
import type { Store, StoreKind } from '../../src/stores/store.ts';

export type Way<S extends Store = Store> = Disposable & {
  readonly store: S;
  follow(kind?: StoreKind): Follower;
};

export function wayTo<S extends Store & { close(): void }>(store: S): Way<S> {
  const stop = new AbortController();
  return {
    store,
    follow: (kind = 'Node') => new Follower(store, kind, stop.signal),
    [Symbol.dispose]: () => {
      stop.abort();
      store.close();
    },
  };
}
