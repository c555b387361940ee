/**
 * Random manifests of every Kubernetes kind, worlds to judge and flows to be judged (fast-check). All are drawn from few
 * labels, ports and prefixes, so that they meet each other often.
 */
import fc from 'fast-check';
import { PROTOCOL } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import type { NamedPort, PolicyWorld } from '#model/workload.ts';
import { address, addressFamily, type Address } from '#net/address.ts';
import { makeWorld, type PodSketch } from './world.ts';

export type Json = { readonly [key: string]: unknown };

export const KEYS = ['app', 'tier', 'example.org/env'];
export const VALUES = ['a', 'b', ''];
export const PORTS = [53, 80, 81, 8080];
export const PORT_NAMES = ['web', 'dns', 'late'];
export const NAMESPACES = ['one', 'two', 'three'];
/** Each lies strictly in those before it of its family. */
export const CIDRS = [
  '0.0.0.0/0',
  '10.0.0.0/8',
  '10.244.0.0/16',
  '10.244.0.0/29',
  '10.244.0.2/31',
  '10.244.0.2/32',
  '::/0',
  'fd00::/16',
  'fd00::/125',
  'fd00::2/127',
  'fd00::2/128',
];
export const OUTSIDE = ['192.0.2.0/24', '192.0.2.1/32', '2001:db8::/32', '2001:db8::2/128', '203.0.113.0/24'];
export const STRANGERS = ['203.0.113.7', '198.51.100.1', '10.9.9.9', '2001:db8:ffff::1', 'fd00:1::1'].map(
  address,
);

export const oneOf = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
export const subset = <T>(values: readonly T[], minLength = 0): fc.Arbitrary<T[]> =>
  fc.subarray([...values], { minLength });
