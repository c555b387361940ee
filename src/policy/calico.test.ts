/** Calico's rules and objects field by field, from manifests to verdicts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Flow } from '#model/verdict.ts';
import type { Crossing } from '#model/verdict.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { address } from '#net/address.ts';
import { evaluate } from './evaluate.ts';
import { parseObjects } from './frontends/index.ts';
import { gatherObjects } from './gather.ts';
import { calico, load } from './testing/calico.ts';
import { makeFlow, makeWorld } from './testing/world.ts';

const WORLD: PolicyWorld = makeWorld({
  pods: [
    { name: 'shop/web', labels: { app: 'web', in: 'x' }, account: 'front', node: 'a' },
    {
      name: 'shop/db',
      labels: { app: 'db' },
      node: 'b',
      ports: [
        { name: 'sql.Main', protocol: 6, port: 5432 },
        { name: 'dns', protocol: 17, port: 53 },
      ],
    },
    { name: 'ops/probe', labels: { app: 'probe' }, account: 'front', node: 'b' },
  ],
  namespaces: { shop: { team: 'red' }, ops: { team: 'blue' } },
  accounts: { 'shop/front': { trust: 'low' }, 'ops/front': { trust: 'high' } },
  services: new Map([['shop/db', [{ address: address('10.244.0.2'), protocol: 6, port: 5432 }]]]),
  names: new Map([['*.example.org', new Set([address('198.51.100.7')])]]),
});

type Ends = readonly [from: string, to: string];
const WEB_DB: Ends = ['shop/web', 'shop/db'];
const PROBE_DB: Ends = ['ops/probe', 'shop/db'];
const STRANGER_DB: Ends = ['203.0.113.9', 'shop/db'];

function judge(manifests: readonly string[], [from, to]: Ends, kind = 'tcp/5432', more: Partial<Flow> = {}) {
  const { book, world } = load(WORLD, ...manifests);
  const family = kind.endsWith(' v6') ? 6 : 4;
  return evaluate(book, world, { ...makeFlow(world, [from, to], kind.replace(' v6', ''), family), ...more });
}

/** Whether a rule `Deny` of this, in a policy of namespace `shop` that selects all, denies. */
const inShop = (rule: string, ends: Ends = WEB_DB, kind?: string): boolean =>
  judge(
    [calico('NetworkPolicy', 'shop/p', `ingress: [{action: Deny, ${rule}}, {action: Allow}]`)],
    ends,
    kind,
  ).action === 'deny';
/** The same in a global policy. */
const anywhere = (rule: string, ends: Ends = WEB_DB, kind?: string, ...more: readonly string[]): boolean =>
  judge(
    [calico('GlobalNetworkPolicy', 'p', `ingress: [{action: Deny, ${rule}}, {action: Allow}]`), ...more],
    ends,
    kind,
  ).action === 'deny';
const outward = (rule: string, ends: Ends = WEB_DB, kind?: string): boolean =>
  judge([calico('NetworkPolicy', 'shop/p', `egress: [{action: Deny, ${rule}}, {action: Allow}]`)], ends, kind)
    .action === 'deny';

test('selector, serviceAccountSelector: the subjects of a policy, in its namespace', () => {
  const denied = (spec: string, ...ends: Ends): boolean =>
    judge([calico('NetworkPolicy', 'shop/p', spec)], ends).action === 'deny';
  assert.ok(denied('selector: "app == \'db\'"', ...WEB_DB));
  assert.ok(denied('', ...WEB_DB));
  assert.ok(!denied('selector: "app != \'db\'"', ...WEB_DB));
  assert.ok(!denied('selector: all()', 'shop/web', 'ops/probe'));
  assert.ok(denied('serviceAccountSelector: "trust == \'low\'"', 'shop/db', 'shop/web'));
  assert.ok(!denied('serviceAccountSelector: "trust == \'low\'"', ...WEB_DB));
  assert.ok(denied('serviceAccountSelector: "projectcalico.org/name == \'front\'"', 'shop/db', 'shop/web'));
});

