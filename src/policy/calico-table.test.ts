/**
 * Calico's table of default behaviour, each row by its name, from manifests to verdicts; and what stands around it: tiers,
 * orders, profiles, staged policies. Rows about a data plane alone (interfaces that it does not know) are not here.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Crossing } from '#model/verdict.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { evaluate } from './evaluate.ts';
import { DEFAULT_FAILSAFE } from './failsafe.ts';
import { calico, load } from './testing/calico.ts';
import { makeFlow, makeWorld } from './testing/world.ts';

const WORLD: PolicyWorld = makeWorld({
  pods: [
    { name: 'shop/web', labels: { app: 'web' }, node: 'a' },
    { name: 'shop/db', labels: { app: 'db' }, node: 'b' },
    { name: 'ops/bound', node: 'b', profiles: ['mine'] },
  ],
  failsafe: DEFAULT_FAILSAFE,
});

type Ask = {
  readonly from?: string;
  readonly to?: string;
  readonly kind?: string;
  readonly crossing?: Partial<Crossing>;
};

/** `allow` or `deny`, and what decided at the last endpoint that was asked. */
function ask(
  manifests: readonly string[],
  { from = 'shop/web', to = 'shop/db', kind = 'tcp/80', crossing }: Ask = {},
) {
  const { book, world } = load(WORLD, ...manifests);
  const way = { node: 'a', interface: 'eth0', direction: 'ingress', forwarded: false, ...crossing } as const;
  const flow = {
    ...makeFlow(world, [from, to], kind),
    ...(crossing === undefined ? {} : { crossings: [way] }),
  };
  return evaluate(book, world, flow);
}
const verdict = (manifests: readonly string[], given?: Ask): string => ask(manifests, given).action;

const DB = 'selector: "app == \'db\'"';
const NEVER = '{action: Allow, protocol: SCTP}';
const policy = (spec: string, name = 'p'): string => calico('NetworkPolicy', `shop/${name}`, spec);
const globally = (spec: string, name = 'g'): string => calico('GlobalNetworkPolicy', name, spec);
const tier = (name: string, spec: string): string => calico('Tier', name, spec);
const host = (spec: string, name = 'h', labels = 'role: host'): string =>
  calico('HostEndpoint', name, `node: a, ${spec}`, labels);

test('row: pod, no policy selects it: everything is allowed, both directions', () => {
  assert.equal(verdict([]), 'allow');
  assert.equal(verdict([policy(`selector: "app == 'x'", types: [Ingress, Egress]`)]), 'allow');
  assert.equal(verdict([globally('selector: has(role), types: [Ingress, Egress]')]), 'allow');
});

test('row: pod, only ingress policies select it: ingress denied by default, egress still allowed', () => {
  assert.equal(verdict([policy(DB)]), 'deny');
  assert.equal(verdict([policy(DB)], { from: 'shop/db', to: 'shop/web' }), 'allow');
  assert.equal(verdict([policy(`${DB}, types: [Egress]`)]), 'allow');
  assert.equal(verdict([policy(`${DB}, types: [Egress]`)], { from: 'shop/db', to: 'shop/web' }), 'deny');
});

test('row: pod, a policy selects it, no rule matches, tier Deny: dropped', () => {
  assert.equal(verdict([policy(`${DB}, ingress: [${NEVER}]`)]), 'deny');
  const own = tier('t', 'order: 5');
  const after = policy(`${DB}, ingress: [{action: Allow}]`, 'q');
  assert.equal(verdict([own, policy(`${DB}, tier: t, ingress: [${NEVER}]`), after]), 'deny');
});

test('row: pod, a policy selects it in a tier that passes by default, none match: goes on, in the end allowed', () => {
  const passing = [tier('t', 'order: 5, defaultAction: Pass'), policy(`${DB}, tier: t, ingress: [${NEVER}]`)];
  assert.equal(verdict(passing), 'allow');
  assert.equal(verdict([...passing, policy(`${DB}, ingress: [{action: Deny}]`, 'q')]), 'deny');
});

