import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Describer } from './describe.ts';
import type { LoggedPacket } from '#kernel/nflog.ts';
import type { FlowFacts } from '#model/flow-event.ts';
import { formatDenial, parseLogPrefix } from '#model/policy-log.ts';
import type { Policy, RuleBook } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import { address } from '#net/address.ts';
import { createBook } from '#policy/book.ts';
import { compile } from '#policy/compile/compiler.ts';
import { EVERYTHING, type Selector } from '#model/policy.ts';
import { makePolicy, makeRule } from '#policy/testing/rules.ts';
import { hostEndpoint, makeFlow, makeWorld } from '#policy/testing/world.ts';

const world = makeWorld({
  pods: [
    { name: 'shop/a', node: 'a' },
    { name: 'shop/b', node: 'a' },
    { name: 'bank/c', node: 'a' },
    { name: 'shop/hosted', node: 'b', hostNetwork: true },
  ],
  others: [hostEndpoint('eth0-a', { interface: 'eth0' })],
});
const inNamespace = (namespace: string): Selector => ({
  op: 'in',
  scope: 'fact',
  key: 'namespace',
  values: [namespace],
});
const closed = makePolicy({
  kind: 'NetworkPolicy',
  name: 'shop/closed',
  subjects: inNamespace('shop'),
  isolates: { ingress: true, egress: true },
});
const from = (policies: readonly Policy[]): { describer: Describer; book: RuleBook; log: string } => {
  const book = createBook({ policies });
  const enforced = compile(book, world, { node: 'a' });
  const staged = book.pending && compile({ ...book, enforced: book.pending }, world, { node: 'a' });
  const view = (): { book: RuleBook; world: typeof world } => ({ book, world });
  const describer = new Describer({
    node: 'a',
    view,
    programs: { enforced: () => enforced, staged: () => staged },
  });
  return { describer, book, log: [...enforced.logs.keys()][0] ?? '' };
};
type Place = Pick<LoggedPacket, 'hook' | 'input' | 'output'>;
const FORWARDED: Place = { hook: 'forward', input: 'tt0', output: 'tt1' };
// eslint-disable-next-line max-params
function describe(
  { describer }: ReturnType<typeof from>,
  flow: Flow,
  prefix: string,
  place: Place = FORWARDED,
): FlowFacts {
  const mark = parseLogPrefix(prefix);
  assert.ok(mark !== undefined);
  return describer.describe({ flow, prefix, bytes: 60, ...place }, mark);
}
const denied = (direction: 'ingress' | 'egress'): string => formatDenial({ kind: 'denied', direction });

test('both ends, and the policies for which the default denies', () => {
  const flow = makeFlow(world, ['shop/a', 'bank/c'], 'tcp/80');
  assert.deepEqual(describe(from([closed]), flow, denied('egress')), {
    verdict: 'denied',
    direction: 'egress',
    tier: 'default',
    isolatedBy: ['NetworkPolicy shop/closed'],
    protocol: 6,
    source: { kind: 'pod', name: 'shop/a', address: '10.244.0.1', port: 40_000 },
    destination: { kind: 'pod', name: 'bank/c', address: '10.244.0.3', port: 80 },
    input: 'tt0',
    output: 'tt1',
  });
});

test('the rule that denies, with its place, at the end that is told, also where both deny', () => {
  const rule = (line: number) => ({
    ...makeRule('deny'),
    name: `rule ${line}`,
    origin: { source: 'web.yaml', line, path: 'spec.ingress.0' },
  });
  const policy = makePolicy({ ...closed, ingress: [rule(7)], egress: [rule(3)] });
  const flow = makeFlow(world, ['shop/a', 'shop/b'], 'icmp', 6);
  for (const [way, line] of [
    ['ingress', 7],
    ['egress', 3],
  ] as const) {
    const {
      policy: name,
      rule,
      origin,
      direction,
      icmp,
      isolatedBy,
    } = describe(from([policy]), flow, denied(way));
    assert.deepEqual(
      { name, rule, origin, direction, icmp, isolatedBy },
      {
        name: 'NetworkPolicy shop/closed',
        rule: `rule ${line}`,
        origin: `web.yaml:${line} spec.ingress.0`,
        direction: way,
        icmp: { type: 128, code: 0 },
        isolatedBy: undefined,
      },
    );
  }
});

