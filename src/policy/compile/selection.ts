/** Which policies select which of a node's pods, kept from one book and world to the next: only what is new is asked. */
import {
  type Direction,
  DIRECTIONS,
  type OrderedTier,
  type Policy,
  type RuleBook,
  type Tier,
} from '#model/policy.ts';
import type { Pod, PolicyWorld } from '#model/workload.ts';
import { endpointLabels, matchesSelector } from '../selector.ts';
import type { Selected } from './lines.ts';
import { addTo, type Multimap, removeFrom } from './multimap.ts';

export type PodPolicies = Readonly<Record<Direction, readonly Selected[]>>;

/** A policy of the book, with its place among all; `namespaces`: outside of which it selects nobody. */
type Listed = {
  readonly policy: Policy;
  readonly namespaces: readonly string[] | undefined;
  tier: Tier;
  rank: number;
  book: RuleBook['enforced'];
};

/** No namespace has this name. */
const ANY = '*';

type Chosen = { readonly listed: Set<Listed>; policies: PodPolicies };

export class Selection {
  readonly #node: string;
  #world: PolicyWorld | undefined;
  #tiers: RuleBook['enforced'] | undefined;
  #pods: readonly Pod[] = [];
  readonly #listed = new Map<Policy, Listed>();
  readonly #byNamespace: Multimap<string, Listed> = new Map();
  readonly #chosen = new Map<Pod, Chosen>();
  #found: ReadonlyMap<Pod, PodPolicies> = new Map();

  constructor(node: string) {
    this.#node = node;
  }

  /** By pod of the node; values, and the whole, are the same objects as before where nothing has changed. */
  update(book: RuleBook, world: PolicyWorld): ReadonlyMap<Pod, PodPolicies> {
    const before = this.#world;
    this.#world = world;
    const pods = before?.endpoints === world.endpoints ? this.#pods : localPods(world, this.#node);
    if (before?.namespaces !== world.namespaces || before.accounts !== world.accounts) this.#forgetPods();
    const dirty = new Set<Chosen>();
    if (book.enforced !== this.#tiers) this.#follow(book.enforced, dirty);
    const isSame = this.#followPods(pods, dirty);
    if (dirty.size === 0 && isSame) return this.#found;
    for (const chosen of dirty) chosen.policies = arrange(chosen.listed);
    this.#found = new Map([...this.#chosen].map(([pod, { policies }]) => [pod, policies]));
    return this.#found;
  }

  #forgetPods(): void {
    this.#chosen.clear();
    this.#pods = [];
    this.#found = new Map();
  }

