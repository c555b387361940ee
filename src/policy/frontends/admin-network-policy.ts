/**
 * policy.networking.k8s.io/v1alpha1 AdminNetworkPolicy and BaselineAdminNetworkPolicy, experimental channel
 * (apis/v1alpha1): what ClusterNetworkPolicy was before. They share its tiers.
 */
import { z } from 'zod';
import {
  API_GROUP,
  checkEgressRule,
  clusterPolicy,
  type ClusterRule,
  namelessPeer,
  olderEgressPeer,
  olderPodPeer,
  type Peer,
  priority,
  rangeOf,
  readRange,
  ruleName,
} from './cluster-policy.ts';
import { defineFrontend } from './frontend.ts';
import { PROTOCOLS, type PortLine } from './ports.ts';
import { across, isFields, listOf, objectOf, oneOf, portName, portNumber } from '#model/manifest-shapes.ts';

const protocol = z.enum(['TCP', 'UDP', 'SCTP']).nullish();
const port = oneOf({
  portNumber: z.strictObject({ protocol, port: portNumber }).nullish(),
  portRange: rangeOf({ protocol, start: portNumber, end: portNumber }).nullish(),
  namedPort: portName.nullish(),
});
type Port = z.output<typeof port>;

const ports = listOf(port, 1, 100).nullish();

/** Rules with these actions, whose egress peers may be these. */
function rulesOf<A extends 'Allow' | 'Deny' | 'Pass'>(actions: readonly A[], peer: z.ZodType<Peer>) {
  const common = { name: ruleName, action: z.enum(actions), ports };
  const ingress = z.strictObject({ ...common, from: listOf(olderPodPeer, 1, 100) });
  const egress = across(
    z.strictObject({ ...common, to: listOf(peer, 1, 100) }),
    checkEgressRule('ports', 'namedPort'),
  );
  return { ingress: listOf(ingress, 0, 100).nullish(), egress: listOf(egress, 0, 100).nullish() };
}

const ADMIN = { apiVersion: `${API_GROUP}/v1alpha1`, kind: 'AdminNetworkPolicy', namespaced: false };
const admin = z.strictObject({
  priority,
  subject: olderPodPeer,
  ...rulesOf(['Allow', 'Deny', 'Pass'], olderEgressPeer),
});

export const adminNetworkPolicy = defineFrontend(ADMIN, {
  schema: objectOf(ADMIN, admin),
  translate: ({ metadata: { name }, spec }, context) => ({
    policies: [
      clusterPolicy(
        {
          kind: ADMIN.kind,
          name,
          tier: 'kube-admin',
          order: spec.priority,
          subject: spec.subject,
          ...readRules(spec),
        },
        context,
      ),
    ],
  }),
});

const BASELINE = {
  apiVersion: `${API_GROUP}/v1alpha1`,
  kind: 'BaselineAdminNetworkPolicy',
  namespaced: false,
};
const baseline = z.strictObject({ subject: olderPodPeer, ...rulesOf(['Allow', 'Deny'], namelessPeer) });

/** It has no priority and comes after every ClusterNetworkPolicy of tier Baseline. */
export const baselineAdminNetworkPolicy = defineFrontend(BASELINE, {
  schema: objectOf(BASELINE, baseline),
  inspect: ({ metadata }, { refuse }) => {
    const isDefault = isFields(metadata) && metadata['name'] === 'default';
    if (!isDefault) refuse(['metadata', 'name'], 'must be default: there is only one');
  },
  translate: ({ metadata: { name }, spec }, context) => ({
    policies: [
      clusterPolicy(
        {
          kind: BASELINE.kind,
          name,
          tier: 'kube-baseline',
          order: Infinity,
          subject: spec.subject,
          ...readRules(spec),
        },
        context,
      ),
    ],
  }),
});

type Rules = Pick<z.output<typeof admin>, 'ingress' | 'egress'>;

function readRules({ ingress, egress }: Rules): Record<'ingress' | 'egress', ClusterRule[]> {
  return {
    ingress: (ingress ?? []).map(({ name, action, from, ports }) => readRule({ name, action }, from, ports)),
    egress: (egress ?? []).map(({ name, action, to, ports }) => readRule({ name, action }, to, ports)),
  };
}

function readRule(
  head: Pick<ClusterRule, 'name' | 'action'>,
  peers: ClusterRule['peers'],
  ports: readonly Port[] | null | undefined,
): ClusterRule {
  return { ...head, peers, ports: (ports ?? []).map(portLine) };
}

function portLine({ portNumber, portRange, namedPort }: Port): PortLine {
  const either = portNumber ?? portRange;
  if (!either) return { name: namedPort ?? '' };
  return { protocol: PROTOCOLS[either.protocol ?? 'TCP'], range: readRange(portNumber?.port, portRange) };
}
