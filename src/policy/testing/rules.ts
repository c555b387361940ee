/** Rules and policies for tests, in few words. */
import type { Action, PeerSet, Policy, Rule, TrafficSet } from '#model/policy.ts';
import { EVERYTHING } from '#model/policy.ts';

type Sets = {
  readonly source?: readonly PeerSet[];
  readonly destination?: readonly PeerSet[];
  readonly traffic?: readonly TrafficSet[];
};

/** Each list is one clause; none: everything. */
export function makeRule(action: Action, { source, destination, traffic }: Sets = {}): Rule {
  return {
    action,
    source: source === undefined ? [] : [{ anyOf: source }],
    destination: destination === undefined ? [] : [{ anyOf: destination }],
    traffic: traffic === undefined ? [] : [{ anyOf: traffic }],
    origin: { source: 'test', path: '' },
  };
}

/** Of everything, in tier `default`, last, isolating nothing. */
export function makePolicy(given: Partial<Policy>): Policy {
  return {
    kind: 'Policy',
    name: 'p',
    tier: 'default',
    order: Infinity,
    subjects: EVERYTHING,
    isolates: { ingress: false, egress: false },
    ingress: [],
    egress: [],
    host: 'local',
    origin: { source: 'test', path: '' },
    ...given,
  };
}
