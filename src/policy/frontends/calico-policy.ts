/**
 * NetworkPolicy and GlobalNetworkPolicy of Calico (api/pkg/apis/projectcalico/v3), and what previews them:
 * StagedNetworkPolicy, StagedGlobalNetworkPolicy, StagedKubernetesNetworkPolicy. The first rule that matches decides; what
 * none decides, on an endpoint that a policy of the tier selects for the direction, meets the tier's default action.
 */
import { z } from 'zod';
import { type Direction, DIRECTIONS, type HostScope, type Policy, type Selector } from '#model/policy.ts';
import { translateRules } from './calico-clauses.ts';
import { defineCalico } from './calico-kind.ts';
import { join } from './calico-labels.ts';
import { rulesOf } from './calico-rule.ts';
import { selectorOf } from './calico-shapes.ts';
import type { Context, Frontend } from './frontend.ts';
import type { Path } from '#model/manifest.ts';
import { specFields as kubernetesFields, translatePolicy } from './network-policy.ts';
import { factIs } from './selectors.ts';
import { across, dnsLabel, type Fields, isFields, isThere, type Say } from '#model/manifest-shapes.ts';

const common = {
  tier: dnsLabel.nullish(),
  order: z.number('must be a number').nullish(),
  selector: selectorOf('own').nullish(),
  serviceAccountSelector: selectorOf('account').nullish(),
  types: z
    .array(z.enum(['Ingress', 'Egress']))
    .max(2, 'must have at most 2 entries')
    .refine((types) => new Set(types).size === types.length, 'must not have the same entry twice')
    .nullish(),
  ingress: rulesOf({ direction: 'ingress' }),
  egress: rulesOf({ direction: 'egress' }),
  performanceHints: z.array(z.enum(['AssumeNeededOnEveryNode'])).nullish(),
};
const global = {
  ...common,
  namespaceSelector: selectorOf('namespace').nullish(),
  doNotTrack: z.boolean().nullish(),
  preDNAT: z.boolean().nullish(),
  applyOnForward: z.boolean().nullish(),
};
const stagedAction = z.enum(['Set', 'Delete', 'Learn', 'Ignore']).nullish();

const ownSpec = z.strictObject(common);
const globalSpec = across(z.strictObject(global), checkScopes);
const stagedOwnSpec = across(z.strictObject({ stagedAction, ...common }), checkDeletion);
const stagedGlobalSpec = across(z.strictObject({ stagedAction, ...global }), (spec, say) => {
  checkScopes(spec, say);
  checkDeletion(spec, say);
});
const stagedKubernetesSpec = across(z.strictObject({ stagedAction, ...kubernetesFields }), checkDeletion);
type Spec = z.output<typeof ownSpec> & Partial<z.output<typeof globalSpec>>;

function checkScopes(spec: Fields, say: Say): void {
  const { doNotTrack, preDNAT, applyOnForward, egress, types } = spec;
  for (const name of ['doNotTrack', 'preDNAT']) {
    if (spec[name] === true && applyOnForward !== true) say([name], 'must come with applyOnForward: true');
  }
  if (preDNAT !== true) return;
  if (doNotTrack === true) say(['preDNAT'], 'must not be true beside doNotTrack');
  if (Array.isArray(egress) && egress.length > 0) say(['egress'], 'must not be there with preDNAT');
  if (Array.isArray(types) && types.includes('Egress'))
    say(['types'], 'must not have Egress with preDNAT: only what comes in has its address rewritten');
}

/** What is to be removed has its name and tier, and no more. */
function checkDeletion(spec: Fields, say: Say): void {
  if (spec['stagedAction'] !== 'Delete') return;
  for (const [name, value] of Object.entries(spec)) {
    if (['stagedAction', 'tier'].includes(name) || !isThere(value)) continue;
    say([name], 'must not be there when stagedAction is Delete');
  }
}

/** Services of objects that have no namespace need one of their own. */
export function inspectGlobal({ spec }: Fields, { refuse }: Context): void {
  for (const { path, entity } of entitiesOf(isFields(spec) ? spec : {})) {
    const { services } = entity;
    if (isFields(services) && !isThere(services['namespace']))
      refuse([...path, 'services', 'namespace'], 'is missing, and the object has none itself');
  }
}

