/**
 * When a node may say that it is ready: once the kernel holds all that the node itself and every peer in the store at
 * that moment need. Until then STATUS answers 50 and ADD 11, so a host that was rebooted starts no pod that cannot reach
 * the others. It is judged by what the kernel holds and not by a pass having run: a paused pass does nothing.
 */
import type { Cluster } from './cluster.ts';
import type { Host } from './host.ts';
import type { PeerStatus } from '#api/status.ts';

/** A peer that the kernel refuses is waited for so long: one bad advert must not keep the whole cluster from pods. */
const PATIENCE_MS = 60_000;

type Planned = {
  readonly host: Pick<Host, 'failures' | 'openKeys'>;
  readonly cluster: Pick<Cluster, 'adverts' | 'peers'>;
};

export function peerState({ host, cluster }: Planned, name: string): PeerStatus['state'] {
  const plan = cluster.peers.get(name);
  if (plan === undefined) return 'pending';
  if (plan.legs.length === 0) return 'unreachable';
  const open = host.openKeys(`peer/${name}`);
  if (open.length === 0) return 'programmed';
  return open.some((key) => host.failures.has(key)) ? 'failed' : 'pending';
}

export type PeerCount = Readonly<Record<PeerStatus['state'] | 'known', number>>;

export function countPeers(planned: Planned): PeerCount {
  const count = { known: 0, programmed: 0, pending: 0, failed: 0, unreachable: 0 };
  for (const name of planned.cluster.adverts.keys()) {
    count.known += 1;
    count[peerState(planned, name)] += 1;
  }
  return count;
}

export class Readiness {
  readonly #planned: Planned;
  #refusedSinceMs: number | undefined;
  /** Stays true: what is lost later is repaired, and the node goes on. */
  reached = false;

  constructor(planned: Planned) {
    this.#planned = planned;
  }

  /** After a pass over everything that the store holds; answers whether the node became ready by it. */
  judge(nowMs: number): boolean {
    if (this.reached || this.#planned.host.openKeys('node').length > 0) return false;
    const { pending, failed } = countPeers(this.#planned);
    this.#refusedSinceMs = failed === 0 ? undefined : (this.#refusedSinceMs ?? nowMs);
    const waited = nowMs - (this.#refusedSinceMs ?? nowMs);
    this.reached = pending === 0 && (failed === 0 || waited >= PATIENCE_MS);
    return this.reached;
  }

  /** One sentence, or nothing once it was reached. */
  problems(): string[] {
    if (this.reached) return [];
    const { known, programmed, failed } = countPeers(this.#planned);
    const refused = failed === 0 ? '' : `, ${failed} refused by the kernel`;
    return [`peers are not programmed yet: ${programmed} of ${known}${refused}`];
  }
}
