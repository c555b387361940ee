/**
 * An operator's word that the nodes are gone for which the brake holds: written into the state of the cluster, where the leader
 * looks while it brakes. It counts for so many nodes as he was told of, and the leader takes it away.
 */
import { CLUSTER_STATUS, type ClusterStatus } from '#model/cluster-status.ts';
import { Fault } from '#model/fault.ts';
import type { Store } from '#stores/store.ts';

/** Answers what the brake held for. Throws Fault `no-controller`, `request-invalid` where it does not hold, and as the store. */
export async function releaseBrake(store: Pick<Store, 'get' | 'put'>): Promise<string> {
  const found = await store.get('ClusterStatus', CLUSTER_STATUS);
  if (found === undefined) throw new Fault('no-controller', 'the store has no state of the cluster');
  const status = found.value as ClusterStatus;
  const { braked, gone: believed } = status;
  if (braked === undefined || believed === undefined)
    throw new Fault('request-invalid', 'the controller’s brake does not hold');
  await store.put('ClusterStatus', CLUSTER_STATUS, { ...status, believed }, { expect: found.version });
  return braked;
}

/** For how many nodes somebody has said so; undefined: nobody has. */
export async function findRelease(store: Pick<Store, 'get'>): Promise<number | undefined> {
  const found = await store.get('ClusterStatus', CLUSTER_STATUS);
  return (found?.value as ClusterStatus | undefined)?.believed;
}
