/**
 * On Kubernetes, with policy: a pod gets its network when its Pod object is known, as that has its labels. The watch mostly
 * has told of it; else it is asked for, for up to two seconds. Then, and for a pod that is not known while the API server is
 * away, ADD fails and the runtime tries again: a pod whose policies nobody knows gets no network. One that was
 * known before (its very uid) needs nobody. It is the same for static pods, whose objects the kubelet makes before it asks.
 */
import type { Clock } from '#lib/clock.ts';
import type { PodName } from '#model/attachment.ts';
import { Fault, toFault } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import { isOfPod, podNode } from '#policy/inputs/pod-object.ts';
import type { Store } from '#stores/store.ts';

export type PodGateOptions = {
  readonly node: string;
  readonly clock: Clock;
  readonly store: Pick<Store, 'get'>;
  /** An object as policies have it. */
  readonly known: (name: string) => Manifest | undefined;
  /** One that no watch has told of yet. */
  readonly learn: (name: string, manifest: Manifest) => void;
};

const PATIENCE_MS = 2000;
const EACH_MS = 100;

/** Resolves when the pod's object is known. Throws Fault `pod-unknown`. */
export type PodGate = (pod: PodName) => Promise<void>;

export function createPodGate({ node, clock, store, known, learn }: PodGateOptions): PodGate {
  const find = async (name: string): Promise<Manifest | undefined> => {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = new AbortController();
    void clock.sleep(PATIENCE_MS, timer.signal).then(() => reject(new Error('no answer in two seconds')));
    try {
      return (await Promise.race([store.get('Manifest', name), late]))?.value as Manifest | undefined;
    } finally {
      late.catch(() => {});
      timer.abort();
    }
  };
  const learnSoon = async (name: string, pod: PodName): Promise<boolean> => {
    const found = await find(name);
    if (found === undefined || !isOfPod(found, pod)) return false;
    const elsewhere = podNode(found);
    if (elsewhere !== undefined && elsewhere !== node)
      throw unknown(pod, `is on the node ${elsewhere}, and this one is called ${node}: see node.name`);
    learn(name, found);
    return true;
  };
  return async (pod) => {
    const name = `v1/Pod/${pod.namespace}/${pod.name}`;
    const until = clock.monotonicMs() + PATIENCE_MS;
    for (;;) {
      const present = known(name);
      if (present !== undefined && isOfPod(present, pod)) return;
      try {
        if (await learnSoon(name, pod)) return;
      } catch (error) {
        if (error instanceof Fault && error.code === 'pod-unknown') throw error;
        throw unknown(pod, `cannot be asked for: ${toFault(error).message}`);
      }
      if (clock.monotonicMs() >= until) throw unknown(pod, 'is not in the API');
      await clock.sleep(EACH_MS);
    }
  };
}

function unknown({ namespace, name }: PodName, why: string): Fault {
  return new Fault('pod-unknown', `Pod ${namespace}/${name} ${why}; its labels are needed for its policies`);
}
