/** Which policies select which of a node's pods and host endpoints, kept from one book and world to the next: only what is new is asked. */
import {
  type Direction,
  DIRECTIONS,
  type OrderedTier,
  type Policy,
  type RuleBook,
  type Tier,
} from '#model/policy.ts';
import type { Endpoint, HostEndpoint, Pod, PolicyWorld } from '#model/workload.ts';
import { matchesSelector } from '#model/selector-match.ts';
import { endpointLabels } from '../selector.ts';
import type { Selected } from './lines.ts';
import { addTo, type Multimap, removeFrom } from './multimap.ts';
import { changedSpan } from './span.ts';

export type Policed = Pod | HostEndpoint;
/** Of a host endpoint, of all scopes. */
export type PoliciesOf = Readonly<Record<Direction, readonly Selected[]>>;
export type PolicedBy = ReadonlyMap<Policed, PoliciesOf>;

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

type Chosen = { readonly listed: Set<Listed>; policies: PoliciesOf };

export class Selection {
  readonly #node: string;
  #world: PolicyWorld | undefined;
  #tiers: RuleBook['enforced'] | undefined;
  #local: readonly Policed[] = [];
  readonly #listed = new Map<Policy, Listed>();
  readonly #byNamespace: Multimap<string, Listed> = new Map();
  readonly #chosen = new Map<Policed, Chosen>();
  #found: PolicedBy = new Map();

  constructor(node: string) {
    this.#node = node;
  }

  /** By endpoint of the node; values, and the whole, are the same objects as before where nothing has changed. */
  update(book: RuleBook, world: PolicyWorld): PolicedBy {
    const before = this.#world;
    this.#world = world;
    const local = this.#hasOtherLocal(before, world) ? localEndpoints(world, this.#node) : this.#local;
    if (before?.namespaces !== world.namespaces || before.accounts !== world.accounts) this.#forgetLocal();
    const dirty = new Set<Chosen>();
    if (book.enforced !== this.#tiers) this.#follow(book.enforced, dirty);
    const isSame = this.#followLocal(local, dirty);
    if (dirty.size === 0 && isSame) return this.#found;
    for (const chosen of dirty) chosen.policies = arrange(chosen.listed);
    this.#found = new Map([...this.#chosen].map(([endpoint, { policies }]) => [endpoint, policies]));
    return this.#found;
  }

  /** Mostly it is pods of other nodes that come and go, among thousands. */
  #hasOtherLocal(before: PolicyWorld | undefined, { endpoints }: PolicyWorld): boolean {
    if (before === undefined) return true;
    const { gone, come } = changedSpan(before.endpoints, endpoints);
    const isLocal = (each: Endpoint): boolean => each.kind !== 'network-set' && each.node === this.#node;
    return gone.some(isLocal) || come.some(isLocal);
  }

  #forgetLocal(): void {
    this.#chosen.clear();
    this.#local = [];
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
    for (const [endpoint, chosen] of this.#chosen)
      this.#adjust(endpoint, chosen, { come, gone, moved }, dirty);
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
  #adjust(endpoint: Policed, chosen: Chosen, changes: Changes, dirty: Set<Chosen>): void {
    for (const listed of changes.gone) if (chosen.listed.delete(listed)) dirty.add(chosen);
    for (const listed of changes.moved) if (chosen.listed.has(listed)) dirty.add(chosen);
    for (const listed of changes.come) {
      if (!this.#selects(listed, endpoint)) continue;
      chosen.listed.add(listed);
      dirty.add(chosen);
    }
  }

  /** Whether the endpoints are the same as before, in the same order. */
  #followLocal(local: readonly Policed[], dirty: Set<Chosen>): boolean {
    const before = this.#local;
    this.#local = local;
    if (before.length === local.length && before.every((each, index) => each === local[index])) return true;
    const known = new Map(this.#chosen);
    this.#chosen.clear();
    for (const endpoint of local) {
      const chosen = known.get(endpoint) ?? { listed: new Set(), policies: { ingress: [], egress: [] } };
      this.#chosen.set(endpoint, chosen);
      if (known.has(endpoint)) continue;
      for (const listed of this.#candidates(endpoint))
        if (this.#selects(listed, endpoint)) chosen.listed.add(listed);
      dirty.add(chosen);
    }
    return false;
  }

  *#candidates(endpoint: Policed): Generator<Listed> {
    if (endpoint.kind === 'pod') yield* this.#byNamespace.get(endpoint.namespace) ?? [];
    yield* this.#byNamespace.get(ANY) ?? [];
  }

  #selects({ policy, namespaces }: Listed, endpoint: Policed): boolean {
    if (endpoint.kind === 'pod' && !ofPods(policy)) return false;
    const namespace = endpoint.kind === 'pod' ? endpoint.namespace : ANY;
    if (namespaces !== undefined && !namespaces.includes(namespace)) return false;
    if (this.#world === undefined) throw new Error('no world yet');
    return matchesSelector(policy.subjects, endpointLabels(this.#world, endpoint));
  }
}

type Changes = {
  readonly come: readonly Listed[];
  readonly gone: readonly Listed[];
  readonly moved: ReadonlySet<Listed>;
};

/** In their order. There are thousands: nothing is made of them. */
function eachPolicy(tiers: readonly OrderedTier[], visit: (policy: Policy, tier: Tier) => void): void {
  for (const { tier, policies } of tiers) for (const policy of policies) visit(policy, tier);
}

const ofPods = ({ host }: Policy): boolean => host === 'local' || host === 'forward';

function list(policy: Policy, tier: Tier, book: RuleBook['enforced']): Listed {
  return { policy, namespaces: wantedNamespaces(policy.subjects), tier, rank: 0, book };
}

/** By direction: policies that have something to say there, in their order, by tier. */
function arrange(chosen: ReadonlySet<Listed>): PoliciesOf {
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

function localEndpoints(world: PolicyWorld, node: string): Policed[] {
  const hosts: HostEndpoint[] = [];
  const pods = world.endpoints.filter((each): each is Pod => {
    if (each.kind === 'host' && each.node === node) hosts.push(each);
    return each.kind === 'pod' && each.node === node && !each.hostNetwork;
  });
  if (hosts.length === 0) return pods;
  hosts.sort((a, b) => (a.name < b.name ? -1 : 1));
  // Of several for one interface the first by name counts.
  const first = new Map(hosts.toReversed().map((each) => [each.interface, each]));
  return [...pods, ...first.values().filter((each) => isInterface(each.interface))];
}

/** Whether an interface can have this name (dev_valid_name in the kernel's net/core/dev.c). */
function isInterface(name: string): boolean {
  return /^[^\s/:\0]+$/.test(name) && new TextEncoder().encode(name).length < 16;
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
