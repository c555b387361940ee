/**
 * networking.k8s.io/v1 NetworkPolicy (kubernetes/api networking/v1/types.go). Its rules only allow; a pod that any of
 * them selects for a direction is isolated there, which is the default action of tier `default`. Kubernetes promises that
 * a pod always reaches its own node, so each policy that isolates egress carries that as a last rule.
 */
import { z } from 'zod';
import type { Clause, Direction, PeerSet, Policy, Rule } from '#model/policy.ts';
import { contains, prefixLength, type Prefix } from '#net/prefix.ts';
import { type Context, defineFrontend } from './frontend.ts';
import { destinationPorts, PROTOCOLS, type PortLine } from './ports.ts';
import { factIs, fromLabelSelector, podsOf } from './selectors.ts';
import {
  across,
  cidr,
  isThere,
  labelSelector,
  objectOf,
  portName,
  portNumber,
} from '#model/manifest-shapes.ts';

/** Calico's order for them within tier `default`. */
const ORDER = 1_000;

const ipBlock = across(z.strictObject({ cidr, except: z.array(cidr).nullish() }), (block, say) => {
  const [outer, ...inner] = [block['cidr'], ...(Array.isArray(block['except']) ? block['except'] : [])].map(
    (text) => cidr.safeParse(text).data,
  );
  for (const [index, each] of inner.entries()) {
    if (outer === undefined || each === undefined || isInside(outer, each)) continue;
    say(['except', index], `must be a part of ${outer}, and not all of it`);
  }
});

function isInside(outer: Prefix, inner: Prefix): boolean {
  return contains(outer, inner) && prefixLength(inner) > prefixLength(outer);
}

const peer = across(
  z.strictObject({
    podSelector: labelSelector.nullish(),
    namespaceSelector: labelSelector.nullish(),
    ipBlock: ipBlock.nullish(),
  }),
  (fields, say) => {
    const selects = isThere(fields['podSelector']) || isThere(fields['namespaceSelector']);
    if (isThere(fields['ipBlock']) && selects) say(['ipBlock'], 'must stand alone, without selectors');
    if (!isThere(fields['ipBlock']) && !selects)
      say([], 'must have podSelector, namespaceSelector or ipBlock');
  },
);
type Peer = z.output<typeof peer>;

const port = across(
  z.strictObject({
    protocol: z.enum(['TCP', 'UDP', 'SCTP']).nullish(),
    port: z
      .unknown()
      .superRefine((value, context) => {
        const wanted = typeof value === 'string' ? portName : portNumber;
        const problem = isThere(value) ? wanted.safeParse(value).error?.issues[0] : undefined;
        if (problem !== undefined) context.addIssue({ code: 'custom', message: problem.message });
      })
      .optional(),
    endPort: portNumber.nullish(),
  }),
  (fields, say) => {
    const { port, endPort } = fields;
    if (!isThere(endPort)) return;
    if (typeof port !== 'number') say(['endPort'], 'must not be there without port as a number');
    else if (typeof endPort === 'number' && endPort < port)
      say(['endPort'], `must be at least port, ${port}`);
  },
);
type Port = z.output<typeof port>;

const peers = z.array(peer).nullish();
const ports = z.array(port).nullish();

/** Of StagedKubernetesNetworkPolicy too. */
export const specFields = {
  podSelector: labelSelector.nullish(),
  policyTypes: z
    .array(z.enum(['Ingress', 'Egress']))
    .max(2, 'must have at most 2 entries')
    .nullish(),
  ingress: z.array(z.strictObject({ from: peers, ports })).nullish(),
  egress: z.array(z.strictObject({ to: peers, ports })).nullish(),
};
const spec = z.strictObject(specFields);
type Spec = z.output<typeof spec>;