test('selector, namespaceSelector, serviceAccountSelector: the subjects of a global policy', () => {
  const denied = (spec: string, ...ends: Ends): boolean =>
    judge([calico('GlobalNetworkPolicy', 'p', spec)], ends).action === 'deny';
  assert.ok(denied('', ...WEB_DB));
  assert.ok(denied('selector: all()', 'shop/web', 'ops/probe'));
  assert.ok(denied('namespaceSelector: "team == \'blue\'"', 'shop/web', 'ops/probe'));
  assert.ok(!denied('namespaceSelector: "team == \'blue\'"', ...WEB_DB));
  assert.ok(
    denied(
      'namespaceSelector: "projectcalico.org/name == \'ops\'", selector: has(app)',
      'shop/web',
      'ops/probe',
    ),
  );
  assert.ok(
    !denied(
      'namespaceSelector: "projectcalico.org/name == \'ops\'", selector: has(no)',
      'shop/web',
      'ops/probe',
    ),
  );
  assert.ok(denied('serviceAccountSelector: "trust == \'high\'"', 'shop/web', 'ops/probe'));
  assert.ok(!denied('serviceAccountSelector: "trust == \'high\'"', 'shop/db', 'shop/web'));
});

test('action: Allow, Deny, Log which goes on, Pass which leaves the tier', () => {
  const of = (...rules: readonly string[]): string =>
    judge([calico('NetworkPolicy', 'shop/p', `ingress: [${rules.join(', ')}]`)], WEB_DB).action;
  assert.equal(of('{action: Allow}', '{action: Deny}'), 'allow');
  assert.equal(of('{action: Deny}', '{action: Allow}'), 'deny');
  assert.equal(of('{action: Log}', '{action: Allow}'), 'allow');
  assert.equal(of('{action: Log}'), 'deny');
  assert.equal(of('{action: Pass}', '{action: Deny}'), 'allow');
});

test('nets, notNets: prefixes of either end, single addresses too', () => {
  assert.ok(inShop('source: {nets: [10.244.0.0/16]}'));
  assert.ok(inShop('source: {nets: [192.0.2.0/24, 10.244.0.1]}'));
  assert.ok(!inShop('source: {nets: [192.0.2.0/24]}'));
  assert.ok(!inShop('source: {notNets: [10.244.0.1/32]}'));
  assert.ok(inShop('source: {nets: [10.0.0.0/8], notNets: [10.244.0.2/32]}'));
  assert.ok(inShop('destination: {nets: ["10.244.0.2/31"]}'));
  assert.ok(!inShop('source: {nets: ["fd00::/16"]}'));
  assert.ok(inShop('source: {nets: ["fd00::/16"]}', WEB_DB, 'tcp/80 v6'));
  assert.ok(
    inShop('source: {notNets: ["10.0.0.0/8"]}', WEB_DB, 'tcp/80 v6'),
    'of the other family, nothing is in it',
  );
});

test('selector: endpoints of the policy’s namespace, or of all in a global policy', () => {
  const probe = 'source: {selector: "app == \'probe\'"}';
  assert.ok(inShop('source: {selector: "app == \'web\'"}'));
  assert.ok(!inShop(probe, PROBE_DB));
  assert.ok(anywhere(probe, PROBE_DB));
  assert.ok(!anywhere('source: {selector: all()}', STRANGER_DB), 'only what policies know');
  assert.ok(outward('destination: {selector: "app == \'db\'"}'));
  assert.ok(inShop('destination: {selector: "app == \'db\'"}'), 'of the own end as well');
  assert.ok(!inShop('destination: {selector: "app == \'web\'"}'));
});

