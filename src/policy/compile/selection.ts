/** Which policies select which of a node's pods, kept from one book and world to the next by what is still the same object. */
import { type Direction, DIRECTIONS, type OrderedTier, type Policy, type RuleBook } from '#model/policy.ts';
import type { Pod, PolicyWorld } from '#model/workload.ts';
import { endpointLabels, matchesSelector } from '../selector.ts';
import type { Selected } from './lines.ts';

export type PodPolicies = Readonly<Record<Direction, readonly Selected[]>>;

type Changes = { readonly fresh: readonly Pod[]; readonly gone: readonly Pod[] };

/** Whom a policy selects, as of some generation of the pods; `namespaces`: outside of which it selects nobody. */
type Choice = {
  readonly pods: Set<Pod>;
  readonly namespaces: readonly string[] | undefined;
  generation: number;
};

export class Selection {
  readonly #node: string;
  #world: PolicyWorld | undefined;
  #tiers: readonly OrderedTier[] | undefined;
  #pods: readonly Pod[] = [];
  #generation = 0;
  readonly #choices = new WeakMap<Policy, Choice>();
  #found: ReadonlyMap<Pod, PodPolicies> = new Map();

  constructor(node: string) {
    this.#node = node;
  }

  /** By pod of the node; values, and the whole, are the same objects as before where nothing has changed. */
  update(book: RuleBook, world: PolicyWorld): ReadonlyMap<Pod, PodPolicies> {
    const before = this.#world;
    this.#world = world;
    const pods = before?.endpoints === world.endpoints ? this.#pods : localPods(world, this.#node);
    const isSameWorld = before?.namespaces === world.namespaces && before.accounts === world.accounts;
    const changes = { fresh: without(pods, this.#pods), gone: without(this.#pods, pods) };
    const isSamePods = changes.fresh.length === 0 && changes.gone.length === 0;
    if (isSameWorld && isSamePods && this.#tiers === book.enforced) return this.#found;
    this.#pods = pods;
    this.#tiers = book.enforced;
    this.#select(book.enforced, isSameWorld ? changes : undefined);
    this.#found = this.#arrange(book.enforced);
    return this.#found;
  }

  /** Without `changes` everything is asked anew. */
  #select(tiers: readonly OrderedTier[], changes: Changes | undefined): void {
    const before = changes === undefined ? -1 : this.#generation;
    const { fresh, gone } = changes ?? { fresh: this.#pods, gone: [] };
    if (fresh.length > 0 || gone.length > 0) this.#generation += 1;
    const everyone = Map.groupBy(this.#pods, ({ namespace }) => namespace);
    const others = Map.groupBy(fresh, ({ namespace }) => namespace);
    for (const policy of tiers.flatMap(({ policies }) => policies)) {
      const known = this.#choices.get(policy);
      if (known?.generation !== before) this.#choices.set(policy, this.#choose(policy, everyone));
      else if (before !== this.#generation) this.#adjust(policy, known, gone, others);
    }
  }

  #choose(policy: Policy, pods: ReadonlyMap<string, readonly Pod[]>): Choice {
    const namespaces = wantedNamespaces(policy.subjects);
    const choice: Choice = { pods: new Set(), namespaces, generation: this.#generation };
    this.#add(policy, choice, pods);
    return choice;
  }

  // eslint-disable-next-line max-params
  #adjust(
    policy: Policy,
    choice: Choice,
    gone: readonly Pod[],
    fresh: ReadonlyMap<string, readonly Pod[]>,
  ): void {
    for (const pod of gone) choice.pods.delete(pod);
    this.#add(policy, choice, fresh);
    choice.generation = this.#generation;
  }

  #add({ subjects }: Policy, choice: Choice, pods: ReadonlyMap<string, readonly Pod[]>): void {
    for (const namespace of choice.namespaces ?? pods.keys()) {
      for (const pod of pods.get(namespace) ?? []) {
        if (matchesSelector(subjects, endpointLabels(this.#now(), pod))) choice.pods.add(pod);
      }
    }
  }

  #arrange(tiers: readonly OrderedTier[]): Map<Pod, PodPolicies> {
    const found = new Map(
      this.#pods.map((pod) => [pod, { ingress: [] as Selected[], egress: [] as Selected[] }]),
    );
    for (const { tier, policies } of tiers) {
      for (const [pod, chosen] of this.#byPod(policies)) {
        for (const way of DIRECTIONS) {
          const asked = chosen.filter((policy) => policy.isolates[way] || policy[way].length > 0);
          if (asked.length > 0) found.get(pod)?.[way].push({ tier, policies: asked });
        }
      }
    }
    return new Map(
      found.entries().map(([pod, now]): [Pod, PodPolicies] => {
        const before = this.#found.get(pod);
        return [pod, before !== undefined && isSame(before, now) ? before : now];
      }),
    );
  }

  /** Policies by pod that they select, in their order. */
  #byPod(policies: readonly Policy[]): Map<Pod, Policy[]> {
    const found = new Map<Pod, Policy[]>();
    for (const policy of policies) {
      if (policy.host !== 'local' && policy.host !== 'forward') continue;
      for (const pod of this.#choices.get(policy)?.pods ?? []) {
        const list = found.get(pod);
        if (list === undefined) found.set(pod, [policy]);
        else list.push(policy);
      }
    }
    return found;
  }

  #now(): PolicyWorld {
    if (this.#world === undefined) throw new Error('no world yet');
    return this.#world;
  }
}

function isSame(a: PodPolicies, b: PodPolicies): boolean {
  return DIRECTIONS.every((way) => isEqual(a[way], b[way], isSameTier));
}

function isSameTier(a: Selected, b: Selected): boolean {
  return a.tier === b.tier && isEqual(a.policies, b.policies, (one, other) => one === other);
}

function isEqual<T>(a: readonly T[], b: readonly T[], same: (a: T, b: T) => boolean): boolean {
  return a.length === b.length && a.every((each, index) => same(each, b[index] as T));
}

function without(pods: readonly Pod[], others: readonly Pod[]): Pod[] {
  const known = new Set(others);
  return pods.filter((pod) => !known.has(pod));
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
