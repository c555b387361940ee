/** Who speaks with whom, and what is announced. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PeerRule, Reflector, RoutingNode, ServiceAddress } from '#model/routing.ts';
import { EVERYTHING, type Selector } from '#model/policy.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { planRouting, type RoutingInput, type RoutingPlan, secretsOf } from './plan.ts';
import { inputOf, nodeOf, SETTINGS } from './testing/cluster.ts';

function planOf(more: Partial<RoutingInput>): RoutingPlan {
  const { plan, problems } = planRouting(inputOf(more));
  assert.deepEqual(problems, []);
  assert.ok(plan !== undefined);
  return plan;
}

const labelled = (key: string): Selector => ({ op: 'has', scope: 'own', key });
const named = (name: string): Selector => ({ op: 'in', scope: 'fact', key: 'name', values: [name] });

function ruleOf(more: Partial<PeerRule> & Pick<PeerRule, 'remote'>): PeerRule {
  return {
    name: 'rule',
    nodes: EVERYTHING,
    reverse: true,
    nextHop: 'auto',
    source: 'node',
    ttlSecurity: false,
    filters: [],
    ...more,
  };
}

const namesOf = ({ sessions }: RoutingPlan): string[] => sessions.map(({ name }) => name);

test('a session is seen from both ends alike, whatever the roles, rules and address families', () => {
  const reflector = fc.record({
    role: fc.constantFrom('server', 'client'),
    clusterId: fc.constantFrom(address('1.0.0.1'), address('2.0.0.2')),
    meshed: fc.constant(true),
  }) satisfies fc.Arbitrary<Reflector>;
  const node = fc.record({
    as: fc.option(fc.constantFrom(65_001, 65_002), { nil: undefined }),
    reflector: fc.option(reflector, { nil: undefined }),
    families: fc.constantFrom('4', '6', '46'),
    labels: fc.constantFrom({}, { rr: '' }),
  });
  const seen = { external: 0, internal: 0, none: 0 };
  fc.assert(
    fc.property(
      fc.array(node, { minLength: 2, maxLength: 5 }),
      fc.constantFrom('all', 'same-as', 'none'),
      fc.boolean(),
      (drawn, mesh, withRule) => {
        const nodes = drawn.map(({ as, reflector, families, labels }, index): RoutingNode => {
          const whole = nodeOf(index + 1);
          const four = families.includes('4') ? { 4: whole.addresses[4] ?? address('::') } : {};
          const six = families.includes('6') ? { 6: whole.addresses[6] ?? address('::') } : {};
          return {
            ...whole,
            labels,
            addresses: { ...four, ...six },
            ...(as === undefined ? {} : { as }),
            ...(reflector === undefined ? {} : { reflector }),
          };
        });
        const peers = withRule ? [ruleOf({ remote: { kind: 'nodes', selector: labelled('rr') } })] : [];
        const settings = { ...SETTINGS, mesh };
        const ends = nodes.flatMap(({ name }) =>
          planOf({ self: name, nodes, peers, settings }).sessions.map((session) => ({ name, session })),
        );
        if (ends.length === 0) seen.none += 1;
        for (const { session } of ends) {
          const others = ends.filter(
            ({ session: other }) =>
              other.remote.address === session.local.address &&
              other.local.address === session.remote.address,
          );
          assert.equal(others.length, 1);
          const other = others[0]?.session;
          assert.equal(other?.remote.as, session.local.as);
          assert.equal(other?.external, session.external);
          assert.notEqual(other?.passive, session.passive);
          seen[session.external ? 'external' : 'internal'] += 1;
        }
      },
    ),
    { numRuns: 200 },
  );
  for (const count of Object.values(seen)) assert.ok(count > 5, JSON.stringify(seen));
});

test('Calico’s reflectors leave the mesh; a rule brings clients to them, and the other ends come by themselves', () => {
  const reflector = { role: 'server', clusterId: address('244.0.0.1'), meshed: false } as const;
  const nodes = [nodeOf(1, { reflector, labels: { rr: '' } }), nodeOf(2), nodeOf(3)].map((node) => ({
    ...node,
    addresses: { 4: node.addresses[4] ?? address('::') },
  }));
  const without = planOf({ nodes });
  assert.deepEqual(namesOf(without), []);
  const peers = [
    ruleOf({ nodes: { op: 'not', of: labelled('rr') }, remote: { kind: 'nodes', selector: labelled('rr') } }),
  ];
  const settings = { ...SETTINGS, mesh: 'none' } as const;
  const server = planOf({ nodes, peers, settings });
  assert.deepEqual(namesOf(server), ['node4_192_168_1_2', 'node4_192_168_1_3']);
  assert.deepEqual(
    server.sessions.map(({ clusterId }) => clusterId),
    ['244.0.0.1', '244.0.0.1'],
  );
  const client = planOf({ self: 'n2', nodes, peers, settings });
  assert.deepEqual(namesOf(client), ['node4_192_168_1_1']);
  assert.equal(client.sessions[0]?.clusterId, undefined);
  const manual = [{ ...(peers[0] as PeerRule), reverse: false }];
  assert.deepEqual(namesOf(planOf({ nodes, peers: manual, settings })), []);
});

test('a peer outside: which nodes, ports, addresses, prepends', () => {
  const remote = { kind: 'address', address: address('192.168.1.9'), as: 65_001, port: 1179 } as const;
  const nodes = [nodeOf(1, { prepend: [64_512, 64_512], communities: [[1, 2]] }), nodeOf(2)];
  const peers = [ruleOf({ nodes: named('n1'), remote, source: 'any', localAs: 65_009, hops: 1 })];
  const [session] = planOf({ nodes, peers, settings: { ...SETTINGS, mesh: 'none' } }).sessions;
  assert.equal(session?.name, 'peer4_192_168_1_9_port_1179');
  assert.deepEqual(session?.local, { as: 65_009 });
  assert.deepEqual(session?.remote, { address: '192.168.1.9', as: 65_001, port: 1179 });
  assert.deepEqual([session?.external, session?.inside, session?.passive], [true, false, false]);
  assert.deepEqual(session?.prepend, [64_512, 64_512]);
  assert.deepEqual(
    planOf({ self: 'n2', nodes, peers, settings: { ...SETTINGS, mesh: 'none' } }).sessions,
    [],
  );
});

test('a port of one node is known to the others', () => {
  const overrides = new Map([['n2', { port: 1790 }]]);
  const { sessions, port } = planOf({ overrides });
  assert.equal(port, 179);
  assert.deepEqual(
    sessions.map(({ remote }) => remote.port),
    [1790, 179, 1790, 179],
  );
  assert.equal(planOf({ self: 'n2', overrides }).port, 1790);
});

test('a session without its filter or its password is not held, and that is said once', () => {
  const remote = { kind: 'nodes', selector: EVERYTHING } as const;
  const password = { kind: 'file', path: '/etc/bgp' } as const;
  const peers = [ruleOf({ remote, filters: ['f'], password })];
  const { plan, problems } = planRouting(inputOf({ peers, hasSecret: () => false }));
  assert.deepEqual(
    plan?.sessions.map(({ name }) => name.slice(0, 4)),
    ['mesh', 'mesh', 'mesh', 'mesh'],
  );
  assert.deepEqual(problems, [
    { path: 'rule', message: 'there is no BGPFilter f: the session is not held' },
    { path: 'rule', message: 'its password cannot be read from file /etc/bgp: the session is not held' },
  ]);
  assert.deepEqual(plan === undefined ? [] : secretsOf(plan), []);
});

test('a node that is not known announces nothing', () => {
  const { plan, problems } = planRouting(inputOf({ self: 'x' }));
  assert.equal(plan, undefined);
  assert.match(problems[0]?.message ?? '', /not among the nodes/);
});

test('the router id: own, of the address, or of the name', () => {
  assert.equal(planOf({}).routerId, '192.168.1.1');
  assert.equal(planOf({ nodes: [nodeOf(1, { routerId: address('9.9.9.9') })] }).routerId, '9.9.9.9');
  const six = planOf({ nodes: [nodeOf(1, { addresses: { 6: address('fd00::1') } })] });
  const hash = planOf({ settings: { ...SETTINGS, routerId: 'hash' } });
  assert.equal(six.routerId, hash.routerId);
  assert.notEqual(
    planOf({ self: 'n2', settings: { ...SETTINGS, routerId: 'hash' } }).routerId,
    hash.routerId,
  );
});

test('services: ranges by all nodes, single addresses by use, local ones by nodes with endpoints', () => {
  const ranges = {
    cluster: [prefix('10.96.0.0/12')],
    external: [prefix('198.51.100.7/32')],
    'load-balancer': [prefix('203.0.113.0/24')],
  };
  const serviceOf = (text: string, more: Partial<ServiceAddress>): ServiceAddress => ({
    address: address(text),
    kind: 'cluster',
    local: false,
    ready: ['n2'],
    ...more,
  });
  const services = [
    serviceOf('10.96.0.1', {}),
    serviceOf('10.96.0.2', { local: true, ready: ['n1'] }),
    serviceOf('10.96.0.3', { local: true }),
    serviceOf('203.0.113.5', { kind: 'load-balancer' }),
    serviceOf('203.0.113.6', { kind: 'load-balancer', ready: [] }),
    serviceOf('192.0.2.1', { kind: 'load-balancer' }),
  ];
  const told = (more: Partial<RoutingInput>, single: readonly ['load-balancer'?] = []): readonly string[] =>
    planOf({
      services,
      settings: { ...SETTINGS, services: { ranges, single: single.flatMap((kind) => kind ?? []) } },
      ...more,
    }).announced.services;
  assert.deepEqual(told({}), ['10.96.0.0/12', '10.96.0.2/32', '203.0.113.0/24']);
  assert.deepEqual(told({}, ['load-balancer']), ['10.96.0.0/12', '10.96.0.2/32', '203.0.113.5/32']);
  const used = [...services, serviceOf('198.51.100.7', { kind: 'external' })];
  assert.ok(told({ services: used }).includes('198.51.100.7/32'));
  const own = [
    serviceOf('192.0.2.9', { kind: 'external', alone: true }),
    serviceOf('192.0.2.10', { kind: 'external', alone: true, local: true }),
    serviceOf('203.0.113.7', { kind: 'load-balancer', alone: false }),
  ];
  assert.deepEqual(told({ services: own }, ['load-balancer']), ['10.96.0.0/12', '192.0.2.9/32']);
  assert.deepEqual(told({ nodes: [nodeOf(1, { withoutServices: true })] }), []);
});

test('aggregates are told by the nodes that the selector matches', () => {
  const aggregates = [{ prefix: prefix('10.77.0.0/16'), nodes: named('n1') }];
  const settings = { ...SETTINGS, aggregates };
  assert.deepEqual(planOf({ settings }).announced.aggregates, ['10.77.0.0/16']);
  assert.deepEqual(planOf({ self: 'n2', settings }).announced.aggregates, []);
  assert.deepEqual(planOf({ self: 'n2', settings }).aggregates, ['10.77.0.0/16']);
});
