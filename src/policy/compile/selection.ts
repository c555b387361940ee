/** Which policies select which of a node's pods, kept from one book and world to the next by what is still the same object. */
import { type Direction, DIRECTIONS, type OrderedTier, type Policy, type RuleBook } from '#model/policy.ts';
import type { Pod, PolicyWorld } from '#model/workload.ts';
import { endpointLabels, matchesSelector } from '../selector.ts';
import type { Selected } from './lines.ts';

export type PodPolicies = Readonly<Record<Direction, readonly Selected[]>>;

type Changes = { readonly fresh: readonly Pod[]; readonly gone: readonly Pod[] };

export class Selection {
  readonly #node: string;
  #world: PolicyWorld | undefined;
  #tiers: readonly OrderedTier[] | undefined;
  #pods: readonly Pod[] = [];
  #selected = new Map<Policy, Set<Pod>>();
  #found: ReadonlyMap<Pod, PodPolicies> = new Map();

  constructor(node: string) {
    this.#node = node;
  }

  /** By pod of the node; the same value when nothing has changed for anyone. */
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
    const before = changes === undefined ? new Map<Policy, Set<Pod>>() : this.#selected;
    const { fresh, gone } = changes ?? { fresh: [], gone: [] };
    this.#selected = new Map();
    const everyone = Map.groupBy(this.#pods, ({ namespace }) => namespace);
    const others = Map.groupBy(fresh, ({ namespace }) => namespace);
    for (const policy of tiers.flatMap(({ policies }) => policies)) {
      const known = before.get(policy);
      const chosen = known ?? new Set<Pod>();
      for (const pod of gone) chosen.delete(pod);
      for (const pod of this.#matching(policy, known === undefined ? everyone : others)) chosen.add(pod);
      this.#selected.set(policy, chosen);
    }
  }

  *#matching({ subjects }: Policy, pods: ReadonlyMap<string, readonly Pod[]>): Generator<Pod> {
    const wanted = wantedNamespaces(subjects);
    for (const namespace of wanted ?? pods.keys()) {
      for (const pod of pods.get(namespace) ?? []) {
        if (matchesSelector(subjects, endpointLabels(this.#now(), pod))) yield pod;
      }
    }
  }

  #arrange(tiers: readonly OrderedTier[]): Map<Pod, PodPolicies> {
    const found = new Map(
      this.#pods.map((pod) => [pod, { ingress: [] as Selected[], egress: [] as Selected[] }]),
    );
    for (const { tier, policies } of tiers) {
      for (const [pod, chosen] of this.#choose(policies)) {
        for (const way of DIRECTIONS) {
          const asked = chosen.filter((policy) => policy.isolates[way] || policy[way].length > 0);
          if (asked.length > 0) found.get(pod)?.[way].push({ tier, policies: asked });
        }
      }
    }
    return found;
  }

  /** Policies by pod that they select, in their order. */
  #choose(policies: readonly Policy[]): Map<Pod, Policy[]> {
    const found = new Map<Pod, Policy[]>();
    for (const policy of policies) {
      if (policy.host !== 'local' && policy.host !== 'forward') continue;
      for (const pod of this.#selected.get(policy) ?? []) {
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
