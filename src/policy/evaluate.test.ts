/** What the Kubernetes kinds cannot say: tiers, log, staged policies, profiles, other sets of peers and traffic. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '#model/fault.ts';
import type { Policy, Rule, Selector, Tier, TrafficSet } from '#model/policy.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { createBook } from './book.ts';
import { evaluate } from './evaluate.ts';
import { makePolicy, makeRule } from './testing/rules.ts';
import { makeFlow, makeWorld, traffic } from './testing/world.ts';

const WORLD = makeWorld({
  pods: [
    { name: 'shop/web', labels: { app: 'web-front', tier: 'x' }, account: 'front', node: 'a' },
    { name: 'shop/db', labels: { app: 'db' }, node: 'b', ports: [{ name: 'sql', protocol: 6, port: 5432 }] },
    { name: 'ops/probe', node: 'a', ports: [{ name: 'out', protocol: 6, port: 40_000 }] },
  ],
  accounts: { 'shop/front': { trust: 'low' } },
  nodes: { a: { zone: 'one' }, b: { zone: 'two' } },
  others: [
    {
      kind: 'network-set',
      namespace: 'shop',
      name: 'partners',
      labels: { who: 'partner' },
      prefixes: [prefix('203.0.113.0/24')],
    },
  ],
  services: new Map([['shop/db', [{ address: address('10.244.0.2'), protocol: 6, port: 5432 }]]]),
  names: new Map([['*.example.org', new Set([address('198.51.100.7')])]]),
});

const TIER: Tier = { name: 'team', order: 500_000, defaultAction: 'deny' };
const PASSING: Tier = { ...TIER, defaultAction: 'pass' };

function judge(policies: readonly Policy[], tiers: readonly Tier[] = [TIER]) {
  const book = createBook({ policies, tiers });
  return evaluate(book, WORLD, makeFlow(WORLD, ['shop/web', 'shop/db'], 'tcp/5432'));
}
const outcomes = (policies: readonly Policy[], tiers?: readonly Tier[]): string[] =>
  judge(policies, tiers).checks.flatMap(({ trail }) =>
    trail.map(({ tier, outcome }) => `${tier} ${outcome}`),
  );

const inTeam = (name: string, ...ingress: readonly Rule[]): Policy =>
  makePolicy({ name, tier: 'team', isolates: { ingress: true, egress: false }, ingress });
const inDefault = (name: string, ...ingress: readonly Rule[]): Policy => ({
  ...inTeam(name, ...ingress),
  tier: 'default',
});
const NEVER = makeRule('allow', { traffic: [{ kind: 'protocol', protocol: 17 }] });

test('pass leaves the tier, whatever its default, and the next tier decides', () => {
  const passing = inTeam('a', makeRule('pass'), makeRule('deny'));
  assert.deepEqual(outcomes([passing]), ['team pass']);
  assert.equal(judge([passing]).action, 'allow');
  const next = inDefault('b', makeRule('deny'));
  assert.deepEqual(outcomes([next, passing, inTeam('z', makeRule('deny'))]), ['team pass', 'default deny']);
});

test('a tier denies by default what its policies isolate and do not decide', () => {
  assert.deepEqual(outcomes([inTeam('a', NEVER)]), ['team no match', 'team deny']);
  assert.deepEqual(outcomes([inTeam('a')]), ['team deny'], 'isolation needs no rules');
  const passing = outcomes([inTeam('a', NEVER), inDefault('b', makeRule('allow'))], [PASSING]);
  assert.deepEqual(passing, ['team no match', 'team pass', 'default allow']);
  assert.deepEqual(
    outcomes([makePolicy({ tier: 'team', ingress: [NEVER] })]),
    ['team no match'],
    'not isolating',
  );
  const others = { ...inTeam('a'), subjects: { op: 'or', of: [] } as const };
  assert.deepEqual(outcomes([others]), [], 'selects nobody');
});

test('tiers by order then name, policies by order then name then namespace then kind, rules as written', () => {
  const allow = makeRule('allow');
  const tiers = [
    TIER,
    { ...TIER, name: 'early' },
    { ...TIER, name: 'last', order: Infinity },
    { ...TIER, name: 'also-last', order: Infinity },
  ];
  const policies = [
    makePolicy({ name: 'x', tier: 'last', ingress: [makeRule('deny')] }),
    makePolicy({ name: 'y', tier: 'also-last', ingress: [makeRule('pass')] }),
    makePolicy({ name: 'c', tier: 'team', ingress: [NEVER, makeRule('pass')] }),
    makePolicy({ name: 'x/b', tier: 'team', order: 5, ingress: [NEVER] }),
    makePolicy({ name: 'b', tier: 'team', kind: 'Z', order: 5, ingress: [NEVER] }),
    makePolicy({ name: 'b', tier: 'team', order: 5, ingress: [NEVER] }),
    makePolicy({ name: 'z/a', tier: 'team', order: 5, ingress: [NEVER] }),
    makePolicy({ name: 'z', tier: 'early', order: 99, ingress: [makeRule('pass'), allow] }),
  ];
  const names = createBook({ policies, tiers }).enforced.flatMap((each) =>
    each.policies.map(({ kind, name }) => (kind === 'Z' ? `Z ${name}` : name)),
  );
  assert.deepEqual(names, ['z', 'z/a', 'b', 'Z b', 'x/b', 'c', 'y', 'x']);
  assert.deepEqual(outcomes(policies, tiers), [
    'early pass',
    ...Array.from({ length: 5 }, () => 'team no match'),
    'team pass',
    'also-last pass',
    'last deny',
  ]);
});

test('log only tells; redirect allows', () => {
  assert.deepEqual(outcomes([inTeam('a', makeRule('log'), makeRule('deny'))]), ['team log', 'team deny']);
  assert.equal(judge([inTeam('a', makeRule('log'))]).action, 'deny');
  assert.equal(judge([inTeam('a', makeRule('redirect'), makeRule('deny'))]).action, 'allow');
});

test('staged policies change nothing and tell what they would change', () => {
  const staged = (policy: Policy, how: 'set' | 'delete' = 'set'): Policy => ({ ...policy, staged: how });
  const [, ingress] = judge([staged(inTeam('a', makeRule('deny')))]).checks;
  assert.deepEqual([ingress?.action, ingress?.trail, ingress?.pending?.action], ['allow', [], 'deny']);
  assert.equal(ingress?.pending?.trail[0]?.policy, 'Policy a');
  const deny = inTeam('a', makeRule('deny'));
  const replaced = judge([deny, staged(inTeam('a', makeRule('allow')))]).checks[1];
  assert.deepEqual([replaced?.action, replaced?.pending?.action], ['deny', 'allow']);
  const removed = judge([deny, staged(inTeam('a'), 'delete')]).checks[1];
  assert.deepEqual([removed?.action, removed?.pending?.action], ['deny', 'allow']);
  assert.equal(
    judge([deny, staged(inTeam('b', makeRule('deny')))]).checks[1]?.pending,
    undefined,
    'no difference',
  );
});

test('profiles come after all tiers: the first that decides, and no in the end', () => {
  const at = (profiles: readonly string[] | undefined, ...policies: readonly Policy[]) => {
    const world = makeWorld({
      pods: [{ name: 'a/x' }, { name: 'a/y', ...(profiles === undefined ? {} : { profiles }) }],
    });
    const some = (name: string, ...ingress: readonly Rule[]) => ({ name, ingress, egress: [] });
    const book = createBook({
      policies,
      tiers: [TIER],
      profiles: [some('yes', makeRule('allow')), some('no', makeRule('deny')), some('empty', NEVER)],
    });
    const { action, checks } = evaluate(book, world, makeFlow(world, ['a/x', 'a/y'], 'tcp/1'));
    return `${action} ${checks[1]?.trail.map(({ tier, outcome }) => `${tier} ${outcome}`).join(', ')}`;
  };
  assert.equal(at(undefined), 'allow ');
  assert.equal(at(['yes']), 'allow profiles allow');
  assert.equal(at(['empty', 'yes', 'no']), 'allow profiles no match, profiles allow');
  assert.equal(at(['empty', 'no', 'yes']), 'deny profiles no match, profiles deny');
  assert.equal(at(['empty']), 'deny profiles no match, profiles deny');
  assert.equal(at([]), 'deny profiles deny');
  assert.equal(at(['missing', 'yes']), 'deny profiles deny');
  assert.equal(at(['no'], inTeam('p', makeRule('allow'))), 'allow team allow');
  assert.equal(at(['yes'], inTeam('p', makeRule('pass'))), 'allow team pass, profiles allow');
});

/** Whether one rule with this would match shop/web → shop/db, TCP 40000 → 5432. */
function matches(
  rule: Parameters<typeof makeRule>[1],
  kind = 'tcp/5432',
  from = 'shop/web',
  to = 'shop/db',
): boolean {
  const policy = makePolicy({
    tier: 'team',
    ingress: [makeRule('deny', rule)],
    egress: [makeRule('deny', rule)],
  });
  return (
    evaluate(createBook({ policies: [policy], tiers: [TIER] }), WORLD, makeFlow(WORLD, [from, to], kind))
      .action === 'deny'
  );
}

