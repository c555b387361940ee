/** Tiers asked one after another for one endpoint and direction; what was asked is appended to a trail. */
import type { Action, Direction, HostScope, OrderedTier, Policy, Profile, Rule } from '#model/policy.ts';
import type { Step } from '#model/verdict.ts';
import type { Endpoint } from '#model/workload.ts';
import { policyName } from './book.ts';
import { matchesRule, type View } from './match.ts';
import { matchesSelector } from '#model/selector-match.ts';
import { endpointLabels } from './selector.ts';

export type Question = {
  readonly view: View;
  readonly endpoint: Endpoint;
  readonly direction: Direction;
  /** Policies of other scopes do not take part. */
  readonly scopes: readonly HostScope[];
  /** Where tiers end in their default action; before connection tracking and DNAT they do not. */
  readonly defaults: boolean;
};

type Decision = 'allow' | 'deny' | undefined;

/** Undefined: no tier decided. */
export function askTiers(tiers: readonly OrderedTier[], question: Question, trail: Step[]): Decision {
  for (const { tier, policies } of tiers) {
    const asked = policies.filter((policy) => takesPart(policy, question));
    const action = askPolicies(asked, question, trail);
    if (action === 'allow' || action === 'redirect') return 'allow';
    if (action === 'deny') return 'deny';
    const isolated = asked.some((policy) => policy.isolates[question.direction]);
    if (action === 'pass' || !question.defaults || !isolated) continue;
    trail.push({ tier: tier.name, outcome: tier.defaultAction });
    if (tier.defaultAction === 'deny') return 'deny';
  }
  return undefined;
}

/** The first profile rule that decides; a profile that is missing, and the end of all, deny. */
export function askProfiles(
  profiles: readonly (Profile | undefined)[],
  question: Question,
  trail: Step[],
): 'allow' | 'deny' {
  for (const profile of profiles) {
    if (profile === undefined) break;
    const rules = profile[question.direction];
    const action = askRules(rules, question, (rule, outcome) =>
      trail.push({ tier: 'profiles', policy: `Profile ${profile.name}`, ...about(rule), outcome }),
    );
    if (action === 'allow' || action === 'redirect') return 'allow';
    if (action !== undefined) break;
  }
  if (trail.at(-1)?.outcome !== 'deny') trail.push({ tier: 'profiles', outcome: 'deny' });
  return 'deny';
}

function takesPart(policy: Policy, { view, endpoint, direction, scopes }: Question): boolean {
  return (
    scopes.includes(policy.host) &&
    (policy.isolates[direction] || policy[direction].length > 0) &&
    matchesSelector(policy.subjects, endpointLabels(view.world, endpoint))
  );
}

function askPolicies(policies: readonly Policy[], question: Question, trail: Step[]): Action | undefined {
  for (const policy of policies) {
    const name = policyName(policy);
    const action = askRules(policy[question.direction], question, (rule, outcome) =>
      trail.push({ tier: policy.tier, policy: name, ...about(rule), outcome }),
    );
    if (action !== undefined) return action;
  }
  return undefined;
}

function about({ name, origin }: Rule): Pick<Step, 'rule' | 'origin'> {
  return name === undefined ? { origin } : { rule: name, origin };
}

/** The first rule that matches and decides; `log` only tells. */
function askRules(
  rules: readonly Rule[],
  { view }: Question,
  tell: (rule: Rule, outcome: Step['outcome']) => void,
): Action | undefined {
  for (const rule of rules) {
    const matched = matchesRule(rule, view);
    tell(rule, matched ? rule.action : 'no match');
    if (matched && rule.action !== 'log') return rule.action;
  }
  return undefined;
}
