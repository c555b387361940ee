/** What decided a verdict, for readers: a rule and where it stands, or a default and the policies that bring it about. */
import type { Direction, Origin, Policy, RuleBook } from '#model/policy.ts';
import type { Step } from '#model/verdict.ts';
import { type Endpoint, endpointName, type PolicyWorld } from '#model/workload.ts';
import { policyName } from './book.ts';
import { formatOrigin } from '#model/manifest.ts';
import { matchesSelector } from '#model/selector-match.ts';
import { endpointLabels } from './selector.ts';

/** Absent fields: no policy selects the endpoint in this direction, which allows. */
export type Decider = {
  readonly tier?: string;
  readonly policy?: string;
  readonly rule?: string;
  readonly origin?: Origin;
  /** Of defaults: the policies that isolate the endpoint, so that what no rule allows is denied. */
  readonly isolatedBy?: readonly { readonly policy: string; readonly origin: Origin }[];
};

export type Asked = {
  readonly book: RuleBook;
  readonly world: PolicyWorld;
  /** As endpointName has it. */
  readonly endpoint: string;
  readonly direction: Direction;
};

export function deciderOf(step: Step | undefined, asked: Asked): Decider {
  if (step === undefined) return {};
  const { tier, policy, rule, origin } = step;
  const known = {
    tier,
    ...(policy === undefined ? {} : { policy }),
    ...(rule === undefined ? {} : { rule }),
    ...(origin === undefined ? {} : { origin }),
  };
  if (policy !== undefined) return known;
  const isolatedBy = isolatorsOf(asked, tier).map((each) => ({
    policy: policyName(each),
    origin: each.origin,
  }));
  return isolatedBy.length === 0 ? known : { ...known, isolatedBy };
}

/** The policies of the tier that select the endpoint and isolate it in the direction. */
export function isolatorsOf(asked: Asked, tier: string): readonly Policy[] {
  const { book, world, endpoint, direction } = asked;
  const ofWorld = isolators.get(world) ?? new WeakMap<RuleBook, Map<string, readonly Policy[]>>();
  isolators.set(world, ofWorld);
  const known = ofWorld.get(book) ?? new Map<string, readonly Policy[]>();
  ofWorld.set(book, known);
  const key = `${direction} ${tier} ${endpoint}`;
  const found = known.get(key) ?? findIsolators(asked, tier);
  known.set(key, found);
  return found;
}

const isolators = new WeakMap<PolicyWorld, WeakMap<RuleBook, Map<string, readonly Policy[]>>>();

function findIsolators({ book, world, endpoint, direction }: Asked, tier: string): readonly Policy[] {
  const found = endpointsOf(world).get(endpoint);
  if (found === undefined) return [];
  const lookup = endpointLabels(world, found);
  const own = book.enforced.find(({ tier: { name } }) => name === tier);
  return (own?.policies ?? []).filter(
    (policy) => policy.isolates[direction] && matchesSelector(policy.subjects, lookup),
  );
}

const byName = new WeakMap<PolicyWorld, ReadonlyMap<string, Endpoint>>();

function endpointsOf(world: PolicyWorld): ReadonlyMap<string, Endpoint> {
  const known = byName.get(world);
  if (known !== undefined) return known;
  const found = new Map(world.endpoints.map((each) => [endpointName(each), each]));
  byName.set(world, found);
  return found;
}

/** `decided by NetworkPolicy shop/db, db.yaml:7 spec.ingress.0`, `isolated by …`, `selected by no policy` */
export function showDecider({ tier, policy, rule, origin, isolatedBy }: Decider): string {
  if (tier === undefined) return 'selected by no policy';
  if (policy !== undefined) {
    const named = rule === undefined ? policy : `${policy} rule ${JSON.stringify(rule)}`;
    return `decided by ${origin === undefined ? named : `${named}, ${formatOrigin(origin)}`}`;
  }
  if (tier === 'exempt') return 'exempt from policy';
  const [first, ...more] = isolatedBy ?? [];
  if (first !== undefined) {
    const others = more.length === 0 ? '' : ` and ${more.length} more`;
    return `isolated by ${first.policy}, ${formatOrigin(first.origin)}${others}`;
  }
  return tier === 'profiles' ? 'allowed by none of its profiles' : `decided by the default of tier ${tier}`;
}