test('notSelector: everything but, within the namespace of the policy', () => {
  const notWeb = 'source: {notSelector: "app == \'web\'"}';
  assert.ok(!inShop(notWeb));
  assert.ok(!inShop(notWeb, PROBE_DB), 'not of this namespace');
  assert.ok(!inShop(notWeb, STRANGER_DB));
  assert.ok(anywhere(notWeb, PROBE_DB));
  assert.ok(anywhere(notWeb, STRANGER_DB));
  assert.ok(!anywhere(notWeb));
  assert.ok(!anywhere('source: {selector: has(app), notSelector: "app == \'web\'"}'));
  assert.ok(!outward('destination: {notSelector: "app == \'db\'"}'));
});

test('namespaceSelector: of namespaces by their labels and name; all() and global()', () => {
  assert.ok(inShop('source: {namespaceSelector: "team == \'blue\'"}', PROBE_DB));
  assert.ok(!inShop('source: {namespaceSelector: "team == \'blue\'"}'));
  assert.ok(
    inShop(
      'source: {namespaceSelector: "projectcalico.org/name in {\'ops\'}", selector: "app == \'probe\'"}',
      PROBE_DB,
    ),
  );
  assert.ok(
    !inShop(
      'source: {namespaceSelector: "projectcalico.org/name in {\'ops\'}", selector: "app == \'web\'"}',
      PROBE_DB,
    ),
  );
  assert.ok(inShop('source: {namespaceSelector: "kubernetes.io/metadata.name == \'ops\'"}', PROBE_DB));
  assert.ok(inShop('source: {namespaceSelector: all()}', PROBE_DB));
  assert.ok(!inShop('source: {namespaceSelector: global()}', PROBE_DB));
  assert.ok(outward('destination: {namespaceSelector: "team == \'red\'"}'));
  const set = calico('GlobalNetworkSet', 's', 'nets: [203.0.113.0/24]', 'who: partner');
  assert.ok(anywhere('source: {namespaceSelector: global()}', STRANGER_DB, undefined, set));
  assert.ok(!anywhere('source: {namespaceSelector: all()}', STRANGER_DB, undefined, set));
  assert.ok(
    anywhere(
      'source: {namespaceSelector: global(), selector: "who == \'partner\'"}',
      STRANGER_DB,
      undefined,
      set,
    ),
  );
});

test('the labels that Calico makes: namespace, orchestrator, service account, and those inherited', () => {
  const from = (selector: string, ends = PROBE_DB): boolean =>
    anywhere(`source: {selector: "${selector}"}`, ends);
  assert.ok(from("projectcalico.org/namespace == 'ops'"));
  assert.ok(!from("projectcalico.org/namespace == 'shop'"));
  assert.ok(from("projectcalico.org/orchestrator == 'k8s'"));
  assert.ok(from("projectcalico.org/serviceaccount == 'front'"));
  assert.ok(from("pcns.team == 'blue' && pcns.projectcalico.org/name == 'ops'"));
  assert.ok(from("pcsa.trust == 'high' && pcsa.projectcalico.org/name == 'front'"));
  assert.ok(from("in == 'x'", WEB_DB), 'words of the grammar are labels too');
});

test('serviceAccounts: by names, by selector, both must hold', () => {
  assert.ok(inShop('source: {serviceAccounts: {names: [other, front]}}'));
  assert.ok(!inShop('source: {serviceAccounts: {names: [other]}}'));
  assert.ok(!inShop('source: {serviceAccounts: {names: [front]}}', PROBE_DB), 'of the policy’s namespace');
  assert.ok(anywhere('source: {serviceAccounts: {names: [front]}}', PROBE_DB));
  assert.ok(anywhere('source: {serviceAccounts: {selector: "trust == \'high\'"}}', PROBE_DB));
  assert.ok(!anywhere('source: {serviceAccounts: {names: [front], selector: "trust == \'high\'"}}'));
  assert.ok(
    inShop('source: {serviceAccounts: {selector: "trust == \'high\'"}, namespaceSelector: all()}', PROBE_DB),
  );
  assert.ok(!outward('destination: {serviceAccounts: {names: [front]}}'));
  assert.ok(outward('destination: {serviceAccounts: {names: [default]}}'));
});