const own = (op: 'contains' | 'starts' | 'ends', value: string): Selector => ({
  op,
  scope: 'own',
  key: 'app',
  value,
});
const is = (
  scope: 'namespace' | 'account' | 'fact' | 'own',
  key: string,
  ...values: readonly string[]
): Selector => ({
  op: 'in',
  scope,
  key,
  values,
});

test('every operator and scope of selectors', () => {
  const selects = (selector: Selector): boolean => matches({ source: [{ kind: 'endpoints', selector }] });
  const rows: readonly (readonly [Selector, boolean])[] = [
    [own('contains', 'b-f'), true],
    [own('contains', 'bf'), false],
    [own('starts', 'web'), true],
    [own('starts', 'front'), false],
    [own('ends', 'front'), true],
    [own('ends', 'web'), false],
    [{ op: 'has', scope: 'own', key: 'tier' }, true],
    [{ op: 'has', scope: 'own', key: 'toString' }, false],
    [{ op: 'not', of: is('own', 'absent', 'x') }, true],
    [{ op: 'or', of: [is('own', 'app', 'x'), is('own', 'tier', 'x')] }, true],
    [{ op: 'or', of: [] }, false],
    [{ op: 'and', of: [] }, true],
    [{ op: 'and', of: [is('own', 'tier', 'x'), is('own', 'app', 'x')] }, false],
    [is('account', 'trust', 'low'), true],
    [is('namespace', 'kubernetes.io/metadata.name', 'shop'), true],
    [is('own', 'kubernetes.io/metadata.name', 'shop'), false],
    [is('fact', 'kind', 'pod'), true],
    [is('fact', 'namespace', 'ops', 'shop'), true],
    [is('fact', 'account', 'front'), true],
    [is('fact', 'node', 'a'), true],
    [is('fact', 'name', 'db'), false],
  ];
  for (const [selector, expected] of rows)
    assert.equal(selects(selector), expected, JSON.stringify(selector));
});

