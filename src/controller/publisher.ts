/** Writes the state of the cluster into the store when it has changed. */
import { isDeepStrictEqual } from 'node:util';
import type { FencedStore } from './fence.ts';
import { CLUSTER_STATUS, type ClusterStatus } from '#model/cluster-status.ts';
import { Fault } from '#model/fault.ts';
import type { Stored } from '#stores/store.ts';

export class StatusPublisher {
  readonly #store: FencedStore;
  #published: Stored | undefined;

  constructor(store: FencedStore) {
    this.#store = store;
  }

  async publish(status: ClusterStatus): Promise<void> {
    if (isDeepStrictEqual(this.#published?.value, status)) return;
    const present = await this.#store.get('ClusterStatus', CLUSTER_STATUS);
    this.#published = present;
    if (isDeepStrictEqual(present?.value, status)) return;
    try {
      const expect = present?.version ?? 'absent';
      this.#published = await this.#store.put('ClusterStatus', CLUSTER_STATUS, status, { expect });
    } catch (error) {
      // A controller that led before wrote it; the next pass sees.
      this.#published = undefined;
      if (!(error instanceof Fault && error.code === 'store-conflict')) throw error;
    }
  }
}