test('ports, notPorts: numbers, ranges, names; of both ends', () => {
  const tcp = (entity: string): boolean => inShop(`protocol: TCP, ${entity}`);
  assert.ok(tcp('destination: {ports: [5432]}'));
  assert.ok(tcp('destination: {ports: [80, "5000:6000"]}'));
  assert.ok(tcp('destination: {ports: ["5432"]}'));
  assert.ok(!tcp('destination: {ports: [80, "6000:7000"]}'));
  assert.ok(tcp('destination: {ports: [80, sql.Main]}'));
  assert.ok(!tcp('destination: {ports: [dns]}'));
  assert.ok(!tcp('destination: {notPorts: [5432]}'));
  assert.ok(!tcp('destination: {notPorts: [sql.Main]}'));
  assert.ok(tcp('destination: {notPorts: [80, "1:100", dns]}'));
  assert.ok(tcp('source: {ports: [40000]}'));
  assert.ok(!tcp('source: {notPorts: ["40000:40001"]}'));
  assert.ok(tcp('source: {notPorts: [1]}, destination: {ports: [5432], notPorts: [80]}'));
  assert.ok(
    !inShop('protocol: TCP, destination: {notPorts: [80]}', WEB_DB, 'udp/53'),
    'the protocol has to be it',
  );
});

test('named ports need no protocol: that of the port is it', () => {
  assert.ok(inShop('destination: {ports: [sql.Main, dns]}'));
  assert.ok(inShop('destination: {ports: [sql.Main, dns]}', WEB_DB, 'udp/53'));
  assert.ok(!inShop('destination: {ports: [sql.Main, dns]}', WEB_DB, 'tcp/53'));
  assert.ok(!outward('destination: {notPorts: [sql.Main]}'));
  assert.ok(inShop('protocol: 6, destination: {ports: [sql.Main], selector: "app == \'db\'"}'));
});

test('protocol, notProtocol: by name and number', () => {
  for (const [name, kind] of [
    ['TCP', 'tcp/1'],
    ['UDP', 'udp/1'],
    ['SCTP', 'sctp/1'],
    ['UDPLite', 'udplite/1'],
    ['ICMP', 'icmp'],
    ['17', 'udp/1'],
    ['"17"', 'udp/1'],
    ['47', '47'],
  ] as const) {
    assert.ok(inShop(`protocol: ${name}`, WEB_DB, kind), name);
    assert.ok(!inShop(`protocol: ${name}`, WEB_DB, '50'), name);
    assert.ok(!inShop(`notProtocol: ${name}`, WEB_DB, kind), name);
    assert.ok(inShop(`notProtocol: ${name}`, WEB_DB, '50'), name);
  }
  assert.ok(inShop('protocol: ICMPv6', WEB_DB, 'icmp v6'));
  assert.ok(!inShop('protocol: ICMP', WEB_DB, 'icmp v6'));
});

test('icmp, notICMP: by type, by type and code', () => {
  assert.ok(inShop('protocol: ICMP, icmp: {type: 8}', WEB_DB, 'icmp'));
  assert.ok(inShop('protocol: ICMP, icmp: {}', WEB_DB, 'icmp'));
  assert.ok(inShop('protocol: 1, icmp: {type: 8, code: 0}', WEB_DB, 'icmp'));
  assert.ok(!inShop('protocol: ICMP, icmp: {type: 8, code: 1}', WEB_DB, 'icmp'));
  assert.ok(!inShop('protocol: ICMP, icmp: {type: 0}', WEB_DB, 'icmp'));
  assert.ok(inShop('protocol: ICMPv6, icmp: {type: 128}', WEB_DB, 'icmp v6'));
  assert.ok(!inShop('protocol: ICMP, notICMP: {type: 8}', WEB_DB, 'icmp'));
  assert.ok(inShop('protocol: ICMP, notICMP: {type: 8, code: 1}', WEB_DB, 'icmp'));
  assert.ok(!inShop('protocol: ICMP, notICMP: {type: 3}', WEB_DB, 'tcp/80'));
});

