/** ClusterNetworkPolicy, AdminNetworkPolicy and BaselineAdminNetworkPolicy: what the API types promise of each field. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { address } from '#net/address.ts';
import { createBook } from './book.ts';
import { evaluate } from './evaluate.ts';
import { parseObjects } from './frontends/index.ts';
import { makeFlow, makeWorld } from './testing/world.ts';

const WORLD = makeWorld({
  namespaces: { prod: { env: 'prod' }, dev: { env: 'dev' } },
  nodes: { a: { zone: 'one' }, b: { zone: 'two' } },
  pods: [
    { name: 'prod/web', labels: { app: 'web' }, ports: [{ name: 'http', protocol: 6, port: 8080 }] },
    { name: 'prod/db', labels: { app: 'db' }, ports: [{ name: 'http', protocol: 6, port: 9090 }] },
    { name: 'dev/web', labels: { app: 'web' }, ports: [{ name: 'http', protocol: 17, port: 8080 }] },
    { name: 'dev/host', labels: { app: 'web' }, hostNetwork: true, node: 'b' },
  ],
  names: new Map([['*.example.org', new Set([address('198.51.100.7')])]]),
});

type Rules = { readonly ingress?: string; readonly egress?: string };
const spec = (head: string, { ingress = '', egress = '' }: Rules): string =>
  `spec: {${head}${ingress && `, ingress: [${ingress}]`}${egress && `, egress: [${egress}]`}}\n---\n`;
const PROD = 'subject: {namespaces: {matchLabels: {env: prod}}}';

/** A ClusterNetworkPolicy on the pods of prod. */
const cnp = (tier: string, priority: number, rules: Rules, subject = PROD): string =>
  `apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: ${tier.toLowerCase()}-${priority}}\n` +
  spec(`tier: ${tier}, priority: ${priority}, ${subject}`, rules);
const anp = (priority: number, rules: Rules, subject = PROD): string =>
  `apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: anp-${priority}}\n` +
  spec(`priority: ${priority}, ${subject}`, rules);
const banp = (rules: Rules): string =>
  `apiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {name: default}\n` +
  spec(PROD, rules);
