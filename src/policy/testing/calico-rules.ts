/** Random rules of Calico's policies and profiles (fast-check), all of them right; see calico-manifests.ts. */
import fc from 'fast-check';
import { CIDRS, type Json, KEYS, oneOf, OUTSIDE, PORT_NAMES, PORTS, subset, VALUES } from './manifests.ts';
import { printSelector, writtenSelectors } from './selector-text.ts';

export const SETS = [...CIDRS.slice(1, 6), ...CIDRS.slice(7), ...OUTSIDE, '203.0.113.7', 'fd00::3'];

const MADE = ['namespace', 'orchestrator', 'serviceaccount'].map((name) => `projectcalico.org/${name}`);
export const OWN_KEYS = [...KEYS, ...MADE, 'pcns.app', 'pcsa.tier', 'pcns.projectcalico.org/name'];
export const OWN_VALUES = [...VALUES, 'one', 'two', 'k8s', 'x'];

/** Each field with a chance of one in `less` and one. */
export function sparse(shape: Record<string, fc.Arbitrary<unknown>>, less: number): fc.Arbitrary<Json> {
  const entries = Object.entries(shape).map(([key, value]) => [
    key,
    fc.oneof({ arbitrary: fc.constant(undefined), weight: less * 2 }, { arbitrary: value, weight: 2 }),
  ]);
  return fc
    .record(Object.fromEntries(entries) as Record<string, fc.Arbitrary<unknown>>)
    .map((made) => Object.fromEntries(Object.entries(made).filter(([, value]) => value !== undefined)));
}

export function selectorText(keys: readonly string[], values: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(writtenSelectors(keys, values), fc.array(fc.nat(6), { minLength: 1, maxLength: 8 }))
    .map(([written, style]) => printSelector(written, style))
    .filter((text) => text.length <= 1_024);
}

const own = selectorText(OWN_KEYS, OWN_VALUES);
const inherited = selectorText(['app', 'tier', 'projectcalico.org/name'], [...VALUES, 'one', 'two', 'x']);

const port = fc.oneof(
  oneOf<unknown>(PORTS),
  oneOf(['53:80', '80:81', '1:65535', '8080', '81:8080']),
  oneOf(PORT_NAMES),
);

type Family = 4 | 6;
type Kind = 'numbered' | 'named' | 'none';

function netsOf(family: Family): fc.Arbitrary<string[]> {
  const all = [...CIDRS, ...OUTSIDE].filter((cidr) => cidr.includes(':') === (family === 6));
  return subset(all, 1).map((nets) => nets.slice(0, 3));
}

const PORT_LISTS: Readonly<Record<Kind, fc.Arbitrary<unknown[]> | undefined>> = {
  numbered: fc.array(port, { minLength: 1, maxLength: 3 }),
  named: fc.array(oneOf(PORT_NAMES), { minLength: 1, maxLength: 2 }),
  none: undefined,
};

function entity(family: Family, kind: Kind): fc.Arbitrary<Json> {
  const nets = netsOf(family);
  const ports = PORT_LISTS[kind];
  const accounts = sparse({ names: subset(['default', 'x', 'y'], 1), selector: inherited }, 1);
  return sparse(
    {
      nets,
      notNets: nets.map((all) => all.filter((each) => !each.endsWith('/0'))),
      selector: own,
      notSelector: own,
      namespaceSelector: fc.oneof(oneOf(['all()', 'global()']), inherited),
      serviceAccounts: accounts,
      ...(ports === undefined ? {} : { ports, notPorts: ports }),
    },
    4,
  );
}

/** A service or names in place of all else. */
function special(namespaced: boolean, isOut: boolean, isAllow: boolean): fc.Arbitrary<Json> {
  const namespace = namespaced ? [undefined, 'one', 'two'] : ['one', 'two'];
  const services = oneOf(namespace).map((place): Json => ({
    services: place === undefined ? { name: 'svc' } : { name: 'svc', namespace: place },
  }));
  return isOut && isAllow ? fc.oneof(services, oneOf([{ domains: ['*.Example.org.'] }])) : services;
}

/** What a rule says of the protocol, and which ports it may then have. */
function traffic(family: Family): fc.Arbitrary<readonly [Json, Kind]> {
  const [name, number] = family === 4 ? ['ICMP', 1] : ['ICMPv6', 58];
  const icmp = oneOf<Json>([{}, { type: 8 }, { type: 128 }, { type: 8, code: 0 }, { type: 128, code: 1 }]);
  const notICMP = oneOf<Json>([{ type: 8 }, { type: 128, code: 0 }, { type: 3 }]);
  const all: readonly fc.Arbitrary<readonly [Json, Kind]>[] = [
    fc.constant([{}, 'named']),
    oneOf(['TCP', 'UDP', 'SCTP', 6, 17, '132']).map((protocol) => [{ protocol }, 'numbered']),
    oneOf(['TCP', 'TCP', 'UDP']).map((protocol) => [{ protocol }, 'numbered']),
    oneOf(['UDPLite', 47, 136]).map((protocol) => [{ protocol }, 'none']),
    oneOf(['TCP', 17, name]).map((notProtocol) => [{ notProtocol }, 'named']),
    fc
      .tuple(oneOf([name, number]), sparse({ icmp, notICMP }, 1))
      .map(([protocol, more]) => [{ protocol, ...more }, 'none']),
  ];
  return fc.oneof(...all);
}

export type RulesOf = (direction: 'ingress' | 'egress') => fc.Arbitrary<Json[]>;

/** Lists of rules of a policy with or without namespace, or of a profile, which passes nothing on. */
export function calicoRules(namespaced: boolean, inProfile = false): RulesOf {
  const actions = inProfile ? ['Allow', 'Deny', 'Log'] : ['Allow', 'Allow', 'Deny', 'Log', 'Pass'];
  return (direction) => {
    const remote = direction === 'ingress' ? 'source' : 'destination';
    const rule = fc
      .tuple(oneOf(actions), oneOf<Family>([4, 6]))
      .chain(([action, family]) =>
        traffic(family).chain(([said, kind]) =>
          fc
            .tuple(
              sparse(
                { ipVersion: fc.constant(family), metadata: fc.constant({ annotations: { a: 'b' } }) },
                5,
              ),
              sparse({ source: entity(family, kind), destination: entity(family, kind) }, 0.5),
              sparse({ [remote]: special(namespaced, direction === 'egress', action === 'Allow') }, 8),
            )
            .map(([more, ends, instead]): Json => ({ action, ...said, ...more, ...ends, ...instead })),
        ),
      );
    const bare = oneOf(actions).map((action): Json => ({ action }));
    const either = fc.oneof({ arbitrary: rule, weight: 6 }, { arbitrary: bare, weight: 1 });
    return fc.array(either, { maxLength: 4 });
  };
}
