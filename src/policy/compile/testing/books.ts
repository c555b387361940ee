/**
 * Random rule books with everything that the language of rules has, whichever frontend makes it, worlds to go with them
 * and flows (fast-check). All are drawn from few labels, ports and prefixes, so that they meet each other often.
 */
import fc from 'fast-check';
import {
  type Clause,
  type Policy,
  type Profile,
  PROTOCOL,
  type Rule,
  type RuleBook,
  type Tier,
} from '#model/policy.ts';
import type { Crossing, Flow } from '#model/verdict.ts';
import type { Endpoint, Failsafe, HostEndpoint, NamedPort, PolicyWorld } from '#model/workload.ts';
import { address, addressFamily, type Address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { createBook } from '../../book.ts';
import { hostEndpoint, makeWorld, type PodSketch } from '../../testing/world.ts';
import {
  CIDRS,
  CIDRS6,
  KEYS,
  NAMESPACES,
  oneOf,
  peerSets,
  PORTS,
  selectors,
  STRANGERS,
  trafficSets,
  VALUES,
} from './sets.ts';

const PROFILES = ['open', 'closed', 'missing'];

function clauses<T>(set: fc.Arbitrary<T>, maxLength: number): fc.Arbitrary<Clause<T>[]> {
  const clause = fc
    .tuple(
      fc.oneof({ arbitrary: fc.array(set, { minLength: 1, maxLength: 2 }), weight: 9 }, fc.constant([])),
      fc.nat(4),
    )
    .map(([anyOf, not]): Clause<T> => (not === 0 ? { anyOf, not: true } : { anyOf }));
  return fc.array(clause, { maxLength });
}

const rules: fc.Arbitrary<Rule> = fc
  .record({
    action: oneOf(['allow', 'allow', 'deny', 'pass', 'log', 'redirect'] as const),
    source: clauses(peerSets, 1),
    destination: clauses(peerSets, 1),
    traffic: clauses(trafficSets, 2),
  })
  .map((rule) => ({ ...rule, origin: { source: 'test', path: '' } }));

const numbered = (list: readonly Rule[], path: string): Rule[] =>
  list.map((rule, index) => ({ ...rule, origin: { source: 'test', path: `${path}.${index}` } }));

const plain = (action: 'allow' | 'deny' | undefined): Rule[] =>
  action === undefined
    ? []
    : [{ action, source: [], destination: [], traffic: [], origin: { source: 'test', path: '' } }];
const ofAll = {
  last: fc.constant(undefined),
  subjects: selectors,
  host: oneOf(['local', 'local', 'local', 'forward', 'untracked', 'pre-dnat'] as const),
};
const KIND_HOST = { op: 'in', scope: 'fact', key: 'kind', values: ['host'] } as const;
const ofHosts = {
  /** Of everything, behind the other rules. */
  last: oneOf([undefined, 'allow', 'deny'] as const),
  subjects: oneOf([
    KIND_HOST,
    KIND_HOST,
    { op: 'and', of: [KIND_HOST, { op: 'has', scope: 'own', key: 'app' }] },
  ] as const),
  host: oneOf(['untracked', 'untracked', 'pre-dnat', 'pre-dnat', 'forward', 'local'] as const),
};

export function policies(name: string): fc.Arbitrary<Policy> {
  return fc
    .record({
      tier: oneOf(['kube-admin', 'default', 'default', 'middle', 'kube-baseline']),
      order: oneOf([1, 2, Infinity]),
      ingresses: fc.boolean(),
      egresses: fc.boolean(),
      ingress: fc.array(rules, { maxLength: 3 }),
      egress: fc.array(rules, { maxLength: 3 }),
      about: fc.oneof(
        { arbitrary: fc.record(ofAll), weight: 3 },
        { arbitrary: fc.record(ofHosts), weight: 2 },
      ),
    })
    .map(({ ingresses, egresses, ingress, egress, about: { last, ...about }, ...policy }) => ({
      ...policy,
      ...about,
      kind: 'Policy',
      name,
      isolates: { ingress: ingresses, egress: egresses },
      ingress: numbered([...ingress, ...plain(last)], `${name}.ingress`),
      egress: numbered([...egress, ...plain(last)], `${name}.egress`),
      origin: { source: 'test', path: name },
    }));
}

const profiles: fc.Arbitrary<Profile[]> = fc
  .tuple(fc.array(rules, { maxLength: 2 }), fc.array(rules, { maxLength: 2 }))
  .map(([some, others]) => [
    { name: 'open', ingress: numbered(some, 'open.i'), egress: numbered(some, 'open.e') },
    { name: 'closed', ingress: numbered(others, 'closed.i'), egress: [] },
  ]);

const tier: fc.Arbitrary<Tier> = fc.record({
  name: fc.constant('middle'),
  order: oneOf([500, 2_000_000]),
  defaultAction: oneOf(['deny', 'pass'] as const),
});

export type BookSketch = {
  readonly policies: readonly Policy[];
  readonly tier: Tier;
  readonly profiles: readonly Profile[];
};

export const bookSketches: fc.Arbitrary<BookSketch> = fc.record({
  policies: fc
    .nat(5)
    .chain((count) => fc.tuple(...Array.from({ length: count }, (_, n) => policies(`p${n}`)))),
  tier,
  profiles,
});

export function bookOf({ policies, tier, profiles }: BookSketch): RuleBook {
  return createBook({ policies, tiers: [tier], profiles });
}

const labels = fc.dictionary(oneOf(KEYS), oneOf(VALUES), { maxKeys: 2 });
const namedPorts: readonly NamedPort[] = [
  { name: 'web', protocol: PROTOCOL.tcp, port: 80 },
  { name: 'web', protocol: PROTOCOL.tcp, port: 8080 },
  { name: 'dns', protocol: PROTOCOL.udp, port: 53 },
];
const backend = fc.record({
  address: oneOf(['10.244.0.1', '10.244.0.2', 'fd00::1', '203.0.113.7'].map(address)),
  protocol: oneOf([PROTOCOL.tcp, PROTOCOL.udp]),
  port: oneOf(PORTS),
});
const network = fc
  .record({
    labels,
    prefixes: fc.subarray([...CIDRS, ...CIDRS6], { maxLength: 2 }),
    spaced: fc.boolean(),
    name: oneOf(['n', 'm']),
  })
  .map(({ labels, prefixes, spaced, name }): Endpoint => ({
    kind: 'network-set',
    ...(spaced ? { namespace: 'one' } : {}),
    name,
    labels,
    prefixes: prefixes.map(prefix),
  }));

/** On both nodes, for named interfaces and for all; two may be for the same. */
const host: fc.Arbitrary<HostEndpoint> = fc
  .record({
    labels,
    node: oneOf(['a', 'a', 'b']),
    interface: oneOf(['eth0', 'eth0', 'eth1', '*', '*']),
    ports: fc.subarray([...namedPorts]),
    profiles: fc.subarray(PROFILES),
    name: oneOf(['h', 'i', 'j', 'k']),
  })
  .map(({ name, ...more }) => hostEndpoint(`${name}-${more.node}`, more));
const hosts = fc.uniqueArray(host, { minLength: 1, maxLength: 3, selector: ({ name }) => name });

const failsafe: fc.Arbitrary<Failsafe> = fc
  .record({
    protocol: oneOf([PROTOCOL.tcp, PROTOCOL.udp]),
    from: oneOf(PORTS),
    wide: fc.nat(3),
    within: oneOf([undefined, undefined, '0.0.0.0/0', '::/0', '203.0.113.0/24', '2001:db8::/32']),
  })
  .map(({ protocol, from, wide, within }) => ({
    protocol,
    ports: { from, to: from + wide },
    ...(within === undefined ? {} : { prefix: prefix(within) }),
  }));

export const podSketches: fc.Arbitrary<Omit<PodSketch, 'name'> & { readonly namespace: string }> = fc.record(
  {
    namespace: oneOf(NAMESPACES),
    labels,
    node: oneOf(['a', 'a', 'b']),
    account: oneOf(['default', 'robot']),
    ports: fc.subarray([...namedPorts]),
    hostNetwork: fc.integer({ min: 0, max: 7 }).map((n) => n === 0),
    profiles: fc.subarray(PROFILES),
  },
  { requiredKeys: ['namespace', 'labels', 'node', 'account', 'ports', 'hostNetwork'] },
);

export const worldOf = fc
  .record({
    pods: fc.array(podSketches, { minLength: 2, maxLength: 5 }),
    namespaces: fc.record({ one: labels, two: labels }),
    accounts: fc.record({ 'one/robot': labels }),
    nodes: fc.record({ a: labels, b: labels }),
    networks: fc.array(network, { maxLength: 2 }),
    hosts,
    failsafe: fc.record({
      ingress: fc.array(failsafe, { maxLength: 3 }),
      egress: fc.array(failsafe, { maxLength: 3 }),
    }),
    front: fc.array(backend, { maxLength: 2 }),
    resolved: fc.tuple(fc.subarray(STRANGERS), fc.subarray(STRANGERS)),
  })
  .map(({ pods, networks, hosts, front, resolved, ...rest }): PolicyWorld =>
    makeWorld({
      ...rest,
      pods: pods.map(({ namespace, ...pod }, index): PodSketch => ({
        ...pod,
        name: `${namespace}/p${index}`,
      })),
      others: [...networks, ...hosts],
      services: new Map([['one/front', front]]),
      names: new Map([
        ['a.example', new Set(resolved[0])],
        ['*.example', new Set(resolved[1])],
      ]),
    }),
  );

const ICMP: readonly (readonly [number, number])[] = [
  [8, 0],
  [128, 0],
  [3, 1],
];

const crossing: fc.Arbitrary<Crossing> = fc
  .record({
    node: oneOf(['a', 'a', 'b']),
    interface: oneOf(['eth0', 'eth0', 'eth1', 'tt0']),
    direction: oneOf(['ingress', 'egress'] as const),
    forwarded: fc.boolean(),
  })
  .map((made) => (made.interface === 'tt0' ? { ...made, toPod: true } : made));

/** Between pods, nodes and strangers of one family; sometimes through a service, mostly across interfaces of nodes. */
export function flowsIn(world: PolicyWorld): fc.Arbitrary<Flow> {
  const ofPods = world.endpoints.flatMap((each) => (each.kind === 'network-set' ? [] : each.addresses));
  const ofNodes = [...world.nodes.values()].flatMap(({ addresses }) => addresses);
  const place = fc.oneof(
    { arbitrary: oneOf(ofPods), weight: 6 },
    { arbitrary: oneOf(ofNodes), weight: 1 },
    { arbitrary: oneOf(STRANGERS), weight: 2 },
  );
  return fc
    .record({
      source: place,
      destination: place,
      protocol: oneOf([6, 6, 17, 132, 1, 1, 47]),
      port: oneOf([...PORTS, 1, 60_000]),
      sourcePort: oneOf([40_000, 53, 80]),
      icmp: oneOf(ICMP),
      through: fc.nat(3),
      crossings: fc.oneof(fc.constant(undefined), fc.array(crossing, { minLength: 1, maxLength: 2 })),
    })
    .filter(({ source, destination }) => addressFamily(source) === addressFamily(destination))
    .map(flowOf);
}

type FlowSketch = {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly port: number;
  readonly sourcePort: number;
  readonly icmp: readonly [number, number];
  readonly through: number;
  readonly crossings: readonly Crossing[] | undefined;
};

function flowOf(sketch: FlowSketch): Flow {
  const { source, destination, protocol, port, sourcePort, icmp } = sketch;
  const six = addressFamily(source) === 6;
  const more = { ...throughService(sketch, six), ...across(sketch) };
  if (protocol === 47) return { source, destination, protocol, ...more };
  if (protocol !== 1) return { source, destination, protocol, sourcePort, destinationPort: port, ...more };
  const [type, code] = icmp;
  return { source, destination, protocol: six ? 58 : 1, icmp: { type, code }, ...more };
}

function throughService({ through, protocol }: FlowSketch, six: boolean): Pick<Flow, 'before'> {
  if (through > 1) return {};
  const destination = address(six ? 'fd00:96::1' : '10.96.0.1');
  const isPort = through === 1 && [6, 17, 132].includes(protocol);
  return { before: { destination, ...(isPort ? { destinationPort: 53 } : {}) } };
}

function across({ crossings }: FlowSketch): Pick<Flow, 'crossings'> {
  return crossings === undefined ? {} : { crossings };
}