test('whoever is no pod: nodes, pods of the host’s network, the rest of the world', () => {
  const kindOf = (end: string) => {
    const { source } = describe(
      from([closed]),
      makeFlow(world, [end, 'shop/b'], 'udp/53'),
      denied('ingress'),
    );
    return [source.kind, source.name];
  };
  assert.deepEqual(kindOf('node b'), ['node', 'b']);
  assert.deepEqual(kindOf('shop/hosted'), ['node', 'b']);
  assert.deepEqual(kindOf('203.0.113.7'), ['outside', undefined]);
});

test('of a chain of a program: the end and the rule are found by asking again', () => {
  const ports = { kind: 'ports', end: 'source', ranges: [{ from: 40_000, to: 40_000 }] } as const;
  const policy = makePolicy({
    ...closed,
    isolates: { ingress: true, egress: false },
    ingress: [makeRule('deny', { traffic: [ports] }), makeRule('allow')],
  });
  const flow = makeFlow(world, ['bank/c', 'shop/b'], 'tcp/80');
  const told = describe(from([policy]), flow, formatDenial({ kind: 'denied' }));
  assert.deepEqual([told.direction, told.policy], ['ingress', 'NetworkPolicy shop/closed']);
});

test('policies that are others by now are not blamed', () => {
  const told = describe(from([]), makeFlow(world, ['shop/a', 'shop/b'], 'tcp/80'), denied('egress'));
  assert.deepEqual([told.direction, told.tier, told.policy], ['egress', undefined, undefined]);
});

test('staged: what would deny, and beside what is denied what would become of it', () => {
  const staged: Policy = { ...closed, staged: 'set' };
  const flow = makeFlow(world, ['shop/a', 'bank/c'], 'tcp/80');
  const told = describe(from([staged]), flow, formatDenial({ kind: 'staged', direction: 'egress' }));
  assert.deepEqual(
    [told.verdict, told.staged, told.isolatedBy],
    ['staged', 'deny', ['NetworkPolicy shop/closed']],
  );
  const opened = from([closed, { ...closed, staged: 'delete' }]);
  assert.equal(describe(opened, flow, denied('egress')).staged, 'allow');
});

test('what a rule logs is told by the rule, and what it was before DNAT', () => {
  const open = from([makePolicy({ ...closed, egress: [makeRule('log'), makeRule('allow')] })]);
  const before = { destination: address('10.96.0.10'), destinationPort: 80 };
  const flow = { ...makeFlow(world, ['shop/a', 'bank/c'], 'tcp/8080'), before };
  const told = describe(open, flow, open.log);
  assert.deepEqual(
    [told.verdict, told.policy, told.before],
    ['logged', 'NetworkPolicy shop/closed', { address: '10.96.0.10', port: 80 }],
  );
});

test('policies of other namespaces and of everybody are asked by what they select', () => {
  const others = [
    makePolicy({ ...closed, name: 'bank/closed', subjects: inNamespace('bank') }),
    makePolicy({ ...closed, kind: 'GlobalNetworkPolicy', name: 'all', subjects: EVERYTHING }),
    makePolicy({ ...closed, name: 'shop/ingress-only', isolates: { ingress: true, egress: false } }),
  ];
  const flow = makeFlow(world, ['shop/a', 'bank/c'], 'tcp/80');
  const told = describe(from([closed, ...others]), flow, denied('egress'));
  assert.deepEqual(told.isolatedBy?.toSorted(), ['GlobalNetworkPolicy all', 'NetworkPolicy shop/closed']);
});

test('of the host itself: by which interface, and not by which policies of pods', () => {
  const host = makePolicy({
    ...closed,
    kind: 'GlobalNetworkPolicy',
    name: 'hosts',
    subjects: { op: 'in', scope: 'fact', key: 'kind', values: ['host'] },
    ingress: [makeRule('deny')],
  });
  const flow = makeFlow(world, ['203.0.113.7', 'node a'], 'tcp/8080');
  const told = describe(from([closed, host]), flow, denied('ingress'), { hook: 'input', input: 'eth0' });
  assert.deepEqual(
    [told.at, told.policy, told.destination.kind, told.isolatedBy],
    ['eth0', 'GlobalNetworkPolicy hosts', 'node', undefined],
  );
});
