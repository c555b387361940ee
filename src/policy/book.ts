/** Policies in the order in which they are asked. A RuleBook made here is sorted and whole: no policy lacks its tier. */
import { Fault, type Problem } from '#model/fault.ts';
import { formatOrigin } from '#model/manifest.ts';
import type { OrderedTier, Policy, Profile, Rule, RuleBook, Tier } from '#model/policy.ts';

/**
 * There without being written. Names and orders are Calico's, so that its tiers can be put between them: Kubernetes'
 * cluster policies of tier Admin, then everybody's policies, then those of tier Baseline.
 */
export const BUILT_IN_TIERS = [
  { name: 'kube-admin', order: 1_000, defaultAction: 'pass' },
  { name: 'default', order: 1_000_000, defaultAction: 'deny' },
  { name: 'kube-baseline', order: 10_000_000, defaultAction: 'pass' },
] as const satisfies readonly Tier[];

const BUILT_IN = { source: 'built in', path: '' };
const ALLOW: Rule = { action: 'allow', source: [], destination: [], traffic: [], origin: BUILT_IN };

/** There without being written: what Calico gives to host endpoints that it makes itself. */
export const BUILT_IN_PROFILES: readonly Profile[] = [
  { name: 'projectcalico-default-allow', ingress: [ALLOW], egress: [ALLOW] },
];

export type BookParts = {
  readonly policies: readonly Policy[];
  /** Beside the built-in ones; a tier or profile of the same name replaces a built-in one. */
  readonly tiers?: readonly Tier[];
  readonly profiles?: readonly Profile[];
};

/** Throws Fault `policy-invalid` with every policy whose tier is missing or that is there twice, at its origin. */
export function createBook({ policies, tiers = [], profiles = [] }: BookParts): RuleBook {
  const byName = new Map<string, Tier>([...BUILT_IN_TIERS, ...tiers].map((tier) => [tier.name, tier]));
  const problems = bookProblems(policies, byName);
  if (problems.length > 0)
    throw new Fault('policy-invalid', 'the policies do not fit together', { problems });
  const ordered = [...byName.values()].sort(compareTiers);
  const arrange = (chosen: readonly Policy[]): OrderedTier[] =>
    ordered.map((tier) => ({
      tier,
      policies: chosen.filter((policy) => policy.tier === tier.name).sort(comparePolicies),
    }));
  const staged = policies.filter((policy) => policy.staged !== undefined);
  const enforced = policies.filter((policy) => policy.staged === undefined);
  return {
    enforced: arrange(enforced),
    ...(staged.length === 0 ? {} : { pending: arrange(putInForce(enforced, staged)) }),
    profiles: new Map([...BUILT_IN_PROFILES, ...profiles].map((profile) => [profile.name, profile])),
  };
}

/** `NetworkPolicy shop/web`. */
export function policyName({ kind, name }: Policy): string {
  return `${kind} ${name}`;
}

function putInForce(enforced: readonly Policy[], staged: readonly Policy[]): Policy[] {
  const changed = new Set(staged.map(policyName));
  return [
    ...enforced.filter((policy) => !changed.has(policyName(policy))),
    ...staged.filter((policy) => policy.staged === 'set'),
  ];
}

function bookProblems(policies: readonly Policy[], tiers: ReadonlyMap<string, Tier>): Problem[] {
  const first = new Map<string, Policy>();
  return policies.flatMap((policy) => {
    const found: Problem[] = [];
    const path = formatOrigin(policy.origin);
    if (!tiers.has(policy.tier)) found.push({ path, message: `there is no tier ${policy.tier}` });
    const key = `${policyName(policy)} ${policy.staged === undefined ? 'enforced' : 'staged'}`;
    const other = first.get(key);
    if (other === undefined) first.set(key, policy);
    else {
      const where = formatOrigin(other.origin);
      found.push({ path, message: `${policyName(policy)} is also in ${where}` });
    }
    return found;
  });
}

/** The order within a tier; 0 only for policies of the same kind and name. */
export function comparePolicies(a: Policy, b: Policy): number {
  const [[nameA, spaceA], [nameB, spaceB]] = [nameParts(a), nameParts(b)];
  return (
    compareOrders(a, b) ||
    compareTexts(nameA, nameB) ||
    compareTexts(spaceA, spaceB) ||
    compareTexts(a.kind, b.kind)
  );
}

export function compareTiers(a: Tier, b: Tier): number {
  return compareOrders(a, b) || compareTexts(a.name, b.name);
}

/** The name without its namespace, and that. */
function nameParts({ name }: Policy): [name: string, namespace: string] {
  const slash = name.indexOf('/');
  return [name.slice(slash + 1), name.slice(0, Math.max(slash, 0))];
}

/** Infinity minus itself is no number. */
function compareOrders(a: { readonly order: number }, b: { readonly order: number }): number {
  return a.order === b.order ? 0 : a.order - b.order;
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