test('row: pod, its profile is missing: everything is denied', () => {
  const bound = { to: 'ops/bound' };
  assert.equal(verdict([], bound), 'deny');
  assert.equal(verdict([calico('Profile', 'mine', 'ingress: [{action: Allow}]')], bound), 'allow');
  assert.equal(verdict([calico('Profile', 'mine', 'egress: [{action: Allow}]')], bound), 'deny');
});

test('profiles are asked after all tiers, by their rules in order', () => {
  const mine = (...rules: readonly string[]): string =>
    calico('Profile', 'mine', `ingress: [${rules.join(', ')}]`);
  const bound = { to: 'ops/bound' };
  assert.equal(verdict([mine('{action: Log}', NEVER, '{action: Allow}', '{action: Deny}')], bound), 'allow');
  assert.equal(verdict([mine('{action: Deny}', '{action: Allow}')], bound), 'deny');
  assert.equal(verdict([mine('{action: Deny}'), globally('ingress: [{action: Allow}]')], bound), 'allow');
  assert.equal(verdict([mine('{action: Allow}'), globally('ingress: [{action: Pass}]')], bound), 'allow');
  assert.equal(verdict([mine('{action: Allow}'), globally('')], bound), 'deny');
});

test('row: host endpoint without policy and profile: dropped except failsafe; forwarded traffic allowed', () => {
  const named = host('interfaceName: eth0, expectedIPs: [192.0.2.1]');
  const inward = { from: '203.0.113.9', to: 'node a' };
  assert.equal(verdict([named], inward), 'deny');
  assert.equal(verdict([named], { from: 'node a', to: '203.0.113.9' }), 'deny');
  for (const port of [22, 179, 2379, 2380, 5473, 6443, 6666, 6667])
    assert.equal(verdict([named], { ...inward, kind: `tcp/${port}` }), 'allow', `${port}`);
  assert.equal(verdict([named], { ...inward, kind: 'udp/68' }), 'allow');
  assert.equal(verdict([named], { ...inward, kind: 'udp/53' }), 'deny');
  assert.equal(verdict([named], { from: 'node a', to: '203.0.113.9', kind: 'udp/53' }), 'allow');
  assert.equal(verdict([named], { from: 'node a', to: '203.0.113.9', kind: 'tcp/22' }), 'deny');
  assert.equal(
    verdict([named], { from: '203.0.113.9', to: 'shop/web', crossing: { forwarded: true } }),
    'allow',
  );
});

test('a host endpoint with the profile projectcalico-default-allow lets everything pass', () => {
  const open = host('interfaceName: "*", profiles: [projectcalico-default-allow]');
  assert.equal(verdict([open], { from: '203.0.113.9', to: 'node a' }), 'allow');
  assert.equal(verdict([open], { from: 'node a', to: '203.0.113.9' }), 'allow');
  assert.equal(
    verdict([host('interfaceName: "*", profiles: [other]')], { from: '203.0.113.9', to: 'node a' }),
    'deny',
  );
});

const FORWARDED = { from: '203.0.113.9', to: 'shop/web', crossing: { forwarded: true } };
const ETH0 = host('interfaceName: eth0, expectedIPs: [192.0.2.1]');

test('row: host endpoint with policies without applyOnForward only: forwarded traffic allowed', () => {
  const deny = globally('selector: "role == \'host\'", ingress: [{action: Deny}]');
  assert.equal(verdict([ETH0, deny], FORWARDED), 'allow');
  assert.equal(verdict([ETH0, deny], { from: '203.0.113.9', to: 'node a' }), 'deny');
});