test('ipVersion: one family only', () => {
  assert.ok(inShop('ipVersion: 4'));
  assert.ok(!inShop('ipVersion: 6'));
  assert.ok(inShop('ipVersion: 6', WEB_DB, 'tcp/80 v6'));
});

test('services: to their backends’ addresses and ports in egress, from their addresses in ingress', () => {
  assert.ok(outward('destination: {services: {name: db}}'));
  assert.ok(outward('destination: {services: {name: db, namespace: shop}}'));
  assert.ok(!outward('destination: {services: {name: db, namespace: ops}}'));
  assert.ok(!outward('destination: {services: {name: db}}', WEB_DB, 'tcp/80'));
  assert.ok(inShop('source: {services: {name: db}}', ['shop/db', 'shop/web'], 'tcp/80'));
  assert.ok(!inShop('source: {services: {name: db}}', ['ops/probe', 'shop/web'], 'tcp/80'));
});

test('domains: addresses learned for names', () => {
  const out = calico(
    'NetworkPolicy',
    'shop/p',
    'egress: [{action: Allow, destination: {domains: ["*.Example.org."]}}]',
  );
  assert.equal(judge([out], ['shop/web', '198.51.100.7'], 'tcp/1').action, 'allow');
  assert.equal(judge([out], ['shop/web', '198.51.100.8'], 'tcp/1').action, 'deny');
});

test('metadata.annotations: what trails call the rule', () => {
  const rule = 'ingress: [{action: Deny, metadata: {annotations: {why: because, who: me}}}]';
  const { checks } = judge([calico('NetworkPolicy', 'shop/p', rule)], WEB_DB);
  assert.deepEqual(checks[1]?.trail[0]?.rule, 'why=because, who=me');
  assert.equal(checks[1]?.trail[0]?.policy, 'CalicoNetworkPolicy shop/p');
});

test('NetworkSet: of its namespace, by labels; GlobalNetworkSet: of none', () => {
  const own = calico('NetworkSet', 'shop/s', 'nets: [203.0.113.9, "2001:db8::/32"]', 'who: partner');
  const global = calico('GlobalNetworkSet', 's', 'nets: [203.0.113.0/24]', 'who: partner');
  const partner = (policy: (spec: string) => string, set: string): boolean =>
    judge(
      [policy('ingress: [{action: Deny, source: {selector: "who == \'partner\'"}}, {action: Allow}]'), set],
      STRANGER_DB,
    ).action === 'deny';
  const inNamespace = (namespace: string) => (spec: string) =>
    calico('NetworkPolicy', `${namespace}/p`, spec);
  const everywhere = (spec: string): string => calico('GlobalNetworkPolicy', 'p', spec);
  assert.ok(partner(inNamespace('shop'), own));
  assert.ok(!partner(inNamespace('shop'), global), 'as for all peers, only those of the namespace');
  assert.ok(partner(everywhere, own));
  assert.ok(partner(everywhere, global));
  assert.ok(
    anywhere('source: {namespaceSelector: "team == \'red\'"}', STRANGER_DB, undefined, own),
    'has its namespace’s labels',
  );
});

const crossing = (more: Partial<Crossing> = {}): Partial<Flow> => ({
  crossings: [{ node: 'a', interface: 'eth0', direction: 'ingress', forwarded: false, ...more }],
});
const HOST =
  'node: a, interfaceName: eth0, expectedIPs: [192.0.2.1], ports: [{name: ssh, protocol: TCP, port: 22}]';
const INWARD: Ends = ['203.0.113.9', 'node a'];

