/** policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy, experimental channel (apis/v1alpha2). */
import { z } from 'zod';
import {
  API_GROUP,
  checkEgressRule,
  clusterPolicy,
  type ClusterRule,
  egressPeer,
  podPeer,
  priority,
  rangeOf,
  readRange,
  ruleName,
} from './cluster-policy.ts';
import { defineFrontend } from './frontend.ts';
import { PROTOCOLS, type PortLine } from './ports.ts';
import { across, listOf, objectOf, oneOf, portName, portNumber } from '#model/manifest-shapes.ts';

const port = oneOf({
  number: portNumber.nullish(),
  range: rangeOf({ start: portNumber, end: portNumber }).nullish(),
});
/** With the port as its only field, an empty one would be a slip. */
const withPort = z.strictObject({ destinationPort: port }).nullish();
const protocol = oneOf({
  tcp: withPort,
  udp: withPort,
  sctp: withPort,
  destinationNamedPort: portName.nullish(),
});
type Protocol = z.output<typeof protocol>;

const common = {
  name: ruleName,
  action: z.enum(['Accept', 'Deny', 'Pass']),
  protocols: listOf(protocol, 1, 25).nullish(),
};
const ingressRule = z.strictObject({ ...common, from: listOf(podPeer, 1, 25) });
const egressRule = across(
  z.strictObject({ ...common, to: listOf(egressPeer, 1, 25) }),
  checkEgressRule('protocols', 'destinationNamedPort'),
);

const spec = z.strictObject({
  tier: z.enum(['Admin', 'Baseline']),
  priority,
  subject: podPeer,
  ingress: listOf(ingressRule, 0, 25).nullish(),
  egress: listOf(egressRule, 0, 25).nullish(),
});

const HEAD = { apiVersion: `${API_GROUP}/v1alpha2`, kind: 'ClusterNetworkPolicy', namespaced: false };

export const clusterNetworkPolicy = defineFrontend(HEAD, {
  schema: objectOf(HEAD, spec),
  translate: ({ metadata: { name }, spec }, context) => ({
    policies: [
      clusterPolicy(
        {
          kind: HEAD.kind,
          name,
          tier: spec.tier === 'Admin' ? 'kube-admin' : 'kube-baseline',
          order: spec.priority,
          subject: spec.subject,
          ingress: (spec.ingress ?? []).map(({ from, ...rule }) => readRule(rule, from)),
          egress: (spec.egress ?? []).map(({ to, ...rule }) => readRule(rule, to)),
        },
        context,
      ),
    ],
  }),
});

type CommonRule = Omit<z.output<typeof ingressRule>, 'from'>;

function readRule({ name, action, protocols }: CommonRule, peers: ClusterRule['peers']): ClusterRule {
  return { name, action, peers, ports: (protocols ?? []).map(portLine) };
}

function portLine({ tcp, udp, sctp, destinationNamedPort }: Protocol): PortLine {
  const named = { TCP: tcp, UDP: udp, SCTP: sctp };
  for (const name of ['TCP', 'UDP', 'SCTP'] as const) {
    const port = named[name]?.destinationPort;
    if (port !== undefined) return { protocol: PROTOCOLS[name], range: readRange(port.number, port.range) };
  }
  return { name: destinationNamedPort ?? '' };
}