function entitiesOf(spec: Fields): { readonly path: Path; readonly entity: Fields }[] {
  const rules = DIRECTIONS.flatMap((direction) => {
    const list = spec[direction];
    return (Array.isArray(list) ? list : []).map((rule: unknown, index) => ({
      path: ['spec', direction, index],
      rule: isFields(rule) ? rule : {},
    }));
  });
  return rules.flatMap(({ path, rule }) =>
    ['source', 'destination'].flatMap((end) => {
      const entity = rule[end];
      return isFields(entity) ? [{ path: [...path, end], entity }] : [];
    }),
  );
}

const OWN = { kind: 'NetworkPolicy', title: 'CalicoNetworkPolicy', namespaced: true };
const GLOBAL = { kind: 'GlobalNetworkPolicy', namespaced: false };

type Staged = 'Set' | 'Delete' | 'Learn' | 'Ignore' | null | undefined;

/** The policy as it is previewed: set, removed, or not at all. */
function stage(policy: Policy, action: Staged, context: Context): { policies: Policy[] } {
  if (action === 'Learn' || action === 'Ignore') {
    context.warn(['spec', 'stagedAction'], `${action} is not previewed`);
    return { policies: [] };
  }
  return { policies: [{ ...policy, staged: action === 'Delete' ? 'delete' : 'set' }] };
}

export const calicoPolicies: readonly Frontend[] = [
  ...defineCalico(OWN, ownSpec, {
    translate: ({ name, namespace, spec }, context) => ({
      policies: [policyOf(OWN.title, { name, namespace }, spec, context)],
    }),
  }),
  ...defineCalico(GLOBAL, globalSpec, {
    inspect: inspectGlobal,
    translate: ({ name, spec }, context) => ({
      policies: [policyOf(GLOBAL.kind, { name }, spec, context)],
    }),
  }),
  ...defineCalico({ kind: 'StagedNetworkPolicy', namespaced: true }, stagedOwnSpec, {
    translate: ({ name, namespace, spec }, context) =>
      stage(policyOf(OWN.title, { name, namespace }, spec, context), spec.stagedAction, context),
  }),
  ...defineCalico({ kind: 'StagedGlobalNetworkPolicy', namespaced: false }, stagedGlobalSpec, {
    inspect: inspectGlobal,
    translate: ({ name, spec }, context) =>
      stage(policyOf(GLOBAL.kind, { name }, spec, context), spec.stagedAction, context),
  }),
  ...defineCalico({ kind: 'StagedKubernetesNetworkPolicy', namespaced: true }, stagedKubernetesSpec, {
    translate: ({ name, namespace, spec }, context) =>
      stage(translatePolicy(namespace, name, spec, context), spec.stagedAction, context),
  }),
];

type Place = { readonly name: string; readonly namespace?: string };

function policyOf(kind: string, { name, namespace }: Place, spec: Spec, context: Context): Policy {
  const isolates = isolatedDirections(spec);
  const rules = (direction: Direction) =>
    isolates[direction] ? translateRules(spec[direction], direction, namespace, context) : [];
  for (const direction of DIRECTIONS) {
    if (!isolates[direction] && (spec[direction] ?? []).length > 0)
      context.warn(['spec', direction], 'has no effect: types does not name this direction');
  }
  return {
    kind,
    name: namespace === undefined ? name : `${namespace}/${name}`,
    tier: spec.tier ?? 'default',
    order: spec.order ?? Infinity,
    subjects: subjectsOf(spec, namespace),
    isolates,
    ingress: rules('ingress'),
    egress: rules('egress'),
    host: hostScope(spec),
    origin: context.origin([]),
  };
}

/** Missing or empty: those that have rules; ingress if none has. */
function isolatedDirections({ types, ingress, egress }: Spec): Record<Direction, boolean> {
  if (types && types.length > 0)
    return { ingress: types.includes('Ingress'), egress: types.includes('Egress') };
  const isOut = (egress ?? []).length > 0;
  return { ingress: !isOut || (ingress ?? []).length > 0, egress: isOut };
}

function subjectsOf(spec: Spec, namespace: string | undefined): Selector {
  const { selector, namespaceSelector, serviceAccountSelector } = spec;
  const own = namespace === undefined ? [] : [factIs('kind', 'pod'), factIs('namespace', namespace)];
  return join(
    'and',
    [...own, selector, namespaceSelector, serviceAccountSelector].filter((each) => !!each),
  );
}

function hostScope({ doNotTrack, preDNAT, applyOnForward }: Spec): HostScope {
  if (doNotTrack === true) return 'untracked';
  if (preDNAT === true) return 'pre-dnat';
  return applyOnForward === true ? 'forward' : 'local';
}
