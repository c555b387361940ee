/**
 * When a node may say that it is ready: once the kernel holds all that the node itself and every peer in the store at
 * that moment need. Until then STATUS answers 50 and ADD 11, so a host that was rebooted starts no pod that cannot reach
 * the others. It is judged by what the kernel holds and not by a pass having run: a paused pass does nothing.
 */
import type { NodePlace } from './addresses/addresses.ts';
import type { Cluster } from './roads/cluster.ts';
import type { Host } from './host/host.ts';
import type { PeerStatus } from '#api/status.ts';
import { families } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';

/**
 * A peer that the kernel refuses, or that BGP has not told of, is waited for so long: one bad advert, or a node that is
 * off, must not keep the whole cluster from pods.
 */
const PATIENCE_MS = 60_000;

type Planned = {
  readonly host: Pick<Host, 'failures' | 'openKeys'>;
  readonly cluster: Pick<Cluster, 'adverts' | 'peers'>;
  /** What BIRD has written to the kernel. */
  readonly routing: { readonly learned: { has(prefix: Prefix): boolean } };
};

type Placed = {
  readonly addresses: { readonly place: Pick<NodePlace, 'held' | 'problems'> };
  readonly cluster: Pick<Cluster, 'lostSubnets' | 'underlayProblem' | 'self'>;
};

export function peerState(planned: Planned, name: string): PeerStatus['state'] {
  const { host, cluster } = planned;
  const plan = cluster.peers.get(name);
  if (plan === undefined) return 'pending';
  if (plan.legs.length === 0) return 'unreachable';
  const open = host.openKeys(`peer/${name}`);
  if (open.length === 0) return isLearned(planned, name) ? 'programmed' : 'pending';
  return open.some((key) => host.failures.has(key)) ? 'failed' : 'pending';
}

/** Of legs that others write: whether they have. */
function isLearned({ cluster, routing }: Planned, name: string): boolean {
  const legs = cluster.peers.get(name)?.legs ?? [];
  return legs.every(({ carrier, prefix }) => carrier !== 'bgp' || routing.learned.has(prefix));
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
  #lateSinceMs: number | undefined;
  /** Stays true: what is lost later is repaired, and the node goes on. */
  reached = false;

  constructor(planned: Planned) {
    this.#planned = planned;
  }

  /** Nothing of theirs is open here, and they have not been heard of. */
  #silent(): number {
    const { host, cluster } = this.#planned;
    const names = [...cluster.adverts.keys()].filter((name) => !isLearned(this.#planned, name));
    return names.filter((name) => host.openKeys(`peer/${name}`).length === 0).length;
  }

  /** After a pass over everything that the store holds; answers whether the node became ready by it. */
  judge(nowMs: number): boolean {
    if (this.reached || this.#planned.host.openKeys('node').length > 0) return false;
    const { pending, failed } = countPeers(this.#planned);
    const silent = this.#silent();
    const late = failed + silent;
    this.#lateSinceMs = late === 0 ? undefined : (this.#lateSinceMs ?? nowMs);
    const waited = nowMs - (this.#lateSinceMs ?? nowMs);
    this.reached = pending === silent && (late === 0 || waited >= PATIENCE_MS);
    return this.reached;
  }

  /**
   * Why pods cannot be added, of all that is the node's own and its roads', one sentence each. `goesOn`: by what was known of
   * the node before, while the store is away, and then nobody knows of peers.
   */
  placeProblems({ addresses, cluster }: Placed, isStoreKnown: boolean, goesOn: boolean): string[] {
    const reasons = [...addresses.place.problems(), ...cluster.lostSubnets()];
    if (!isStoreKnown && !goesOn) reasons.push('the store has not been read yet');
    if (isStoreKnown && families(addresses.place.held).length === 0)
      reasons.push('the node has no subnet yet');
    if (cluster.underlayProblem !== undefined) reasons.push(cluster.underlayProblem);
    else if (cluster.self === undefined) reasons.push('the underlay link is not chosen yet');
    return reasons.length > 0 || !isStoreKnown ? reasons : this.problems();
  }

  /** One sentence, or nothing once it was reached. */
  problems(): string[] {
    if (this.reached) return [];
    const { known, programmed, failed } = countPeers(this.#planned);
    const refused = failed === 0 ? '' : `, ${failed} refused by the kernel`;
    return [`peers are not programmed yet: ${programmed} of ${known}${refused}`];
  }
}