test('row: host endpoint with an applyOnForward policy in one direction: that direction denied by default', () => {
  const some = globally(`selector: has(role), applyOnForward: true, ingress: [${NEVER}]`);
  assert.equal(verdict([ETH0, some], FORWARDED), 'deny');
  assert.equal(verdict([ETH0, some], { ...FORWARDED, kind: 'sctp/1' }), 'allow');
  const out = {
    from: 'shop/web',
    to: '203.0.113.9',
    crossing: { forwarded: true, direction: 'egress' },
  } as const;
  assert.equal(verdict([ETH0, some], out), 'allow');
});

test('row: host without HostEndpoint: untouched', () => {
  const deny = globally('applyOnForward: true, ingress: [{action: Deny}]');
  assert.equal(verdict([deny], { from: '203.0.113.9', to: 'node a' }), 'allow');
  assert.equal(verdict([deny, ETH0], { from: '203.0.113.9', to: 'node b' }), 'allow');
  assert.equal(verdict([deny, ETH0], { from: '203.0.113.9', to: 'node a' }), 'deny');
});

test('row: host to its own pod, any pod policy: always allowed', () => {
  const deny = globally('ingress: [{action: Deny}]');
  assert.equal(verdict([deny], { from: 'node a', to: 'shop/web' }), 'allow');
  assert.equal(verdict([deny], { from: 'node b', to: 'shop/web' }), 'deny');
});

test('row: pod to its own host: its egress policy, not the host’s ingress policy, but pre-DNAT policy of *', () => {
  const all = host('interfaceName: "*"');
  const toHost = { from: 'shop/web', to: 'node a' };
  const entering = { ...toHost, crossing: { interface: 'cali1', toPod: true } };
  const hosts = 'selector: has(role)';
  assert.equal(verdict([all], entering), 'allow');
  assert.equal(verdict([all, globally(`${hosts}, ingress: [{action: Deny}]`)], entering), 'allow');
  const early = globally(`${hosts}, preDNAT: true, applyOnForward: true, ingress: [{action: Deny}]`);
  assert.equal(verdict([all, early], entering), 'deny');
  assert.equal(verdict([globally('selector: "app == \'web\'", egress: [{action: Deny}]')], toHost), 'deny');
});