test('every kind of peer set', () => {
  const service = { kind: 'service', namespace: 'shop', name: 'db' } as const;
  assert.ok(matches({ destination: [service] }));
  assert.ok(!matches({ destination: [service] }, 'tcp/5433'), 'ports of the backends');
  assert.ok(!matches({ destination: [service] }, 'udp/5432'));
  assert.ok(matches({ source: [service] }, 'tcp/80', 'shop/db', 'shop/web'), 'as source, addresses alone');
  const partners = [{ kind: 'endpoints', selector: is('own', 'who', 'partner') }] as const;
  assert.ok(matches({ source: partners }, 'tcp/1', '203.0.113.200'));
  assert.ok(!matches({ source: partners }, 'tcp/1', '203.0.114.1'));
  const names = [{ kind: 'names', names: ['example.org', '*.example.org'] }] as const;
  assert.ok(matches({ destination: names }, 'tcp/1', 'shop/web', '198.51.100.7'));
  assert.ok(!matches({ destination: names }, 'tcp/1', 'shop/web', '198.51.100.8'));
  const zone = [{ kind: 'nodes', selector: is('own', 'zone', 'two') }] as const;
  assert.ok(matches({ destination: zone }, 'tcp/1', 'shop/web', 'node b'));
  assert.ok(!matches({ destination: zone }, 'tcp/1', 'shop/web', 'node a'));
  for (const [place, entity] of [
    ['node a', 'own-node'],
    ['node b', 'cluster'],
    ['shop/db', 'cluster'],
    ['192.0.2.99', 'world'],
  ] as const) {
    for (const each of ['own-node', 'cluster', 'world'] as const) {
      const expected = each === entity || (each === 'cluster' && entity === 'own-node');
      assert.equal(
        matches({ destination: [{ kind: 'entity', entity: each }] }, 'tcp/1', 'shop/web', place),
        expected,
      );
    }
  }
});