test('HostEndpoint: node, interface, addresses, named ports and labels', () => {
  const deny = (spec: string): string =>
    calico(
      'GlobalNetworkPolicy',
      'p',
      `selector: has(role), ingress: [{action: Deny, ${spec}}, {action: Allow}]`,
    );
  const host = calico('HostEndpoint', 'h', HOST, 'role: host');
  const of = (rule: string, kind: string, more = crossing()): string =>
    judge([host, deny(rule)], INWARD, kind, more).action;
  assert.equal(of('protocol: TCP, destination: {ports: [ssh]}', 'tcp/22'), 'deny');
  assert.equal(of('protocol: TCP, destination: {ports: [ssh]}', 'tcp/23'), 'allow');
  assert.equal(
    of('protocol: TCP, destination: {ports: [ssh]}', 'tcp/22', crossing({ interface: 'eth1' })),
    'allow',
  );
  assert.equal(of('protocol: TCP, destination: {ports: [ssh]}', 'tcp/22', crossing({ node: 'b' })), 'allow');
  assert.ok(
    anywhere(
      'source: {selector: "role == \'host\'"}',
      ['node a', 'shop/db'],
      'tcp/1',
      host,
      calico('Profile', 'x', ''),
    ),
  );
});

test('HostEndpoint: by its addresses alone', () => {
  const host = calico('HostEndpoint', 'h', 'node: a, expectedIPs: [192.0.2.1]');
  assert.equal(judge([host], INWARD).action, 'deny');
  assert.equal(judge([host], ['203.0.113.9', 'node b']).action, 'allow');
});

test('labelsToApply: of the first profile that has one, and less than the endpoint’s own', () => {
  const profile = (name: string, labels: string): string =>
    calico('Profile', name, `labelsToApply: {${labels}}, ingress: [{action: Allow}]`);
  const manifests = [
    profile('one', 'zone: a, role: wrong'),
    profile('two', 'zone: b, extra: "yes"'),
    calico('HostEndpoint', 'h', `${HOST}, profiles: [one, two, missing]`, 'role: host'),
  ];
  const parsed = parseObjects('f', manifests.join('---\n'));
  const [host] = gatherObjects(new Map([['f', parsed]])).endpoints;
  assert.deepEqual(host?.labels, { zone: 'a', role: 'host', extra: 'yes' });
  const deny = calico('GlobalNetworkPolicy', 'p', 'selector: "extra == \'yes\'", ingress: [{action: Deny}]');
  assert.equal(judge(manifests, INWARD, 'tcp/1', crossing()).action, 'allow');
  assert.equal(judge([...manifests, deny], INWARD, 'tcp/1', crossing()).action, 'deny');
});

test('doNotTrack, preDNAT, applyOnForward: which packets of a host endpoint are judged', () => {
  const host = calico('HostEndpoint', 'h', `${HOST}, profiles: [projectcalico-default-allow]`, 'role: host');
  const of = (flags: string, more: Partial<Flow>): string | undefined => {
    const policy = calico(
      'GlobalNetworkPolicy',
      'p',
      `selector: has(role), ${flags}ingress: [{action: Deny, protocol: TCP, destination: {ports: [80]}}]`,
    );
    const { action, checks } = judge([host, policy], INWARD, 'tcp/8080', more);
    return `${action} ${checks[0]?.scope}`;
  };
  const before = { before: { destination: address('192.0.2.1'), destinationPort: 80 } };
  assert.equal(
    of('preDNAT: true, applyOnForward: true, ', { ...before, ...crossing({ forwarded: true }) }),
    'deny pre-dnat',
  );
  assert.equal(
    of('doNotTrack: true, applyOnForward: true, ', { ...before, ...crossing() }),
    'deny untracked',
  );
  assert.equal(of('preDNAT: true, applyOnForward: true, ', crossing()), 'allow local');
  assert.equal(of('applyOnForward: true, ', crossing({ forwarded: true })), 'deny forward');
  assert.equal(of('applyOnForward: true, ', crossing()), 'deny local');
  assert.equal(of('', crossing({ forwarded: true })), 'allow forward');
});
