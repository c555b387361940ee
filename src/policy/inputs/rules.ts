/**
 * A rule book that grows: always what createBook (../book.ts) makes of the same policies, tiers and profiles, made anew
 * only where something has changed. A policy without its tier is not in it.
 *
 * A tier that goes while policies are in it stays as it was until the last of them has gone, as otherwise what they deny
 * would pass; Calico refuses to remove such a tier.
 */
import type { Problem } from '#model/fault.ts';
import type { OrderedTier, Policy, Profile, RuleBook, Tier } from '#model/policy.ts';
import { BUILT_IN_PROFILES, BUILT_IN_TIERS, comparePolicies, compareTiers } from '../book.ts';
import { type Naming, NamingRules } from '../dns/naming.ts';
import { formatOrigin } from '#model/manifest.ts';
import { addTo, type Multimap, removeFrom } from '../compile/multimap.ts';
import { isSame, MappedValues, NOTHING, SortedList, SortedValues } from './sorted.ts';

/** Policies of one name: the one that is enforced, and the one that is only previewed. */
export type Pair = { readonly enforced: Policy | undefined; readonly staged: Policy | undefined };
type Lists = Map<string, SortedValues<Policy>>;

export class Rules {
  readonly #pairs = new Map<string, Pair>();
  readonly #tiers = new Map<string, Tier>(BUILT_IN_TIERS.map((tier) => [tier.name, tier]));
  /** Tiers that nobody tells of any more. */
  readonly #retained = new Set<string>();
  /** Names of policies by their tier. */
  readonly #users: Multimap<string, string> = new Map();
  readonly #profiles = new MappedValues<Profile>();
  readonly #enforced: Lists = new Map();
  readonly #pending: Lists = new Map();
  readonly #staged = new Set<string>();
  readonly #naming = new NamingRules();
  #book: RuleBook;

  constructor() {
    for (const profile of BUILT_IN_PROFILES) this.#profiles.put(profile.name, profile);
    this.#book = { enforced: [], profiles: this.#profiles.map() };
  }