  /** The book's policies; whoever is selected otherwise than before, or in another tier, is `dirty`. */
  #follow(tiers: readonly OrderedTier[], dirty: Set<Chosen>): void {
    this.#tiers = tiers;
    const come: Listed[] = [];
    const gone: Listed[] = [];
    const moved = new Set<Listed>();
    let rank = 0;
    eachPolicy(tiers, (policy, tier) => {
      const known = this.#listed.get(policy);
      const listed = known ?? list(policy, tier, tiers);
      if (known === undefined) come.push(listed);
      else if (known.tier !== tier) moved.add(known);
      listed.tier = tier;
      listed.rank = rank++;
      listed.book = tiers;
    });
    for (const listed of this.#listed.values()) if (listed.book !== tiers) gone.push(listed);
    for (const listed of gone) this.#unlist(listed);
    for (const listed of come) this.#list(listed);
    for (const [pod, chosen] of this.#chosen) this.#adjust(pod, chosen, { come, gone, moved }, dirty);
  }

  #list(listed: Listed): void {
    this.#listed.set(listed.policy, listed);
    for (const namespace of listed.namespaces ?? [ANY]) addTo(this.#byNamespace, namespace, listed);
  }

  #unlist(listed: Listed): void {
    this.#listed.delete(listed.policy);
    for (const namespace of listed.namespaces ?? [ANY]) removeFrom(this.#byNamespace, namespace, listed);
  }

  // eslint-disable-next-line max-params
  #adjust(pod: Pod, chosen: Chosen, changes: Changes, dirty: Set<Chosen>): void {
    for (const listed of changes.gone) if (chosen.listed.delete(listed)) dirty.add(chosen);
    for (const listed of changes.moved) if (chosen.listed.has(listed)) dirty.add(chosen);
    for (const listed of changes.come) {
      if (!this.#selects(listed, pod)) continue;
      chosen.listed.add(listed);
      dirty.add(chosen);
    }
  }

  /** Whether the pods are the same as before, in the same order. */
  #followPods(pods: readonly Pod[], dirty: Set<Chosen>): boolean {
    const before = this.#pods;
    this.#pods = pods;
    if (before.length === pods.length && before.every((pod, index) => pod === pods[index])) return true;
    const known = new Map(this.#chosen);
    this.#chosen.clear();
    for (const pod of pods) {
      const chosen = known.get(pod) ?? { listed: new Set(), policies: { ingress: [], egress: [] } };
      this.#chosen.set(pod, chosen);
      if (known.has(pod)) continue;
      for (const namespace of [pod.namespace, ANY]) {
        for (const listed of this.#byNamespace.get(namespace) ?? [])
          if (this.#selects(listed, pod)) chosen.listed.add(listed);
      }
      dirty.add(chosen);
    }
    return false;
  }

  #selects({ policy, namespaces }: Listed, pod: Pod): boolean {
    if (namespaces !== undefined && !namespaces.includes(pod.namespace)) return false;
    if (this.#world === undefined) throw new Error('no world yet');
    return matchesSelector(policy.subjects, endpointLabels(this.#world, pod));
  }
}

type Changes = {
  readonly come: readonly Listed[];
  readonly gone: readonly Listed[];
  readonly moved: ReadonlySet<Listed>;
};

/** In their order, without those that never judge pods. There are thousands: nothing is made of them. */
function eachPolicy(tiers: readonly OrderedTier[], visit: (policy: Policy, tier: Tier) => void): void {
  for (const { tier, policies } of tiers) {
    for (const policy of policies) {
      if (policy.host === 'local' || policy.host === 'forward') visit(policy, tier);
    }
  }
}

function list(policy: Policy, tier: Tier, book: RuleBook['enforced']): Listed {
  return { policy, namespaces: wantedNamespaces(policy.subjects), tier, rank: 0, book };
}

/** By direction: policies that have something to say there, in their order, by tier. */
function arrange(chosen: ReadonlySet<Listed>): PodPolicies {
  const ordered = [...chosen].sort((a, b) => a.rank - b.rank);
  const ofWay = (way: Direction): Selected[] => {
    const asked = ordered.filter(({ policy }) => policy.isolates[way] || policy[way].length > 0);
    return [...Map.groupBy(asked, ({ tier }) => tier)].map(([tier, list]) => ({
      tier,
      policies: list.map(({ policy }) => policy),
    }));
  };
  const [ingress, egress] = DIRECTIONS.map(ofWay) as [Selected[], Selected[]];
  return { ingress, egress };
}

function localPods(world: PolicyWorld, node: string): Pod[] {
  return world.endpoints.filter(
    (each): each is Pod => each.kind === 'pod' && each.node === node && !each.hostNetwork,
  );
}

/** Namespaces outside of which the selector cannot match; undefined where it says none. */
function wantedNamespaces(selector: Policy['subjects']): readonly string[] | undefined {
  if (selector.op === 'in') {
    return selector.scope === 'fact' && selector.key === 'namespace' ? selector.values : undefined;
  }
  if (selector.op !== 'and') return undefined;
  for (const each of selector.of) {
    const found = wantedNamespaces(each);
    if (found !== undefined) return found;
  }
  return undefined;
}
