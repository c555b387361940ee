/** Explanations name what evaluate says and why, and notice a kernel that says otherwise. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createBook } from './book.ts';
import { bookOf, bookSketches, flowsIn, worldOf } from './compile/testing/books.ts';
import { showDecider } from './deciders.ts';
import { evaluate } from './evaluate.ts';
import { compareKernel, explainFlow, type KernelSays } from './explain.ts';
import { type End, findEnd, flowsBetween, parseTraffic, showFlow, splitTarget } from './flow-text.ts';
import { makePolicy, makeRule } from './testing/rules.ts';
import { hostEndpoint, makeWorld } from './testing/world.ts';

const world = makeWorld({
  pods: [
    { name: 'shop/web', labels: { app: 'web' } },
    { name: 'shop/db', labels: { app: 'db' }, ports: [{ name: 'pg', protocol: 6, port: 5432 }] },
    { name: 'default/solo' },
    { name: 'kube/proxy', hostNetwork: true },
  ],
  others: [hostEndpoint('a-eth0')],
});

test('targets are places with traffic', () => {
  const rows: [string, string, string][] = [
    ['shop/db:5432', 'shop/db', '5432'],
    ['shop/db:53/udp', 'shop/db', '53/udp'],
    ['shop/db', 'shop/db', 'icmp'],
    ['solo:pg', 'solo', 'pg'],
    ['node:a', 'node:a', 'icmp'],
    ['node:a:22', 'node:a', '22'],
    ['host:a-eth0:22', 'host:a-eth0', '22'],
    ['10.0.0.1:80', '10.0.0.1', '80'],
    ['fd00::1', 'fd00::1', 'icmp'],
    ['[fd00::1]:80', 'fd00::1', '80'],
    ['[fd00::1]', 'fd00::1', 'icmp'],
  ];
  for (const [text, place, traffic] of rows) assert.deepEqual(splitTarget(text), { place, traffic }, text);
});

test('traffic', () => {
  const rows: [string, unknown][] = [
    ['80', { protocol: 6, port: 80 }],
    ['53/UDP', { protocol: 17, port: 53 }],
    ['9/sctp', { protocol: 132, port: 9 }],
    ['pg', { name: 'pg' }],
    ['dns/udp', { name: 'dns', protocol: 17 }],
    ['ICMP', { protocol: 'icmp' }],
  ];
  for (const [text, parsed] of rows) assert.deepEqual(parseTraffic(text), parsed, text);
  for (const text of ['', '0', '65536', '80/icmp', '80/x', '80/toString', '1/tcp/2'])
    assert.ok('unclear' in parseTraffic(text), text);
});

const find = (text: string): End => {
  const end = findEnd(world, text);
  assert.ok(!('unclear' in end), text);
  return end;
};

test('places are found by name and by address, and near ones are proposed', () => {
  assert.equal(find('solo').name, 'default/solo');
  assert.equal(find('10.244.0.2').pod?.name, 'db');
  assert.equal(find('192.0.2.1').name, 'node:a');
  assert.equal(find('203.0.113.9').name, '203.0.113.9');
  assert.deepEqual(find('host:a-eth0').addresses, find('node:a').addresses);
  assert.deepEqual(find('kube/proxy').addresses, find('node:b').addresses);
  assert.deepEqual(findEnd(world, 'shop/dbb'), {
    unclear: 'there is no pod shop/dbb; there is shop/web, shop/db',
  });
  assert.deepEqual(findEnd(world, 'node:z'), { unclear: 'there is no node z; there is a, b' });
});

test('a flow for each family that both ends have', () => {
  const flows = flowsBetween(find('shop/web'), find('shop/db'), { name: 'pg' });
  assert.ok(!('unclear' in flows));
  assert.deepEqual(
    flows.map((flow) => [flow.source, flow.destination, showFlow(flow)]),
    [
      ['10.244.0.1', '10.244.0.2', 'tcp/5432'],
      ['fd00::1', 'fd00::2', 'tcp/5432'],
    ],
  );
  const unclear = (from: string, to: string, name: string): unknown =>
    flowsBetween(find(from), find(to), { name });
  assert.deepEqual(unclear('shop/web', 'shop/db', 'http'), {
    unclear: 'shop/db has no port http; there is pg',
  });
  assert.deepEqual(flowsBetween(find('203.0.113.9'), find('fd00::2'), { protocol: 'icmp' }), {
    unclear: '203.0.113.9 and shop/db have no family of addresses in common',
  });
});

const select = (app: string) => ({ op: 'in', scope: 'own', key: 'app', values: [app] }) as const;
const isolated = makePolicy({
  kind: 'NetworkPolicy',
  name: 'shop/db',
  subjects: select('db'),
  isolates: { ingress: true, egress: false },
  ingress: [
    {
      ...makeRule('allow', { traffic: [{ kind: 'protocol', protocol: 17 }] }),
      origin: { source: 'db.yaml', line: 9, path: 'spec.ingress.0' },
    },
  ],
  origin: { source: 'db.yaml', line: 2, path: '' },
});
const opening = makePolicy({
  kind: 'StagedNetworkPolicy',
  name: 'shop/open',
  subjects: select('db'),
  order: 1,
  ingress: [makeRule('allow')],
  staged: 'set',
});

function explain(from: string, to: string, policies = [isolated]) {
  const ends = [find(from), find(to)] as const;
  const flows = flowsBetween(...ends, { protocol: 6, port: 5432 });
  assert.ok(!('unclear' in flows) && flows[0] !== undefined);
  return explainFlow({ book: createBook({ policies }), world }, ends, flows[0]);
}

test('the way, the verdicts, what decided and what was asked before', () => {
  const { action, path, checks } = explain('shop/web', 'shop/db', [isolated, opening]);
  assert.equal(action, 'deny');
  assert.deepEqual(path, ['shop/web@a', 'node:a', 'node:b', 'shop/db@b']);
  assert.deepEqual(
    checks.map(({ endpoint, node, action, decided }) => [endpoint, node, action, showDecider(decided)]),
    [
      ['pod shop/web', 'a', 'allow', 'selected by no policy'],
      ['pod shop/db', 'b', 'deny', 'isolated by NetworkPolicy shop/db, db.yaml:2'],
    ],
  );
  assert.deepEqual(
    checks[1]?.trail.map(({ policy, outcome, origin }) => [policy, outcome, origin?.line]),
    [
      ['NetworkPolicy shop/db', 'no match', 9],
      [undefined, 'deny', undefined],
    ],
  );
  assert.deepEqual(checks[1]?.staged?.action, 'allow');
  assert.deepEqual(explain('default/solo', 'shop/web').path, ['default/solo@a', 'node:a', 'shop/web@a']);
  assert.deepEqual(explain('203.0.113.9', 'node:b').path, ['203.0.113.9', 'node:b']);
  assert.deepEqual(explain('kube/proxy', 'shop/db').checks[0]?.exempt, 'own-node');
});

const kernel: KernelSays = {
  node: 'b',
  intact: true,
  loadedProgramAgrees: true,
  enforces: true,
  audit: false,
  opinions: [{ direction: 'ingress', action: 'deny', entry: 'rest 4', packets: 3, bytes: 180 }],
};

test('a kernel that says something else is found out', () => {
  const explained = explain('shop/web', 'shop/db');
  const compare = (more: Partial<KernelSays>): [string, boolean][] =>
    compareKernel(explained, { ...kernel, ...more }).map((each) => [
      `${each.direction} ${each.kernel}`,
      each.agrees,
    ]);
  assert.deepEqual(compare({}), [['ingress deny', true]]);
  assert.deepEqual(compare({ opinions: [{ direction: 'ingress', action: 'allow' }] }), [
    ['ingress allow', false],
  ]);
  assert.deepEqual(compare({ opinions: [] }), [['ingress absent', false]]);
  // Nobody selects the sender: no rules are right there.
  assert.deepEqual(compare({ node: 'a', opinions: [] }), [['egress absent', true]]);
  assert.deepEqual(compare({ node: 'a', opinions: [{ direction: 'egress', action: 'deny' }] }), [
    ['egress deny', false],
  ]);
  assert.deepEqual(compare({ enforces: false }), []);
});

test('explanations are what evaluate says, and what decided has the outcome', () => {
  const cases = worldOf.chain((world) =>
    fc.record({ world: fc.constant(world), sketch: bookSketches, flow: flowsIn(world) }),
  );
  let isolations = 0;
  fc.assert(
    fc.property(cases, ({ world, sketch, flow }) => {
      const book = bookOf(sketch);
      const ends = [flow.source, flow.destination].map((at) => findEnd(world, at)) as [End, End];
      const { action, checks } = explainFlow({ book, world }, ends, flow);
      const verdict = evaluate(book, world, flow);
      assert.equal(action, verdict.action);
      for (const [index, { decided, action, trail, node, endpoint }] of checks.entries()) {
        assert.deepEqual(trail, verdict.checks[index]?.trail);
        assert.ok(world.nodes.has(node), `${endpoint} is on ${node}`);
        if (decided.isolatedBy === undefined) continue;
        isolations += 1;
        assert.equal(action, 'deny');
        for (const { policy } of decided.isolatedBy)
          assert.ok(
            book.enforced.some(({ policies }) =>
              policies.some(({ kind, name }) => `${kind} ${name}` === policy),
            ),
          );
      }
    }),
    { numRuns: 200, endOnFailure: true },
  );
  assert.ok(isolations > 5, `only ${isolations}`);
});