const KUBERNETES = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: k, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 80}]}]}
`;

test('row: pod that a Kubernetes policy selects: the union of all of them, at order 1000 of tier default', () => {
  assert.equal(verdict([KUBERNETES]), 'allow');
  assert.equal(verdict([KUBERNETES], { kind: 'tcp/81' }), 'deny');
  const second = KUBERNETES.replace('name: k', 'name: k2').replace('port: 80', 'port: 81');
  assert.equal(verdict([KUBERNETES, second], { kind: 'tcp/81' }), 'allow');
  const deny = (order: number): string => policy(`${DB}, order: ${order}, ingress: [{action: Deny}]`);
  assert.equal(verdict([KUBERNETES, deny(999)]), 'deny');
  assert.equal(verdict([KUBERNETES, deny(1001)]), 'allow');
});

test('order: ascending, a missing one last, then by name; a namespace’s policy and a global one alike', () => {
  const allow = (order: string, name: string): string =>
    policy(`${DB}, ${order}ingress: [{action: Allow}]`, name);
  const deny = (order: string, name: string): string => globally(`${order}ingress: [{action: Deny}]`, name);
  assert.equal(verdict([allow('order: 1.5, ', 'a'), deny('order: 1.25, ', 'b')]), 'deny');
  assert.equal(verdict([allow('order: -1, ', 'a'), deny('order: 0, ', 'b')]), 'allow');
  assert.equal(verdict([allow('', 'a'), deny('order: 1e300, ', 'b')]), 'deny');
  const twin = (name: string, action: string): string =>
    policy(`${DB}, ingress: [{action: ${action}}]`, name);
  assert.equal(verdict([twin('b', 'Deny'), twin('a', 'Allow')]), 'allow');
  assert.equal(verdict([allow('', 'b'), deny('', 'a')]), 'deny');
  assert.equal(verdict([allow('', 'a'), deny('', 'b')]), 'allow');
});

test('tier: by order, a missing one last; policies of tiers that are not there are a problem', () => {
  const at = (name: string, action: string): string =>
    policy(`${DB}, tier: ${name}, ingress: [{action: ${action}}]`, name);
  const both = [at('x', 'Allow'), at('y', 'Deny')];
  assert.equal(verdict([...both, tier('x', 'order: 2'), tier('y', 'order: 1')]), 'deny');
  assert.equal(verdict([...both, tier('x', 'order: 2'), tier('y', '')]), 'allow');
  assert.throws(() => verdict([both[0] ?? '', tier('y', '')]), /do not fit together/);
  assert.equal(
    verdict([at('x', 'Deny'), tier('x', 'order: 20000000'), policy(`${DB}, ingress: [{action: Allow}]`)]),
    'allow',
  );
});

test('types: only egress rules mean Egress, both mean both, none mean Ingress', () => {
  const of = (spec: string) =>
    load(WORLD, policy(spec)).book.enforced.flatMap(({ policies }) => policies)[0]?.isolates;
  const rule = '[{action: Log}]';
  assert.deepEqual(of(''), { ingress: true, egress: false });
  assert.deepEqual(of(`egress: ${rule}`), { ingress: false, egress: true });
  assert.deepEqual(of(`ingress: ${rule}`), { ingress: true, egress: false });
  assert.deepEqual(of(`ingress: ${rule}, egress: ${rule}`), { ingress: true, egress: true });
  assert.deepEqual(of('types: [], ingress: [], egress: []'), { ingress: true, egress: false });
  assert.deepEqual(of(`types: [Egress], ingress: ${rule}`), { ingress: false, egress: true });
});

test('staged policies change no verdict and tell what they would change', () => {
  const pending = (...manifests: readonly string[]) => {
    const { action, checks } = ask(manifests);
    return [action, ...checks.flatMap(({ pending }) => pending?.action ?? [])];
  };
  const stagedPolicy = (spec: string): string => calico('StagedNetworkPolicy', 'shop/p', spec);
  const deny = `${DB}, ingress: [{action: Deny}]`;
  const allow = `${DB}, ingress: [{action: Allow}]`;
  assert.deepEqual(pending(stagedPolicy(deny)), ['allow', 'deny']);
  assert.deepEqual(pending(policy(deny), stagedPolicy(`stagedAction: Set, ${allow}`)), ['deny', 'allow']);
  assert.deepEqual(pending(policy(deny), stagedPolicy('stagedAction: Delete')), ['deny', 'allow']);
  assert.deepEqual(pending(policy(deny), stagedPolicy('stagedAction: Ignore')), ['deny']);
  assert.deepEqual(pending(calico('StagedGlobalNetworkPolicy', 'g', `applyOnForward: true, ${deny}`)), [
    'allow',
    'deny',
  ]);
  assert.deepEqual(
    pending(globally(deny), calico('StagedGlobalNetworkPolicy', 'g', 'stagedAction: Delete')),
    ['deny', 'allow'],
  );
  const selected = 'podSelector: {matchLabels: {app: db}}';
  assert.deepEqual(pending(calico('StagedKubernetesNetworkPolicy', 'shop/k', selected)), ['allow', 'deny']);
  const out = calico('StagedKubernetesNetworkPolicy', 'shop/k', 'stagedAction: Delete');
  assert.deepEqual(pending(KUBERNETES.replace('port: 80', 'port: 81'), out), ['deny', 'allow']);
});

test('a tier of which all policies are staged passes', () => {
  const staged = calico('StagedNetworkPolicy', 'shop/p', `${DB}, tier: t`);
  assert.equal(verdict([tier('t', 'order: 1'), staged]), 'allow');
});

test('Calico’s NetworkPolicy and that of Kubernetes may have the same name', () => {
  assert.equal(
    verdict([KUBERNETES, calico('NetworkPolicy', 'shop/k', `${DB}, ingress: [{action: Deny}]`)]),
    'allow',
  );
});