/** An object with these fields; those named in `optional` are sometimes missing, sometimes null. */
function fields(
  shape: Record<string, fc.Arbitrary<unknown>>,
  optional: readonly string[] = [],
): fc.Arbitrary<Json> {
  const entries = Object.entries(shape).map(([key, value]) => [
    key,
    optional.includes(key)
      ? fc.oneof({ arbitrary: value, weight: 4 }, oneOf([undefined, undefined, null]))
      : value,
  ]);
  return fc
    .record(Object.fromEntries(entries) as Record<string, fc.Arbitrary<unknown>>)
    .map((made) => Object.fromEntries(Object.entries(made).filter(([, value]) => value !== undefined)));
}
const either = (shape: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Json> =>
  fc.oneof(...Object.entries(shape).map(([key, value]) => value.map((made): Json => ({ [key]: made }))));

export const labels = fc.dictionary(oneOf(KEYS), oneOf(VALUES), { maxKeys: 2 });
const expression = fc.oneof(
  fc.record({ key: oneOf(KEYS), operator: oneOf(['In', 'NotIn']), values: subset(VALUES, 1) }),
  fields({ key: oneOf(KEYS), operator: oneOf(['Exists', 'DoesNotExist']), values: fc.constant([]) }, [
    'values',
  ]),
);
const selector = fc.oneof(
  { arbitrary: fc.constant({}), weight: 1 },
  {
    arbitrary: fields({ matchLabels: labels, matchExpressions: fc.array(expression, { maxLength: 2 }) }, [
      'matchLabels',
      'matchExpressions',
    ]),
    weight: 3,
  },
);
const namespaceSelector = fc.oneof(
  selector,
  oneOf(NAMESPACES).map((name) => ({ matchLabels: { 'kubernetes.io/metadata.name': name } })),
);

const ipBlock = fc.oneof(
  fc.tuple(fc.nat(CIDRS.length - 1), subset(CIDRS)).map(([at, others]): Json => {
    const cidr = CIDRS[at] ?? '';
    const inside = others.filter(
      (each) => each.includes(':') === cidr.includes(':') && CIDRS.indexOf(each) > at,
    );
    return inside.length === 0 ? { cidr } : { cidr, except: inside };
  }),
  oneOf(OUTSIDE).map((cidr) => ({ cidr })),
);
const networkPeer = fc.oneof(
  { arbitrary: fc.record({ podSelector: selector }), weight: 2 },
  { arbitrary: fc.record({ namespaceSelector }), weight: 2 },
  { arbitrary: fc.record({ podSelector: selector, namespaceSelector }), weight: 2 },
  { arbitrary: fc.record({ ipBlock }), weight: 3 },
);
const protocol = oneOf(['TCP', 'TCP', 'UDP', 'SCTP']);
const range = fc.tuple(oneOf(PORTS), oneOf(PORTS)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
const networkPort = fc.oneof(
  fields({ protocol, port: oneOf(PORTS) }, ['protocol']),
  fields({ protocol, port: oneOf(PORT_NAMES) }, ['protocol']),
  fc.record({ protocol }),
  fc.tuple(protocol, range).map(([protocol, [port, endPort]]): Json => ({ protocol, port, endPort })),
);
export const few = <T>(item: fc.Arbitrary<T>, minLength = 0): fc.Arbitrary<T[]> =>
  fc.array(item, { minLength, maxLength: 3 });

const metadata = (namespaced: boolean, name: string): fc.Arbitrary<Json> =>
  namespaced ? oneOf(NAMESPACES).map((namespace) => ({ name, namespace })) : fc.constant({ name });

export function networkPolicies(name: string): fc.Arbitrary<Json> {
  const rule = (peers: string): fc.Arbitrary<Json> =>
    fields({ [peers]: few(networkPeer), ports: few(networkPort) }, [peers, 'ports']);
  const spec = fields(
    {
      podSelector: selector,
      policyTypes: subset(['Ingress', 'Egress']),
      ingress: few(rule('from')),
      egress: few(rule('to')),
    },
    ['podSelector', 'policyTypes', 'ingress', 'egress'],
  );
  return fc.record({
    apiVersion: fc.constant('networking.k8s.io/v1'),
    kind: fc.constant('NetworkPolicy'),
    metadata: metadata(true, name),
    spec,
  });
}

const namespacedPod = fc.record({ namespaceSelector, podSelector: selector });
const podPeers = { namespaces: namespaceSelector, pods: namespacedPod };
const networks = subset([...CIDRS, ...OUTSIDE], 1).map((all) => all.slice(0, 3));
const egressPeers = { ...podPeers, nodes: selector, networks };
const NAMED = new Set(['destinationNamedPort', 'namedPort']);
const OUTSIDERS = new Set(['nodes', 'networks']);

/** Egress rules may not have both peers that are no pods and named ports. */
function isAllowed(rule: Json, ports: 'protocols' | 'ports'): boolean {
  const has = (list: unknown, names: ReadonlySet<string>): boolean =>
    Array.isArray(list) && list.some((each: Json) => Object.keys(each).some((key) => names.has(key)));
  return !(has(rule['to'], OUTSIDERS) && has(rule[ports], NAMED));
}

type ClusterKind = {
  readonly version: string;
  readonly kind: string;
  readonly name: string;
  readonly actions: readonly string[];
  readonly ports: 'protocols' | 'ports';
  readonly port: fc.Arbitrary<Json>;
  readonly head: Record<string, fc.Arbitrary<unknown>>;
};

function clusterKind({ version, kind, name, actions, ports, port, head }: ClusterKind): fc.Arbitrary<Json> {
  const rule = (peers: string, peer: fc.Arbitrary<Json>): fc.Arbitrary<Json> =>
    fields(
      {
        name: fc.constant('a rule'),
        action: oneOf(actions),
        [peers]: few(peer, 1),
        [ports]: few(port, 1),
      },
      ['name', ports],
    ).filter((made) => isAllowed(made, ports));
  const spec = fields(
    {
      ...head,
      subject: either(podPeers),
      ingress: few(rule('from', either(podPeers))),
      egress: few(rule('to', either(egressPeers))),
    },
    ['ingress', 'egress'],
  );
  return fc.record({
    apiVersion: fc.constant(`policy.networking.k8s.io/${version}`),
    kind: fc.constant(kind),
    metadata: metadata(false, name),
    spec,
  });
}

const strictRange = range.filter(([start, end]) => start < end).map(([start, end]) => ({ start, end }));
const destinationPort = either({ number: oneOf(PORTS), range: strictRange });
const withPort = fc.record({ destinationPort });
const clusterProtocol = either({
  tcp: withPort,
  udp: withPort,
  sctp: withPort,
  destinationNamedPort: oneOf(PORT_NAMES),
});
const adminPort = either({
  portNumber: fields({ protocol, port: oneOf(PORTS) }, ['protocol']),
  portRange: fc.tuple(protocol, strictRange).map(([protocol, ends]) => ({ protocol, ...ends })),
  namedPort: oneOf(PORT_NAMES),
});

export function clusterNetworkPolicies(name: string, priority: number): fc.Arbitrary<Json> {
  return clusterKind({
    version: 'v1alpha2',
    kind: 'ClusterNetworkPolicy',
    name,
    actions: ['Accept', 'Deny', 'Pass'],
    ports: 'protocols',
    port: clusterProtocol,
    head: { tier: oneOf(['Admin', 'Baseline']), priority: fc.constant(priority) },
  });
}

const ADMIN = { version: 'v1alpha1', ports: 'ports', port: adminPort } as const;

export function adminNetworkPolicies(name: string, priority: number): fc.Arbitrary<Json> {
  const head = { priority: fc.constant(priority) };
  return clusterKind({
    ...ADMIN,
    kind: 'AdminNetworkPolicy',
    name,
    actions: ['Allow', 'Deny', 'Pass'],
    head,
  });
}

export const baselineAdminNetworkPolicies: fc.Arbitrary<Json> = clusterKind({
  ...ADMIN,
  kind: 'BaselineAdminNetworkPolicy',
  name: 'default',
  actions: ['Allow', 'Deny'],
  head: {},
});

/** Up to ten policies of all kinds; no two of one tier have the same priority. */
export const policySets: fc.Arbitrary<Json[]> = fc
  .tuple(
    fc.oneof(fc.constant([]), fc.tuple(clusterNetworkPolicies('c1', 10), clusterNetworkPolicies('c2', 20))),
    fc.oneof(fc.constant([]), fc.tuple(adminNetworkPolicies('a1', 5), adminNetworkPolicies('a2', 15))),
    fc.oneof(fc.constant([]), fc.tuple(baselineAdminNetworkPolicies)),
    fc
      .nat(4)
      .chain((count) => fc.tuple(...Array.from({ length: count }, (_, n) => networkPolicies(`n${n}`)))),
  )
  .map((kinds) => kinds.flat());

export const namedPorts: readonly NamedPort[] = [
  { name: 'web', protocol: PROTOCOL.tcp, port: 80 },
  { name: 'web', protocol: PROTOCOL.tcp, port: 8080 },
  { name: 'dns', protocol: PROTOCOL.udp, port: 53 },
  { name: 'late', protocol: PROTOCOL.sctp, port: 81 },
];

export const worlds: fc.Arbitrary<PolicyWorld> = fc
  .record({
    pods: fc.array(
      fc.record({
        namespace: oneOf(NAMESPACES),
        labels,
        ports: subset(namedPorts),
        hostNetwork: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
      }),
      { minLength: 2, maxLength: 6 },
    ),
    namespaces: fc.record({ one: labels, two: labels, three: labels }),
    nodes: fc.record({ a: labels, b: labels }),
  })
  .map(({ pods, namespaces, nodes }) => {
    const sketches = pods.map(({ namespace, ...pod }, index): PodSketch => ({
      ...pod,
      name: `${namespace}/p${index}`,
    }));
    return makeWorld({ pods: sketches, namespaces, nodes });
  });

export const TRAFFIC: readonly number[] = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.icmp];

/** Between pods, nodes and strangers of one family; sometimes through a service. */
export function flows(world: PolicyWorld): fc.Arbitrary<Flow> {
  const ofPods = world.endpoints.flatMap((each) => (each.kind === 'network-set' ? [] : each.addresses));
  const ofNodes = [...world.nodes.values()].flatMap(({ addresses }) => addresses);
  const place = fc.oneof(
    { arbitrary: oneOf(ofPods), weight: 6 },
    { arbitrary: oneOf(ofNodes), weight: 1 },
    { arbitrary: oneOf(STRANGERS), weight: 2 },
  );
  return fc
    .tuple(place, place, oneOf(TRAFFIC), oneOf(PORTS), fc.nat(3))
    .filter(([source, destination]) => addressFamily(source) === addressFamily(destination))
    .map(([source, destination, protocol, port, through]) =>
      flow([source, destination], [protocol, port], through === 0),
    );
}

function flow(
  [source, destination]: readonly [Address, Address],
  [protocol, port]: readonly [number, number],
  isThrough: boolean,
): Flow {
  const six = addressFamily(source) === 6;
  const service = address(six ? 'fd00:96::1' : '10.96.0.1');
  const before = isThrough ? { before: { destination: service } } : {};
  if (protocol !== PROTOCOL.icmp) {
    return { source, destination, protocol, sourcePort: 40_000, destinationPort: port, ...before };
  }
  return six
    ? { source, destination, protocol: PROTOCOL.icmpv6, icmp: { type: 128, code: 0 }, ...before }
    : { source, destination, protocol, icmp: { type: 8, code: 0 }, ...before };
}
