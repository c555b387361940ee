/** Random selectors, sets of peers and sets of traffic, from few labels, ports and prefixes (fast-check). */
import fc from 'fast-check';
import { PROTOCOL, type PeerSet, type Selector, type TrafficSet } from '#model/policy.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';

export const oneOf = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
export const KEYS = ['app', 'tier'];
export const VALUES = ['a', 'b', 'ab'];
export const NAMESPACES = ['one', 'two'];
export const PORTS = [53, 80, 81, 8080];
const PORT_NAMES = ['web', 'dns'];
const SERVICES = ['front', 'back'];
const DNS = ['a.example', '*.example'];
export const CIDRS = [
  '0.0.0.0/0',
  '10.244.0.0/16',
  '10.244.0.0/30',
  '10.244.0.2/31',
  '192.0.2.0/24',
  '203.0.113.0/24',
];
export const CIDRS6 = ['::/0', 'fd00::/16', 'fd00::/126', 'fd00::2/127', '2001:db8::/32'];
export const STRANGERS = ['203.0.113.7', '198.51.100.1', '2001:db8:ffff::1', 'fd00:1::1'].map(address);

const scope = oneOf(['own', 'own', 'namespace', 'account', 'fact'] as const);
const test = fc
  .record({ scope, key: oneOf(KEYS), value: oneOf(VALUES), namespace: oneOf(NAMESPACES), kind: fc.nat(6) })
  .map(({ scope, key, value, namespace, kind }): Selector => {
    if (scope === 'fact') {
      return kind < 4
        ? { op: 'in', scope, key: 'namespace', values: [namespace] }
        : { op: 'in', scope, key: 'kind', values: [oneOfKinds[kind % 3] ?? 'pod'] };
    }
    if (kind === 0) return { op: 'has', scope, key };
    if (kind < 4) return { op: 'in', scope, key, values: [value] };
    return { op: (['contains', 'starts', 'ends'] as const)[kind % 3] ?? 'starts', scope, key, value: 'a' };
  });
const oneOfKinds = ['pod', 'network-set', 'host'];
export const selectors: fc.Arbitrary<Selector> = fc.letrec<{ selector: Selector; inner: Selector }>(
  (tie) => ({
    selector: fc.oneof(
      { arbitrary: fc.constant({ op: 'and' as const, of: [] }), weight: 1 },
      { arbitrary: tie('inner'), weight: 5 },
    ),
    inner: fc.oneof(
      { maxDepth: 2 },
      { arbitrary: test, weight: 3 },
      {
        arbitrary: fc
          .tuple(oneOf(['and', 'or'] as const), fc.array(tie('inner'), { maxLength: 2 }))
          .map(([op, of]): Selector => ({ op, of })),
        weight: 1,
      },
      { arbitrary: tie('inner').map((of): Selector => ({ op: 'not', of })), weight: 1 },
    ),
  }),
).selector;

const prefixSets = fc
  .tuple(
    fc.subarray([...CIDRS, ...CIDRS6], { maxLength: 2 }),
    fc.subarray([...CIDRS, ...CIDRS6], { maxLength: 1 }),
  )
  .map(([prefixes, except]): PeerSet => ({
    kind: 'prefixes',
    prefixes: prefixes.map(prefix),
    except: except.map(prefix),
  }));
export const peerSets: fc.Arbitrary<PeerSet> = fc.oneof(
  { arbitrary: selectors.map((selector): PeerSet => ({ kind: 'endpoints', selector })), weight: 5 },
  { arbitrary: prefixSets, weight: 4 },
  { arbitrary: selectors.map((selector): PeerSet => ({ kind: 'nodes', selector })), weight: 1 },
  {
    arbitrary: oneOf(['own-node', 'cluster', 'world'] as const).map((entity): PeerSet => ({
      kind: 'entity',
      entity,
    })),
    weight: 1,
  },
  {
    arbitrary: oneOf(SERVICES).map((name): PeerSet => ({ kind: 'service', namespace: 'one', name })),
    weight: 1,
  },
  {
    arbitrary: fc.subarray(DNS, { minLength: 1 }).map((names): PeerSet => ({ kind: 'names', names })),
    weight: 1,
  },
);

const range = fc
  .tuple(oneOf([0, 1, ...PORTS, 40_000, 65_535]), oneOf([...PORTS, 65_535]), fc.nat(3))
  .map(([a, b, wide]) => (wide === 0 ? { from: Math.min(a, b), to: Math.max(a, b) } : { from: b, to: b }));
const end = oneOf(['destination', 'destination', 'destination', 'source'] as const);
const portProtocol = oneOf([PROTOCOL.tcp, PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, undefined]);
const asked = (protocol: number | undefined): { protocol?: number } =>
  protocol === undefined ? {} : { protocol };
export const trafficSets: fc.Arbitrary<TrafficSet> = fc.oneof(
  {
    arbitrary: fc
      .record({ end, protocol: portProtocol, ranges: fc.array(range, { minLength: 1, maxLength: 2 }) })
      .map(({ end, protocol, ranges }): TrafficSet => ({ kind: 'ports', end, ...asked(protocol), ranges })),
    weight: 5,
  },
  {
    arbitrary: fc
      .record({ end, protocol: portProtocol, name: oneOf(PORT_NAMES) })
      .map(({ end, protocol, name }): TrafficSet => ({ kind: 'named-port', end, ...asked(protocol), name })),
    weight: 2,
  },
  {
    arbitrary: oneOf([1, 6, 17, 58, 132, 47]).map((protocol): TrafficSet => ({ kind: 'protocol', protocol })),
    weight: 1,
  },
  { arbitrary: oneOf([4, 6] as const).map((family): TrafficSet => ({ kind: 'family', family })), weight: 1 },
  {
    arbitrary: fc
      .tuple(oneOf([4, 6] as const), oneOf([undefined, 8, 128, 3]), oneOf([undefined, 0, 1]))
      .map(([family, type, code]): TrafficSet => ({
        kind: 'icmp',
        family,
        ...(type === undefined ? {} : { type }),
        ...(type === undefined || code === undefined ? {} : { code }),
      })),
    weight: 2,
  },
);
