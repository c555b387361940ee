/**
 * What Calico's policies are about, in objects of their own: Tier, Profile, HostEndpoint, NetworkSet, GlobalNetworkSet
 * (api/pkg/apis/projectcalico/v3).
 */
import { z } from 'zod';
import type { Tier } from '#model/policy.ts';
import type { NetworkSet } from '#model/workload.ts';
import { parseAddress, type Address } from '#net/address.ts';
import { BUILT_IN_TIERS } from '../book.ts';
import { translateRules } from './calico-clauses.ts';
import { type CalicoObject, defineCalico } from './calico-kind.ts';
import { inspectGlobal } from './calico-policy.ts';
import { objectName, rulesOf } from './calico-rule.ts';
import { net, portName, protocol, readProtocol, WITH_PORTS } from './calico-shapes.ts';
import type { Context, Frontend } from './frontend.ts';
import { across, dnsLabel, type Fields, isFields, isThere, portNumber } from '#model/manifest-shapes.ts';

const tierSpec = z
  .strictObject({
    order: z.number('must be a number').nullish(),
    defaultAction: z.enum(['Deny', 'Pass']).nullish(),
  })
  .nullish();

/** Tiers that are built in stay what they are, so that no order of objects makes a hole. */
function inspectTier({ metadata, spec }: Fields, { refuse }: Context): void {
  const name = isFields(metadata) ? metadata['name'] : undefined;
  if (typeof name === 'string' && !dnsLabel.safeParse(name).success)
    refuse(['metadata', 'name'], 'must be a DNS label in lower case: names of policies begin with it');
  const builtIn = BUILT_IN_TIERS.find((tier) => tier.name === name);
  if (builtIn === undefined) return;
  const { order, defaultAction } = isFields(spec) ? spec : {};
  if (order !== builtIn.order) refuse(['spec', 'order'], `must be ${builtIn.order} in tier ${builtIn.name}`);
  if ((defaultAction ?? 'Deny') !== capitalise(builtIn.defaultAction))
    refuse(['spec', 'defaultAction'], `must be ${capitalise(builtIn.defaultAction)} in tier ${builtIn.name}`);
}

function capitalise(action: Tier['defaultAction']): string {
  return action === 'deny' ? 'Deny' : 'Pass';
}

const tiers = defineCalico({ kind: 'Tier', namespaced: false }, tierSpec, {
  inspect: inspectTier,
  translate: ({ name, spec }) => ({
    tiers: [
      {
        name,
        order: spec?.order ?? Infinity,
        defaultAction: spec?.defaultAction === 'Pass' ? 'pass' : 'deny',
      },
    ],
  }),
});

const profileSpec = z.strictObject({
  ingress: rulesOf({ direction: 'ingress', inProfile: true }),
  egress: rulesOf({ direction: 'egress', inProfile: true }),
  labelsToApply: z
    .record(z.string(), z.string('must be text; numbers, true and false need quotes'))
    .nullish(),
});

const profiles = defineCalico({ kind: 'Profile', namespaced: false }, profileSpec, {
  inspect: inspectGlobal,
  translate: ({ name, spec }, context) => ({
    profiles: [
      {
        name,
        ...(isThere(spec.labelsToApply) ? { labels: spec.labelsToApply ?? {} } : {}),
        ingress: translateRules(spec.ingress, 'ingress', undefined, context),
        egress: translateRules(spec.egress, 'egress', undefined, context),
      },
    ],
  }),
});

const setSpec = z
  .strictObject({
    nets: z.array(net).nullish(),
    /** Of Calico Enterprise: names whose addresses belong to the set. */
    allowedEgressDomains: z.array(z.string()).nullish(),
  })
  .nullish();
type SetSpec = z.output<typeof setSpec>;

function inspectSet({ spec }: Fields, { refuse }: Context): void {
  if (isFields(spec) && isThere(spec['allowedEgressDomains']))
    refuse(['spec', 'allowedEgressDomains'], 'is not enforced: name domains in the rule');
}

function networkSet({ name, labels, spec }: CalicoObject<SetSpec>, namespace?: string): NetworkSet {
  const inside = namespace === undefined ? {} : { namespace };
  return { kind: 'network-set', ...inside, name, labels, prefixes: [...new Set(spec?.nets)].sort() };
}

const networkSets = defineCalico({ kind: 'NetworkSet', namespaced: true }, setSpec, {
  inspect: inspectSet,
  translate: (object) => ({ endpoints: [networkSet(object, object.namespace)] }),
});

const globalNetworkSets = defineCalico({ kind: 'GlobalNetworkSet', namespaced: false }, setSpec, {
  inspect: inspectSet,
  translate: (object) => ({ endpoints: [networkSet(object)] }),
});

const ipAddress = z.string().transform((text, context): Address => {
  const found = parseAddress(text);
  if (found !== undefined) return found;
  context.addIssue({ code: 'custom', message: `must be an IP address, not ${JSON.stringify(text)}` });
  return z.NEVER;
});

const endpointPort = across(
  z.strictObject({ name: portName, protocol, port: portNumber }),
  ({ protocol }, say) => {
    const number = readProtocol(protocol);
    if (number !== undefined && !WITH_PORTS.has(number)) say(['protocol'], 'must be TCP, UDP or SCTP');
  },
);

const hostSpec = across(
  z.strictObject({
    node: objectName,
    interfaceName: z
      .string()
      .regex(/^(?:\*|[A-Za-z0-9_.-]{1,15})?$/, 'must be the name of an interface, or *')
      .nullish(),
    expectedIPs: z.array(ipAddress).nullish(),
    profiles: z.array(objectName).nullish(),
    ports: z.array(endpointPort).nullish(),
  }),
  ({ interfaceName, expectedIPs }, say) => {
    const hasAddresses = Array.isArray(expectedIPs) && expectedIPs.length > 0;
    if (!isThere(interfaceName) || interfaceName === '') {
      if (!hasAddresses) say([], 'must have interfaceName or expectedIPs');
    }
  },
);

const hostEndpoints = defineCalico({ kind: 'HostEndpoint', namespaced: false }, hostSpec, {
  translate: ({ name, labels, spec }) => ({
    endpoints: [
      {
        kind: 'host',
        name,
        labels,
        node: spec.node,
        interface: spec.interfaceName ?? '',
        addresses: [...new Set(spec.expectedIPs)],
        ports: spec.ports ?? [],
        profiles: [...new Set(spec.profiles)],
      },
    ],
  }),
});

export const calicoObjects: readonly Frontend[] = [
  ...tiers,
  ...profiles,
  ...networkSets,
  ...globalNetworkSets,
  ...hostEndpoints,
];
