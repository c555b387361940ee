/**
 * Random manifests of every Calico kind, worlds and flows for them (fast-check), all of them right. As in manifests.ts
 * they are drawn from little, so that they meet each other often.
 */
import fc from 'fast-check';
import { type Json, labels, NAMESPACES, oneOf, PORTS } from './manifests.ts';
import {
  calicoRules,
  OWN_KEYS,
  OWN_VALUES,
  type RulesOf,
  selectorText,
  SETS,
  sparse,
} from './calico-rules.ts';

const TIERS = ['default', 'default', 'early', 'late', 'kube-admin'];

const subjects = fc.oneof(
  { arbitrary: fc.constantFrom('', 'all()'), weight: 2 },
  { arbitrary: selectorText(OWN_KEYS, OWN_VALUES), weight: 3 },
);
const inherited = selectorText(['app', 'tier', 'projectcalico.org/name'], ['a', 'b', 'one', 'two', 'x', '']);

/** Of the directions that have rules, or without any. */
const types = oneOf([undefined, undefined, ['Ingress'], ['Egress'], ['Ingress', 'Egress'], []]);

function metadata(
  name: string,
  namespaced: boolean,
  own: fc.Arbitrary<Json> = fc.constant({}),
): fc.Arbitrary<Json> {
  if (!namespaced) return own.map((labels) => ({ name, labels }));
  return fc.tuple(oneOf(NAMESPACES), own).map(([namespace, labels]) => ({ name, namespace, labels }));
}

const GROUPS = ['projectcalico.org/v3', 'crd.projectcalico.org/v1'];

function object(kind: string, meta: fc.Arbitrary<Json>, spec: fc.Arbitrary<Json>): fc.Arbitrary<Json> {
  return fc.record({ apiVersion: oneOf(GROUPS), kind: fc.constant(kind), metadata: meta, spec });
}

const head = (rules: RulesOf): Record<string, fc.Arbitrary<unknown>> => ({
  tier: oneOf(TIERS),
  order: oneOf([1, 2, 2.5, null, undefined]),
  types,
  ingress: rules('ingress'),
  egress: rules('egress'),
});

function compact(made: Record<string, unknown>): Json {
  return Object.fromEntries(Object.entries(made).filter(([, value]) => value !== undefined));
}

const ownSpec: fc.Arbitrary<Json> = fc
  .tuple(
    fc.record({ selector: subjects, ...head(calicoRules(true)) }),
    sparse({ serviceAccountSelector: inherited }, 5),
  )
  .map(([spec, more]) => compact({ ...spec, ...more }));

const FLAGS: readonly Json[] = [
  {},
  { applyOnForward: true },
  { applyOnForward: true, doNotTrack: true },
  { applyOnForward: true, preDNAT: true },
  { applyOnForward: true, preDNAT: true },
];

const globalSpec: fc.Arbitrary<Json> = fc
  .tuple(
    fc.record({ selector: subjects, ...head(calicoRules(false)) }),
    sparse({ serviceAccountSelector: inherited, namespaceSelector: inherited }, 5),
    oneOf(FLAGS),
  )
  .map(([spec, more, flags]) => {
    const early = flags['preDNAT'] === true ? { egress: undefined, types: ['Ingress'] } : {};
    return compact({ ...spec, ...more, ...flags, ...early });
  });

export function calicoPolicies(name: string): fc.Arbitrary<Json> {
  return fc.oneof(
    object('NetworkPolicy', metadata(name, true), ownSpec),
    object('GlobalNetworkPolicy', metadata(name, false), globalSpec),
  );
}

/** Of a policy that may be there under the same name. */
export function stagedPolicies(name: string): fc.Arbitrary<Json> {
  const staged = (spec: fc.Arbitrary<Json>): fc.Arbitrary<Json> =>
    fc.oneof(
      { arbitrary: spec, weight: 2 },
      { arbitrary: spec.map((made): Json => ({ ...made, stagedAction: 'Set' })), weight: 2 },
      {
        arbitrary: oneOf<Json>([{ stagedAction: 'Delete' }, { stagedAction: 'Delete', tier: 'default' }]),
        weight: 2,
      },
      { arbitrary: spec.map((made): Json => ({ ...made, stagedAction: 'Ignore' })), weight: 1 },
    );
  return fc.oneof(
    object('StagedNetworkPolicy', metadata(name, true), staged(ownSpec)),
    object('StagedGlobalNetworkPolicy', metadata(name, false), staged(globalSpec)),
  );
}

function tier(name: string, order: number | undefined): fc.Arbitrary<Json> {
  const spec = oneOf<Json>([{ defaultAction: 'Pass' }, { defaultAction: 'Deny' }, {}]).map((made) =>
    compact({ order, ...made }),
  );
  return object('Tier', metadata(name, false), spec);
}

const profileRules = calicoRules(false, true);

function profile(name: string): fc.Arbitrary<Json> {
  const spec = sparse(
    { ingress: profileRules('ingress'), egress: profileRules('egress'), labelsToApply: labels },
    1,
  );
  return object('Profile', metadata(name, false), spec);
}

const set = fc.subarray([...SETS], { maxLength: 3 }).map((nets): Json => ({ nets }));

export const PROFILE_LISTS: readonly string[][] = [
  [],
  ['one'],
  ['two', 'one'],
  ['gone'],
  ['projectcalico-default-allow'],
  ['one', 'gone'],
];

function host(name: string, interfaceName: string): fc.Arbitrary<Json> {
  const spec = fc.record({
    node: fc.constant('a'),
    interfaceName: fc.constant(interfaceName),
    expectedIPs: oneOf([['192.0.2.1', '2001:db8::1'], []]),
    profiles: oneOf(PROFILE_LISTS),
    ports: oneOf([
      [],
      [{ name: 'web', protocol: 'TCP', port: 80 }],
      [{ name: 'dns', protocol: 'UDP', port: PORTS[0] }],
    ]),
  });
  return object('HostEndpoint', metadata(name, false, labels), spec);
}

const maybe = (made: fc.Arbitrary<Json>): fc.Arbitrary<Json[]> => fc.array(made, { maxLength: 1 });

/** What policies are about. The tiers are always there. */
export const calicoThings: fc.Arbitrary<Json[]> = fc
  .tuple(
    fc.tuple(tier('early', 5), tier('late', undefined)),
    maybe(profile('one')),
    maybe(profile('two')),
    maybe(object('NetworkSet', metadata('s1', true, labels), set)),
    maybe(object('GlobalNetworkSet', metadata('s1', false, labels), set)),
    fc.array(host('named', 'eth0'), { minLength: 1, maxLength: 1 }),
    maybe(host('all', '*')),
  )
  .map((kinds) => kinds.flat());

/** Up to five policies and two that are staged, some of them under the name of one of the others. */
export const calicoSets: fc.Arbitrary<Json[]> = fc
  .tuple(
    fc.nat(5).chain((count) => fc.tuple(...Array.from({ length: count }, (_, n) => calicoPolicies(`p${n}`)))),
    maybe(stagedPolicies('p0')),
    maybe(stagedPolicies('p1')),
  )
  .map(([policies, ...staged]) => [...policies, ...staged.flat()]);