const np = (ingress: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: n, namespace: prod}\nspec: {podSelector: {}, ingress: [${ingress}]}\n---\n`;

const ALL = '{namespaces: {}}';
const from = (action: string, peer = ALL, more = ''): string => `{action: ${action}, from: [${peer}]${more}}`;
const to = (action: string, peer = ALL, more = ''): string => `{action: ${action}, to: [${peer}]${more}}`;

function ask(text: string, from: string, to: string, kind = 'tcp/80'): 'allow' | 'deny' {
  const { policies, problems } = parseObjects('test', text);
  assert.deepEqual(problems, []);
  return evaluate(createBook({ policies }), WORLD, makeFlow(WORLD, [from, to], kind)).action;
}
/** dev/web → prod/db, which every policy above selects. */
const inbound = (...texts: readonly string[]): string => ask(texts.join(''), 'dev/web', 'prod/db');

describe('tiers', () => {
  test('tier: Admin comes before NetworkPolicy, Baseline after; without decision all pods communicate', () => {
    assert.equal(inbound(cnp('Admin', 1, { ingress: from('Accept') }), np('')), 'allow');
    assert.equal(inbound(cnp('Admin', 1, { ingress: from('Deny') }), np('{}')), 'deny');
    assert.equal(inbound(cnp('Baseline', 1, { ingress: from('Accept') }), np('')), 'deny');
    assert.equal(inbound(cnp('Baseline', 1, { ingress: from('Deny') }), np('{}')), 'allow');
    assert.equal(inbound(cnp('Baseline', 1, { ingress: from('Deny') })), 'deny');
    assert.equal(
      inbound(cnp('Baseline', 1, { ingress: from('Deny', '{namespaces: {matchLabels: {no: one}}}') })),
      'allow',
    );
  });

  test('priority: lower values first; AdminNetworkPolicy and tier Admin share one order', () => {
    const allow = { ingress: from('Accept') };
    const deny = { ingress: from('Deny') };
    assert.equal(inbound(cnp('Admin', 2, allow), cnp('Admin', 10, deny)), 'allow');
    assert.equal(inbound(cnp('Admin', 20, allow), cnp('Admin', 10, deny)), 'deny');
    assert.equal(inbound(anp(5, { ingress: from('Allow') }), cnp('Admin', 10, deny)), 'allow');
    assert.equal(inbound(anp(15, { ingress: from('Allow') }), cnp('Admin', 10, deny)), 'deny');
    assert.equal(inbound(banp({ ingress: from('Allow') }), cnp('Baseline', 1000, deny)), 'deny');
  });

  test('action: Accept and Allow, Deny, and Pass which skips the rest of the tier', () => {
    assert.equal(inbound(cnp('Admin', 1, { ingress: `${from('Pass')}, ${from('Deny')}` })), 'allow');
    assert.equal(
      inbound(cnp('Admin', 1, { ingress: from('Pass') }), cnp('Admin', 2, { ingress: from('Deny') })),
      'allow',
    );
    assert.equal(inbound(cnp('Admin', 1, { ingress: from('Pass') }), np('')), 'deny');
    assert.equal(
      inbound(cnp('Admin', 1, { ingress: from('Pass') }), cnp('Baseline', 2, { ingress: from('Deny') })),
      'deny',
    );
    assert.equal(
      inbound(cnp('Baseline', 1, { ingress: from('Pass') }), banp({ ingress: from('Deny') })),
      'allow',
    );
    assert.equal(
      inbound(anp(1, { ingress: from('Pass') }), np(''), banp({ ingress: from('Allow') })),
      'deny',
    );
  });

  test('rules in the order in which they are written', () => {
    assert.equal(inbound(cnp('Admin', 1, { ingress: `${from('Deny')}, ${from('Accept')}` })), 'deny');
    assert.equal(inbound(cnp('Admin', 1, { ingress: `${from('Accept')}, ${from('Deny')}` })), 'allow');
  });

  test('policies with no rules of a direction do not affect it', () => {
    assert.equal(inbound(cnp('Admin', 1, {})), 'allow');
    assert.equal(inbound(cnp('Admin', 1, { egress: to('Deny') })), 'allow');
    assert.equal(ask(cnp('Admin', 1, { egress: to('Deny') }), 'prod/db', 'dev/web'), 'deny');
  });
});

describe('subjects and peers', () => {
  const pods =
    '{pods: {namespaceSelector: {matchLabels: {env: prod}}, podSelector: {matchLabels: {app: db}}}}';

  test('subject: pods by namespace, or by namespace and labels; host-network pods are not among them', () => {
    const text = cnp('Admin', 1, { ingress: from('Deny') }, `subject: ${pods}`);
    assert.equal(ask(text, 'dev/web', 'prod/db'), 'deny');
    assert.equal(ask(text, 'dev/web', 'prod/web'), 'allow');
    const all = cnp('Admin', 1, { ingress: from('Deny') }, 'subject: {namespaces: {}}');
    assert.equal(ask(all, 'prod/db', 'dev/web'), 'deny');
    assert.equal(ask(all, 'prod/db', 'dev/host'), 'allow');
  });

  test('pods without namespaceSelector: of all namespaces', () => {
    const web = '{pods: {podSelector: {matchLabels: {app: web}}}}';
    const text = cnp('Admin', 1, { ingress: from('Deny', web) }, `subject: ${web}`);
    assert.equal(ask(text, 'dev/web', 'prod/web'), 'deny');
    assert.equal(ask(text, 'prod/web', 'dev/web'), 'deny');
    assert.equal(ask(text, 'prod/db', 'dev/web'), 'allow');
    assert.equal(ask(text, 'dev/web', 'prod/db'), 'allow');
  });

  test('from: namespaces or pods; host-network pods and others are in neither', () => {
    const text = cnp('Admin', 1, { ingress: from('Deny') });
    assert.equal(ask(text, 'prod/web', 'prod/db'), 'deny');
    assert.equal(ask(text, 'node a', 'prod/db'), 'allow');
    assert.equal(ask(text, '203.0.113.1', 'prod/db'), 'allow');
    const some = cnp('Admin', 1, { ingress: from('Deny', pods) });
    assert.equal(ask(some, 'prod/db', 'prod/web'), 'deny');
    assert.equal(ask(some, 'dev/web', 'prod/web'), 'allow');
  });

  test('from: any element of the list', () => {
    const both = `${pods}, {namespaces: {matchLabels: {env: dev}}}`;
    assert.equal(ask(cnp('Admin', 1, { ingress: from('Deny', both) }), 'dev/web', 'prod/web'), 'deny');
  });

  test('nodes: the addresses of the nodes whose labels match, even the pod’s own', () => {
    const text = cnp('Admin', 1, { egress: to('Deny', '{nodes: {matchLabels: {zone: one}}}') });
    assert.equal(ask(text, 'prod/db', 'node a'), 'deny');
    assert.equal(ask(text, 'prod/web', 'node a'), 'deny');
    assert.equal(ask(text, 'prod/db', 'node b'), 'allow');
    const every = cnp('Admin', 1, { egress: to('Deny', '{nodes: {}}') });
    assert.equal(ask(every, 'prod/db', 'node b'), 'deny');
    assert.equal(ask(every, 'prod/db', '203.0.113.1'), 'allow');
  });

  test('networks: addresses of all kinds, pods included, and traffic without ports too', () => {
    const text = cnp('Admin', 1, { egress: to('Deny', '{networks: [10.0.0.0/8, "2001:db8::/32"]}') });
    assert.equal(ask(text, 'prod/db', 'dev/web'), 'deny');
    assert.equal(ask(text, 'prod/db', '10.1.1.1', 'icmp'), 'deny');
    assert.equal(ask(text, 'prod/db', '203.0.113.1'), 'allow');
  });

  test('domainNames: the addresses that were learned for them', () => {
    const text = cnp('Admin', 1, {
      egress: `${to('Accept', '{domainNames: ["*.Example.org."]}')}, ${to('Deny', '{networks: [0.0.0.0/0]}')}`,
    });
    assert.equal(ask(text, 'prod/db', '198.51.100.7'), 'allow');
    assert.equal(ask(text, 'prod/db', '198.51.100.8'), 'deny');
    const older = anp(1, {
      egress: `${to('Allow', '{domainNames: ["*.example.org"]}')}, ${to('Deny', '{networks: [0.0.0.0/0]}')}`,
    });
    assert.equal(ask(older, 'prod/db', '198.51.100.7'), 'allow');
    assert.equal(ask(older, 'prod/db', '198.51.100.8'), 'deny');
  });
});

describe('ports', () => {
  const cases: readonly (readonly [string, string, readonly string[], readonly string[]])[] = [
    ['tcp', '{tcp: {destinationPort: {number: 80}}}', ['tcp/80'], ['udp/80', 'tcp/81', 'icmp']],
    ['udp', '{udp: {destinationPort: {number: 80}}}', ['udp/80'], ['tcp/80', 'sctp/80']],
    ['sctp', '{sctp: {destinationPort: {number: 80}}}', ['sctp/80'], ['tcp/80']],
    [
      'range',
      '{tcp: {destinationPort: {range: {start: 80, end: 90}}}}',
      ['tcp/80', 'tcp/90'],
      ['tcp/79', 'tcp/91'],
    ],
    [
      'list',
      '{tcp: {destinationPort: {number: 1}}}, {udp: {destinationPort: {number: 2}}}',
      ['tcp/1', 'udp/2'],
      ['tcp/2', 'udp/1'],
    ],
    ['destinationNamedPort', '{destinationNamedPort: http}', ['tcp/9090'], ['tcp/8080', 'udp/9090']],
  ];
  for (const [name, port, hits, misses] of cases) {
    test(`protocols: ${name}`, () => {
      const text = cnp('Admin', 1, { ingress: from('Deny', ALL, `, protocols: [${port}]`) });
      for (const kind of hits) assert.equal(ask(text, 'dev/web', 'prod/db', kind), 'deny', kind);
      for (const kind of misses) assert.equal(ask(text, 'dev/web', 'prod/db', kind), 'allow', kind);
    });
  }

  test('protocols: destinationNamedPort is that of each peer, in egress', () => {
    const text = cnp('Admin', 1, { egress: to('Deny', ALL, ', protocols: [{destinationNamedPort: http}]') });
    assert.equal(ask(text, 'prod/db', 'dev/web', 'udp/8080'), 'deny');
    assert.equal(ask(text, 'prod/db', 'prod/web', 'tcp/8080'), 'deny');
    assert.equal(ask(text, 'prod/db', 'prod/web', 'udp/8080'), 'allow');
  });

  const older: readonly (readonly [string, string, readonly string[], readonly string[]])[] = [
    ['portNumber', '{portNumber: {port: 80}}', ['tcp/80'], ['udp/80', 'tcp/81']],
    ['portNumber.protocol', '{portNumber: {protocol: SCTP, port: 80}}', ['sctp/80'], ['tcp/80']],
    [
      'portRange',
      '{portRange: {protocol: UDP, start: 80, end: 90}}',
      ['udp/80', 'udp/90'],
      ['tcp/80', 'udp/91'],
    ],
    ['namedPort', '{namedPort: http}', ['tcp/9090'], ['udp/9090', 'tcp/80']],
  ];
  for (const [name, port, hits, misses] of older) {
    test(`ports: ${name}`, () => {
      for (const text of [
        anp(1, { ingress: from('Deny', ALL, `, ports: [${port}]`) }),
        banp({ ingress: from('Deny', ALL, `, ports: [${port}]`) }),
      ]) {
        for (const kind of hits) assert.equal(ask(text, 'dev/web', 'prod/db', kind), 'deny', kind);
        for (const kind of misses) assert.equal(ask(text, 'dev/web', 'prod/db', kind), 'allow', kind);
      }
    });
  }
});

test('names: objects and rules are called by them in trails', () => {
  const { policies } = parseObjects(
    'f.yaml',
    cnp('Admin', 7, { ingress: `{name: no dev, ${from('Deny').slice(1)}` }),
  );
  assert.equal(policies[0]?.ingress[0]?.name, 'no dev');
  const { checks } = evaluate(
    createBook({ policies }),
    WORLD,
    makeFlow(WORLD, ['dev/web', 'prod/db'], 'tcp/80'),
  );
  const origin = { source: 'f.yaml', line: 4, path: 'spec.ingress.0' };
  const step = {
    tier: 'kube-admin',
    policy: 'ClusterNetworkPolicy admin-7',
    rule: 'no dev',
    origin,
    outcome: 'deny',
  };
  assert.deepEqual(checks.at(-1)?.trail, [step]);
});

test('a pod’s own node reaches it whatever the policies say', () => {
  const text = cnp('Admin', 1, { ingress: from('Deny') }) + np('');
  assert.equal(ask(text, 'node a', 'prod/web'), 'allow');
  assert.equal(ask(text, 'node b', 'prod/web'), 'deny');
});