test('every kind of traffic set', () => {
  const rows: readonly (readonly [TrafficSet, string, boolean])[] = [
    [{ kind: 'family', family: 4 }, 'tcp/1', true],
    [{ kind: 'family', family: 6 }, 'tcp/1', false],
    [{ kind: 'protocol', protocol: 47 }, '47', true],
    [{ kind: 'ports', end: 'source', ranges: [{ from: 40_000, to: 40_000 }] }, 'udp/1', true],
    [{ kind: 'ports', end: 'destination', protocol: 17, ranges: [{ from: 1, to: 2 }] }, 'tcp/1', false],
    [{ kind: 'ports', end: 'destination', ranges: [{ from: 1, to: 65_535 }] }, 'icmp', false],
    [{ kind: 'named-port', end: 'destination', name: 'sql' }, 'tcp/5432', true],
    [{ kind: 'named-port', end: 'destination', name: 'sql' }, 'udp/5432', false],
    [{ kind: 'named-port', end: 'destination', protocol: 17, name: 'sql' }, 'tcp/5432', false],
    [{ kind: 'named-port', end: 'source', name: 'sql' }, 'tcp/5432', false],
    [{ kind: 'icmp', family: 4 }, 'icmp', true],
    [{ kind: 'icmp', family: 4, type: 8, code: 0 }, 'icmp', true],
    [{ kind: 'icmp', family: 4, type: 8, code: 1 }, 'icmp', false],
    [{ kind: 'icmp', family: 4, type: 0 }, 'icmp', false],
    [{ kind: 'icmp', family: 6 }, 'icmp', false],
  ];
  for (const [set, kind, expected] of rows)
    assert.equal(matches({ traffic: [set] }, kind), expected, JSON.stringify(set));
  const out = [{ kind: 'named-port', end: 'source', name: 'out' }] as const;
  assert.ok(matches({ traffic: out }, 'tcp/5432', 'ops/probe'));
  assert.deepEqual(traffic('icmp', 6), { protocol: 58, icmp: { type: 128, code: 0 } });
});

test('clauses hold together, sets of a clause one by one, and not turns a clause round', () => {
  const tcp = { kind: 'protocol', protocol: 6 } as const;
  const udp = { kind: 'protocol', protocol: 17 } as const;
  const clauses = (...traffic: Rule['traffic']): boolean => {
    const rule = { ...makeRule('deny'), traffic };
    return judge([inTeam('a', rule, makeRule('allow'))]).action === 'deny';
  };
  assert.ok(clauses({ anyOf: [udp, tcp] }));
  assert.ok(!clauses({ anyOf: [udp] }, { anyOf: [tcp] }));
  assert.ok(clauses({ anyOf: [udp], not: true }, { anyOf: [tcp] }));
  assert.ok(!clauses({ anyOf: [udp, tcp], not: true }));
  assert.ok(!clauses({ anyOf: [] }));
});

test('a book tells of tiers that are missing and policies that are there twice', () => {
  const origin = (source: string) => ({ source, line: 3, path: 'spec' });
  const policies = [
    makePolicy({ name: 'a', tier: 'none', origin: origin('x.yaml') }),
    makePolicy({ name: 'b', origin: origin('y.yaml') }),
    makePolicy({ name: 'b', origin: origin('z.yaml') }),
    makePolicy({ name: 'b', origin: origin('s.yaml'), staged: 'set' }),
  ];
  assert.throws(
    () => createBook({ policies }),
    (error) => {
      assert.ok(error instanceof Fault && error.code === 'policy-invalid');
      assert.deepEqual(error.details.split('\n'), [
        'x.yaml:3 spec: there is no tier none',
        'z.yaml:3 spec: Policy b is also in y.yaml:3 spec',
      ]);
      return true;
    },
  );
});