const HEAD = { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', namespaced: true };

const object = objectOf(HEAD, spec);

export const networkPolicy = defineFrontend(HEAD, {
  schema: object,
  translate: ({ metadata, spec }, context) => ({
    policies: [translatePolicy(metadata.namespace ?? 'default', metadata.name, spec, context)],
  }),
});

/** Of what stands in `spec`. */
export function translatePolicy(namespace: string, name: string, spec: Spec, context: Context): Policy {
  const isolates = isolatedDirections(spec);
  warnOfDeadRules(spec, isolates, context);
  return {
    kind: HEAD.kind,
    name: `${namespace}/${name}`,
    tier: 'default',
    order: ORDER,
    subjects: podsOf(factIs('namespace', namespace), fromLabelSelector(spec.podSelector ?? {}, 'own')),
    isolates,
    ingress: isolates.ingress ? rulesOf(spec, 'ingress', namespace, context) : [],
    egress: isolates.egress ? [...rulesOf(spec, 'egress', namespace, context), toOwnNode(context)] : [],
    host: 'local',
    origin: context.origin([]),
  };
}

/** policyTypes, or if empty: Ingress always, Egress if there are rules for it. */
function isolatedDirections({ policyTypes, egress }: Spec): Record<Direction, boolean> {
  const types = policyTypes ?? [];
  if (types.length > 0) return { ingress: types.includes('Ingress'), egress: types.includes('Egress') };
  return { ingress: true, egress: (egress ?? []).length > 0 };
}

function warnOfDeadRules(spec: Spec, isolates: Record<Direction, boolean>, { warn }: Context): void {
  for (const direction of ['ingress', 'egress'] as const) {
    if (isolates[direction] || (spec[direction] ?? []).length === 0) continue;
    warn(['spec', direction], 'has no effect: policyTypes does not name this direction');
  }
}

type Lists = { readonly peers: readonly Peer[]; readonly ports: readonly Port[] };

function listsOf(spec: Spec, direction: Direction): Lists[] {
  return direction === 'ingress'
    ? (spec.ingress ?? []).map(({ from, ports }) => ({ peers: from ?? [], ports: ports ?? [] }))
    : (spec.egress ?? []).map(({ to, ports }) => ({ peers: to ?? [], ports: ports ?? [] }));
}

/** No peers: from or to wherever. No ports: all traffic. */
function rulesOf(spec: Spec, direction: Direction, namespace: string, { origin }: Context): Rule[] {
  return listsOf(spec, direction).map(({ peers, ports }, index) => {
    const clauses: Clause<PeerSet>[] =
      peers.length === 0 ? [] : [{ anyOf: peers.map((each) => peerSet(each, namespace)) }];
    return {
      action: 'allow',
      source: direction === 'ingress' ? clauses : [],
      destination: direction === 'egress' ? clauses : [],
      traffic: destinationPorts(ports.map(portLine)),
      origin: origin(['spec', direction, index]),
    };
  });
}

function peerSet({ podSelector, namespaceSelector, ipBlock }: Peer, namespace: string): PeerSet {
  if (ipBlock) {
    return { kind: 'prefixes', prefixes: [ipBlock.cidr], except: (ipBlock.except ?? []).toSorted() };
  }
  const namespaces = namespaceSelector
    ? fromLabelSelector(namespaceSelector, 'namespace')
    : factIs('namespace', namespace);
  return { kind: 'endpoints', selector: podsOf(namespaces, fromLabelSelector(podSelector ?? {}, 'own')) };
}

function portLine({ protocol, port, endPort }: Port): PortLine {
  const line = { protocol: PROTOCOLS[protocol ?? 'TCP'] };
  if (typeof port === 'string') return { ...line, name: port };
  return typeof port === 'number' ? { ...line, range: { from: port, to: endPort ?? port } } : line;
}

function toOwnNode({ origin }: Context): Rule {
  return {
    action: 'allow',
    source: [],
    destination: [{ anyOf: [{ kind: 'entity', entity: 'own-node' }] }],
    traffic: [],
    name: 'a pod always reaches its own node',
    origin: origin(['spec']),
  };
}
