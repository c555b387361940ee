/** Tells the other nodes of this node's pods, by one object in the store that is written when it has to change. */
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from '#lib/log.ts';
import type { Clock } from '#lib/clock.ts';
import { startReconciler } from '#lib/reconciler.ts';
import type { NodeWorkloads } from '#model/workload.ts';
import type { Feed } from '#stores/feed.ts';
import type { Store } from '#stores/store.ts';

/** Pods that come together are written together. */
const GATHER_MS = { watched: 20, unwatched: 1000 };
const RESYNC_MS = { watched: 60_000, unwatched: 600_000 };

export type Publisher = {
  /** From here on these are the node's pods. */
  readonly publish: (pods: NodeWorkloads) => void;
};

export type PublisherOptions = {
  readonly store: Store;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** What the store holds. Absent: nobody watches that here, as nobody here needs it; the store is asked before each write. */
  readonly published?: Feed;
};

export function startPublisher({ store, clock, signal, log, published }: PublisherOptions): Publisher {
  const way = published === undefined ? 'unwatched' : 'watched';
  let wanted: NodeWorkloads | undefined;
  /** Found to be the same: each load of policies asks. */
  let compared: { readonly present: unknown; readonly pods: NodeWorkloads['pods'] } | undefined;
  const isPublished = (wanted: NodeWorkloads): boolean => {
    const present = published?.objects.get(wanted.node)?.value;
    const { pods } = wanted;
    if (compared?.present === present && compared?.pods === pods) return true;
    if (!isDeepStrictEqual(present, wanted)) return false;
    compared = { present, pods };
    return true;
  };
  const pass = async (): Promise<'ok'> => {
    if (wanted === undefined || published?.synced === false) return 'ok';
    await clock.sleep(GATHER_MS[way], signal);
    if (!signal.aborted && !isPublished(wanted)) await store.put('Workloads', wanted.node, wanted);
    return 'ok';
  };
  const loop = startReconciler({
    clock,
    signal,
    pass,
    resyncMs: RESYNC_MS[way],
    onError: (error) =>
      log.warn({ error: String(error) }, 'this node’s pods were not published; trying again'),
  });
  return {
    publish: (pods) => {
      if (published === undefined && isDeepStrictEqual(wanted, pods)) return;
      wanted = pods;
      loop.nudge();
    },
  };
}
