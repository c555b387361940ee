/** Host endpoints: the rows of Calico's table of default behaviour that are about them, and the order of their parts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostScope, Policy, Rule } from '#model/policy.ts';
import type { Crossing, Flow } from '#model/verdict.ts';
import type { HostEndpoint, PolicyWorld } from '#model/workload.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { createBook } from './book.ts';
import { evaluate } from './evaluate.ts';
import { makePolicy, makeRule } from './testing/rules.ts';
import { hostEndpoint, makeFlow, makeWorld } from './testing/world.ts';

const ETH0 = hostEndpoint('eth0-a');
const ALL = hostEndpoint('all-a', { interface: '*' });
const FAILSAFE: PolicyWorld['failsafe'] = {
  ingress: [{ protocol: 6, ports: { from: 22, to: 22 }, prefix: prefix('203.0.113.0/24') }],
  egress: [{ protocol: 17, ports: { from: 53, to: 53 } }],
};
const world = (...others: readonly HostEndpoint[]): PolicyWorld =>
  makeWorld({
    pods: [
      { name: 'shop/web', node: 'a' },
      { name: 'shop/db', node: 'b' },
    ],
    others,
    failsafe: FAILSAFE,
  });

const HOSTS = { op: 'in', scope: 'fact', key: 'kind', values: ['host'] } as const;
const policy = (host: HostScope, ...ingress: readonly Rule[]): Policy =>
  makePolicy({ name: host, host, subjects: HOSTS, isolates: { ingress: true, egress: false }, ingress });
const allow = makeRule('allow');
const deny = makeRule('deny');
const never = makeRule('allow', { traffic: [{ kind: 'protocol', protocol: 132 }] });

type Case = {
  readonly from?: string;
  readonly to?: string;
  readonly kind?: string;
  readonly more?: Partial<Flow>;
};

function judge(endpoints: readonly HostEndpoint[], policies: readonly Policy[], given: Case = {}): string {
  const there = world(...endpoints);
  const { from = '203.0.113.9', to = 'node a', kind = 'tcp/80', more = {} } = given;
  const { action, checks } = evaluate(createBook({ policies }), there, {
    ...makeFlow(there, [from, to], kind),
    ...more,
  });
  const host = checks.find(({ endpoint }) => endpoint.startsWith('host'));
  return [action, host?.exempt ?? host?.scope].filter((word) => word !== undefined).join(' ');
}
const crossing = (given: Partial<Crossing> = {}): Case => ({
  to: 'shop/web',
  more: { crossings: [{ node: 'a', interface: 'eth0', direction: 'ingress', forwarded: true, ...given }] },
});

test('host without HostEndpoint: untouched', () => {
  assert.equal(judge([], [policy('local', deny)]), 'allow');
  assert.equal(judge([hostEndpoint('other', { node: 'b' })], [policy('local', deny)]), 'allow');
});

test('host endpoint, no policy, no profile: dropped except failsafe; forwarded traffic allowed', () => {
  assert.equal(judge([ETH0], []), 'deny local');
  assert.equal(judge([ETH0], [], { from: 'node a', to: '203.0.113.9' }), 'deny local');
  assert.equal(judge([ETH0], [], { kind: 'tcp/22' }), 'allow failsafe');
  assert.equal(judge([ETH0], [], { kind: 'tcp/22', from: '198.51.100.1' }), 'deny local');
  assert.equal(judge([ETH0], [], { kind: 'udp/53', from: 'node a', to: '203.0.113.9' }), 'allow failsafe');
  assert.equal(judge([ETH0], [], { kind: 'udp/53' }), 'deny local');
  assert.equal(judge([ETH0], [], crossing()), 'allow forward');
});

test('profiles of a host endpoint are for local traffic', () => {
  const book = createBook({ policies: [], profiles: [{ name: 'yes', ingress: [allow], egress: [] }] });
  const there = world({ ...ETH0, profiles: ['yes'] });
  assert.equal(evaluate(book, there, makeFlow(there, ['203.0.113.9', 'node a'], 'tcp/1')).action, 'allow');
});

test('only policies without applyOnForward: forwarded traffic allowed', () => {
  assert.equal(judge([ETH0], [policy('local', deny)], crossing()), 'allow forward');
  assert.equal(judge([ETH0], [policy('local', deny)]), 'deny local');
});

test('applyOnForward policy in one direction: that direction denies forwarded traffic by default, and local', () => {
  assert.equal(judge([ETH0], [policy('forward', never)], crossing()), 'deny forward');
  assert.equal(judge([ETH0], [policy('forward', never)], crossing({ direction: 'egress' })), 'allow forward');
  assert.equal(judge([ETH0], [policy('forward', allow)], crossing()), 'allow forward');
  assert.equal(judge([ETH0], [policy('forward', allow)]), 'allow local');
  assert.equal(judge([ETH0], [], crossing({ interface: 'eth1' })), 'allow');
});

test('failsafe ports do not open forwarded traffic', () => {
  assert.equal(judge([ETH0], [policy('forward', deny)], { ...crossing(), kind: 'tcp/22' }), 'deny forward');
  assert.equal(
    judge([ETH0], [policy('untracked', deny)], { ...crossing(), kind: 'tcp/22' }),
    'allow forward',
  );
});

test('untracked, then pre-DNAT, then the rest; the first two never deny by default', () => {
  const early = [policy('untracked', never), policy('pre-dnat', never)];
  assert.equal(judge([ETH0], [...early, policy('local', allow)]), 'allow local');
  assert.equal(judge([ETH0], [policy('untracked', allow), policy('pre-dnat', deny)]), 'allow untracked');
  assert.equal(
    judge([ETH0], [policy('untracked', never), policy('pre-dnat', deny), policy('local', allow)]),
    'deny pre-dnat',
  );
  assert.equal(
    judge([ETH0], [policy('pre-dnat', allow), policy('forward', deny)], crossing()),
    'allow pre-dnat',
  );
  const out = crossing({ direction: 'egress' });
  const both = makePolicy({ name: 'b', host: 'pre-dnat', subjects: HOSTS, ingress: [deny], egress: [deny] });
  assert.equal(judge([ETH0], [both], out), 'allow forward', 'pre-DNAT is ingress only');
});

test('untracked policy is not asked of what leaves forwarded, nor of answers of failsafe ports', () => {
  const both = makePolicy({ name: 'u', host: 'untracked', subjects: HOSTS, ingress: [deny], egress: [deny] });
  assert.equal(judge([ETH0], [both], crossing({ direction: 'egress' })), 'allow forward');
  assert.equal(judge([ETH0], [both], crossing()), 'deny untracked');
  const answer = (sourcePort: number, to = '203.0.113.9'): Case => ({
    from: 'node a',
    to,
    kind: 'tcp/40001',
    more: { sourcePort },
  });
  assert.equal(judge([ETH0], [both], answer(22)), 'deny local', 'left to who knows connections');
  assert.equal(judge([ETH0], [both], answer(22, '198.51.100.1')), 'deny untracked');
  assert.equal(judge([ETH0], [both], answer(23)), 'deny untracked');
});

test('a failsafe port that DNAT leads to is open when earlier policy left the flow alone', () => {
  const before = { destination: address('192.0.2.1'), destinationPort: 2022 };
  const login: Case = { kind: 'tcp/22', more: { before } };
  assert.equal(judge([ETH0], [], login), 'allow failsafe');
  assert.equal(judge([ETH0], [policy('pre-dnat', deny)], login), 'deny pre-dnat');
});

test('pre-DNAT policy sees the destination before it is rewritten, the others after', () => {
  const to = (text: string): Rule =>
    makeRule('deny', { destination: [{ kind: 'prefixes', prefixes: [prefix(text)], except: [] }] });
  const through = crossing();
  const before = { destination: address('192.0.2.1'), destinationPort: 30_080 };
  const given = { ...through, more: { ...through.more, before } };
  assert.equal(judge([ETH0], [policy('pre-dnat', to('192.0.2.1/32'))], given), 'deny pre-dnat');
  assert.equal(judge([ETH0], [policy('pre-dnat', to('10.244.0.0/16'))], given), 'allow forward');
  assert.equal(judge([ETH0], [policy('forward', to('10.244.0.0/16'))], given), 'deny forward');
});

test('a * endpoint is for interfaces without their own, has no untracked policy, and the first by name wins', () => {
  assert.equal(judge([ALL], [policy('untracked', deny), policy('local', allow)]), 'allow local');
  assert.equal(judge([ALL, ETH0], [policy('untracked', deny)]), 'deny untracked');
  assert.equal(
    judge([ALL], [policy('forward', deny)], crossing({ interface: 'cali1', toPod: true })),
    'deny forward',
  );
  for (const endpoint of [ALL, hostEndpoint('cali1-a', { interface: 'cali1' })]) {
    const own = crossing({ interface: 'cali1', toPod: true, forwarded: false });
    assert.equal(judge([endpoint], [], own), 'allow local');
  }
  const second = hostEndpoint('zz', { labels: { x: 'y' } });
  const named = {
    ...policy('local', deny),
    subjects: { op: 'in', scope: 'fact', key: 'name', values: ['zz'] } as const,
  };
  assert.equal(judge([second, ETH0], [named, policy('forward', allow)]), 'allow local');
});

test('host → own pod and pod → own host: normal policy of the host endpoint is not asked', () => {
  assert.equal(judge([ETH0, ALL], [policy('local', deny)], { from: 'shop/web' }), 'allow');
  assert.equal(judge([ETH0, ALL], [policy('local', deny)], { from: 'node a', to: 'shop/web' }), 'allow');
  assert.equal(judge([ETH0], [policy('local', deny)], { from: 'shop/db' }), 'deny local');
  assert.equal(judge([ETH0], [policy('local', deny)], { from: 'node a', to: 'node a' }), 'allow');
});

test('pods see policies for local and for forwarded traffic alike, and no early ones', () => {
  const open = (host: HostScope): string =>
    judge([], [makePolicy({ host, ingress: [deny] })], { to: 'shop/web' });
  assert.deepEqual(
    [open('local'), open('forward'), open('untracked'), open('pre-dnat')],
    ['deny', 'deny', 'allow', 'allow'],
  );
});

test('staged policies of hosts are told of', () => {
  const there = world(ETH0);
  const book = createBook({ policies: [{ ...policy('local', allow), staged: 'set' }] });
  const { checks } = evaluate(book, there, makeFlow(there, ['203.0.113.9', 'node a'], 'tcp/80'));
  assert.deepEqual([checks[0]?.action, checks[0]?.pending?.action], ['deny', 'allow']);
});
