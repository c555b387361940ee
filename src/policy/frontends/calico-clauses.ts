/** Calico's rules in the language of #model/policy.ts. Equal rules are equal values. */
import type { Action, Clause, Direction, End, PeerSet, Rule, Selector, TrafficSet } from '#model/policy.ts';
import { PROTOCOL } from '#model/policy.ts';
import type { Prefix } from '#net/prefix.ts';
import { join } from './calico-labels.ts';
import type { CalicoRule, Entity, Icmp } from './calico-rule.ts';
import type { Port } from './calico-shapes.ts';
import { canonicalName } from './cluster-policy.ts';
import type { Context } from './frontend.ts';
import { portSets } from './ports.ts';
import { factIs } from './selectors.ts';

const ACTIONS: Readonly<Record<CalicoRule['action'], Action>> = {
  Allow: 'allow',
  Deny: 'deny',
  Log: 'log',
  Pass: 'pass',
};

/** `namespace`: that of the policy, if it has one: its selectors then see no other, unless they say so. */
export function translateRules(
  rules: readonly CalicoRule[] | null | undefined,
  direction: Direction,
  namespace: string | undefined,
  context: Context,
): Rule[] {
  return (rules ?? []).map((rule, index) => ({
    action: ACTIONS[rule.action],
    source: peerClauses(rule.source, namespace),
    destination: peerClauses(rule.destination, namespace),
    traffic: trafficClauses(rule),
    ...ruleName(rule),
    origin: context.origin(['spec', direction, index]),
  }));
}

/** Annotations are what authors say of a rule. */
function ruleName({ metadata }: CalicoRule): Pick<Rule, 'name'> {
  const notes = Object.entries(metadata?.annotations ?? {}).map(([key, value]) => `${key}=${value}`);
  return notes.length === 0 ? {} : { name: notes.join(', ') };
}

type Maybe<T> = T | null | undefined;

function clause<S>(sets: readonly S[], not = false): Clause<S>[] {
  if (sets.length === 0) return [];
  return [not ? { anyOf: sets, not: true } : { anyOf: sets }];
}

function peerClauses(entity: Maybe<Entity>, namespace: string | undefined): Clause<PeerSet>[] {
  if (!entity) return [];
  const { nets, notNets, notSelector, services, domains } = entity;
  return [
    ...clause(prefixSets(nets)),
    ...clause(prefixSets(notNets), true),
    ...clause(endpointSets(peerSelector(entity, namespace))),
    ...clause(endpointSets(notSelector), true),
    ...clause<PeerSet>(
      services
        ? [{ kind: 'service', namespace: services.namespace ?? namespace ?? '', name: services.name }]
        : [],
    ),
    ...clause(nameSets(domains)),
  ];
}

function prefixSets(nets: Maybe<readonly Prefix[]>): PeerSet[] {
  const prefixes = [...new Set(nets)].sort();
  return prefixes.length === 0 ? [] : [{ kind: 'prefixes', prefixes, except: [] }];
}

function endpointSets(selector: Maybe<Selector>): PeerSet[] {
  return selector ? [{ kind: 'endpoints', selector }] : [];
}

function nameSets(domains: Maybe<readonly string[]>): PeerSet[] {
  const names = [...new Set((domains ?? []).map(canonicalName))].sort();
  return names.length === 0 ? [] : [{ kind: 'names', names }];
}

/**
 * Whatever selects endpoints in a policy of a namespace, be it by exclusion, selects them there only, if there is no
 * namespaceSelector; what is excluded is excluded everywhere.
 */
function peerSelector(entity: Entity, namespace: string | undefined): Selector | undefined {
  const { selector, notSelector, namespaceSelector, serviceAccounts } = entity;
  const chosen = [selector, ...accountSelectors(serviceAccounts)].filter((each) => !!each);
  if (namespaceSelector) return join('and', [namespaceSelector, ...chosen]);
  if (chosen.length === 0 && !notSelector) return undefined;
  const own = namespace === undefined ? [] : [factIs('namespace', namespace)];
  return own.length + chosen.length === 0 ? undefined : join('and', [...own, ...chosen]);
}

function accountSelectors(accounts: Entity['serviceAccounts']): Selector[] {
  const names = [...new Set(accounts?.names)].sort();
  return [
    ...(names.length === 0 ? [] : [factIs('account', ...names)]),
    ...(accounts?.selector ? [accounts.selector] : []),
  ];
}

/** Ports that a rule asks for by protocol say the protocol with them. */
function trafficClauses(rule: CalicoRule): Clause<TrafficSet>[] {
  const { ipVersion, protocol, notProtocol, icmp, notICMP } = rule;
  const ports = (['source', 'destination'] as const).map((end) =>
    clause(portTraffic(rule[end]?.ports, end, protocol)),
  );
  const notPorts = (['source', 'destination'] as const).map((end) =>
    clause(portTraffic(rule[end]?.notPorts, end, protocol), true),
  );
  const isSaid = ports.flat().length > 0 || icmpTraffic(icmp, protocol).length > 0;
  return [
    ...clause<TrafficSet>(ipVersion === 4 || ipVersion === 6 ? [{ kind: 'family', family: ipVersion }] : []),
    ...(isSaid ? [] : clause(protocolSets(protocol))),
    ...clause(protocolSets(notProtocol), true),
    ...clause(icmpTraffic(icmp, protocol)),
    ...clause(icmpTraffic(notICMP, protocol), true),
    ...ports.flat(),
    ...notPorts.flat(),
  ];
}

function protocolSets(protocol: Maybe<number>): TrafficSet[] {
  return protocol ? [{ kind: 'protocol', protocol }] : [];
}

/** Without type, all of the protocol, which stands for itself. */
function icmpTraffic(icmp: Maybe<Icmp>, protocol: Maybe<number>): TrafficSet[] {
  const { type, code } = icmp ?? {};
  if (typeof type !== 'number') return [];
  const family = protocol === PROTOCOL.icmp ? 4 : 6;
  return [{ kind: 'icmp', family, type, ...(typeof code === 'number' ? { code } : {}) }];
}

function portTraffic(ports: Maybe<readonly Port[]>, end: End, protocol: Maybe<number>): TrafficSet[] {
  return portSets(
    (ports ?? []).map((each) => (protocol ? { protocol, ...each } : each)),
    end,
  );
}