  /** The policy of this kind and name, and its staged self; undefined: there is none. */
  putPolicies(name: string, pair: Pair): void {
    const before = this.#pairs.get(name) ?? NO_PAIR;
    for (const tier of tiersOf(before)) removeFrom(this.#users, tier, name);
    if (tiersOf(pair).length === 0) this.#pairs.delete(name);
    else this.#pairs.set(name, pair);
    for (const tier of tiersOf(pair)) addTo(this.#users, tier, name);
    this.#naming.put(name, policiesOf(pair));
    this.#place(name, before);
    for (const tier of tiersOf(before)) this.#releaseTier(tier);
  }

  putTier(name: string, tier: Tier | undefined): void {
    const inForce = tier ?? BUILT_IN_TIERS.find((each) => each.name === name);
    if (inForce === undefined) {
      if (this.#tiers.has(name)) this.#retained.add(name);
      this.#releaseTier(name);
      return;
    }
    this.#retained.delete(name);
    const before = this.#tiers.get(name);
    if (!isSame(before, inForce)) this.#tiers.set(name, inForce);
    if (before !== undefined) return;
    for (const user of this.#users.get(name) ?? []) this.#place(user, this.#pairs.get(user) ?? NO_PAIR);
  }

  putProfile(name: string, profile: Profile | undefined): void {
    this.#naming.put(`Profile ${name}`, profile === undefined ? [] : [profile]);
    this.#profiles.put(name, profile ?? BUILT_IN_PROFILES.find((each) => each.name === name));
  }

  /** Tiers that are only there because policies are in them. */
  retained(): readonly Tier[] {
    return [...this.#retained].sort().flatMap((name) => this.#tiers.get(name) ?? []);
  }

  /** Staged policies too: what they would allow is to be told truly. */
  naming(): Naming {
    return this.#naming.value();
  }

  book(): RuleBook {
    const before = this.#book;
    const ordered = [...this.#tiers.values()].sort(compareTiers);
    const enforced = arrange(ordered, this.#enforced, before.enforced);
    const pending =
      this.#staged.size === 0 ? undefined : arrange(ordered, this.#pending, before.pending ?? []);
    const profiles = this.#profiles.map();
    if (enforced === before.enforced && pending === before.pending && profiles === before.profiles)
      return before;
    this.#book = { enforced, ...(pending === undefined ? {} : { pending }), profiles };
    return this.#book;
  }

  problems(): Problem[] {
    const names = [...this.#users].flatMap(([tier, users]) => (this.#tiers.has(tier) ? [] : [...users]));
    const lost = [...new Set(names)]
      .sort()
      .flatMap((name) => policiesOf(this.#pairs.get(name) ?? NO_PAIR))
      .filter(({ tier }) => !this.#tiers.has(tier))
      .map(withoutTier);
    return [...this.retained().map((tier) => this.#aboutRetained(tier)), ...lost];
  }

  #aboutRetained({ name }: Tier): Problem {
    const policies = [...(this.#users.get(name) ?? [])].sort();
    const [first] = policies;
    const others = policies.length > 1 ? ` and ${policies.length - 1} more` : '';
    const message = `is gone, but stays as it was while policies are in it: ${first}${others}`;
    return { path: `Tier ${name}`, message };
  }

  #releaseTier(name: string): void {
    if (this.#users.has(name) || !this.#retained.delete(name)) return;
    this.#tiers.delete(name);
    this.#enforced.delete(name);
    this.#pending.delete(name);
  }

  /** Puts the pair where it belongs; `before`: where it may be. */
  #place(name: string, before: Pair): void {
    const { enforced, staged } = this.#inForce(name);
    if (staged === undefined) this.#staged.delete(name);
    else this.#staged.add(name);
    const pending = staged === undefined ? enforced : staged.staged === 'set' ? staged : undefined;
    for (const tier of new Set([...tiersOf(before), ...tiersOf({ enforced, staged })])) {
      listOf(this.#enforced, tier).put(name, enforced?.tier === tier ? enforced : undefined);
      listOf(this.#pending, tier).put(name, pending?.tier === tier ? pending : undefined);
    }
  }

  /** Those whose tiers are there. */
  #inForce(name: string): Pair {
    const { enforced, staged } = this.#pairs.get(name) ?? NO_PAIR;
    const only = (policy: Policy | undefined) =>
      policy !== undefined && this.#tiers.has(policy.tier) ? policy : undefined;
    return { enforced: only(enforced), staged: only(staged) };
  }
}

const NO_PAIR: Pair = { enforced: undefined, staged: undefined };

const policiesOf = ({ enforced, staged }: Pair): Policy[] =>
  [enforced, staged].filter((each) => each !== undefined);
const tiersOf = (pair: Pair): string[] => policiesOf(pair).map(({ tier }) => tier);

function withoutTier({ origin, tier }: Policy): Problem {
  return { path: formatOrigin(origin), message: `there is no tier ${tier}` };
}

function listOf(lists: Lists, tier: string): SortedValues<Policy> {
  const known = lists.get(tier);
  if (known !== undefined) return known;
  const list = new SortedValues<Policy>(new SortedList(comparePolicies));
  lists.set(tier, list);
  return list;
}

/** The same objects as before where nothing has changed. */
function arrange(
  tiers: readonly Tier[],
  lists: Lists,
  before: readonly OrderedTier[],
): readonly OrderedTier[] {
  const known = new Map(before.map((each) => [each.tier.name, each]));
  const now = tiers.map((tier): OrderedTier => {
    const policies = lists.get(tier.name)?.list() ?? NOTHING;
    const same = known.get(tier.name);
    return same?.tier === tier && same.policies === policies ? same : { tier, policies };
  });
  const isSame = now.length === before.length && now.every((each, index) => each === before[index]);
  return isSame ? before : now;
}
