/** Rules asked of a flow. */
import type { Clause, Rule } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { isPeer } from './peers.ts';
import { isTraffic } from './traffic.ts';

/** A flow as one endpoint's rules see it. `node`: where that endpoint is. */
export type View = { readonly world: PolicyWorld; readonly flow: Flow; readonly node: string };

export function matchesRule(rule: Rule, view: View): boolean {
  return (
    rule.traffic.every((clause) => holds(clause, (set) => isTraffic(set, view))) &&
    rule.source.every((clause) => holds(clause, (set) => isPeer(set, 'source', view))) &&
    rule.destination.every((clause) => holds(clause, (set) => isPeer(set, 'destination', view)))
  );
}

function holds<T>(clause: Clause<T>, isIn: (set: T) => boolean): boolean {
  return clause.anyOf.some(isIn) !== (clause.not ?? false);
}
