/** Random policies of all Kubernetes kinds on random clusters: evaluate agrees with the oracle, and everything occurs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RuleBook } from '#model/policy.ts';
import type { Flow, Verdict } from '#model/verdict.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { addressFamily } from '#net/address.ts';
import { createBook } from './book.ts';
import { evaluate } from './evaluate.ts';
import { manifestOf } from '#model/manifest.ts';
import { parseObject } from './frontends/index.ts';
import { flows, type Json, policySets, worlds } from './testing/manifests.ts';
import { oracle } from './testing/oracle.ts';

const RUNS = 1_500;
const FLOWS = 12;

const cases = worlds.chain((world) =>
  fc.record({
    world: fc.constant(world),
    manifests: policySets,
    flows: fc.array(flows(world), { minLength: FLOWS, maxLength: FLOWS }),
  }),
);

function bookOf(manifests: readonly Json[]): RuleBook {
  const parsed = manifests.map((value, index) => parseObject(manifestOf(`m${index}`, value)));
  assert.deepEqual(
    parsed.flatMap(({ problems }) => problems),
    [],
  );
  return createBook({ policies: parsed.flatMap(({ policies }) => policies) });
}

test('evaluate is what the oracle says, for every operator, protocol, family, kind, tier and action', () => {
  const seen = new Map<string, number>();
  const note = (what: string): unknown => seen.set(what, (seen.get(what) ?? 0) + 1);
  fc.assert(
    fc.property(cases, ({ world, manifests, flows }) => {
      const book = bookOf(manifests);
      for (const manifest of manifests) noteManifest(manifest, note);
      for (const flow of flows) {
        const verdict = evaluate(book, world, flow);
        noteVerdict(verdict, flow, note);
        assert.equal(verdict.action, oracle(manifests, world, flow), JSON.stringify({ flow, verdict }));
      }
    }),
    { numRuns: RUNS },
  );
  const missing = EXPECTED.filter((what) => (seen.get(what) ?? 0) < 10);
  assert.deepEqual(missing, [], JSON.stringify(Object.fromEntries(seen)));
});

/** What has to have occurred. Outcomes are `decided tier action`: the rule or default that made a verdict. */
const EXPECTED = [
  ...['In', 'NotIn', 'Exists', 'DoesNotExist', 'matchLabels', 'no labels'].map((each) => `selector ${each}`),
  ...['NetworkPolicy', 'ClusterNetworkPolicy', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy'].map(
    (each) => `kind ${each}`,
  ),
  ...['podSelector', 'namespaceSelector', 'podSelector namespaceSelector', 'ipBlock'].map(
    (each) => `peer ${each}`,
  ),
  ...['namespaces', 'pods', 'nodes', 'networks', 'cidr', 'cidr except'].map((each) => `peer ${each}`),
  ...['TCP', 'UDP', 'SCTP', 'tcp', 'udp', 'sctp', 'none'].map((each) => `port ${each}`),
  ...['whole', 'number', 'name', 'endPort', 'range'].map((each) => `port ${each}`),
  ...['6', '17', '132', '1'].map((each) => `flow ${each} 4`),
  ...['6', '17', '132', '58'].map((each) => `flow ${each} 6`),
  ...['Accept', 'Allow', 'Deny', 'Pass'].map((each) => `action ${each}`),
  ...['allow', 'deny', 'pass'].map((each) => `decided kube-admin ${each}`),
  ...['allow', 'deny'].map((each) => `decided default ${each}`),
  ...['allow', 'deny', 'pass'].map((each) => `decided kube-baseline ${each}`),
  ...['self', 'own-node'].map((each) => `exempt ${each}`),
  ...['allow', 'deny'].map((each) => `verdict ${each}`),
];

type Note = (what: string) => unknown;

function noteManifest(manifest: Json, note: Note): void {
  note(`kind ${String(manifest['kind'])}`);
  walk(manifest, '', (key, value) => {
    const keys = Object.keys(value).join(' ');
    if ('operator' in value) note(`selector ${String(value['operator'])}`);
    if ('matchLabels' in value) note('selector matchLabels');
    if (key.endsWith('Selector') && keys === '') note('selector no labels');
    if ('action' in value) note(`action ${String(value['action'])}`);
    if (['from', 'to', 'ipBlock'].includes(key)) note(`peer ${keys}`);
    if (['ports', 'protocols', 'portNumber', 'portRange'].includes(key)) notePort(value, note);
    if ('range' in value || 'start' in value) note('port range');
  });
}

function notePort(value: Json, note: Note): void {
  const { protocol, port, endPort, namedPort, destinationNamedPort } = value;
  for (const name of ['tcp', 'udp', 'sctp']) if (name in value) note(`port ${name}`);
  note(`port ${typeof protocol === 'string' ? protocol : 'none'}`);
  if ([port, namedPort, destinationNamedPort].some((each) => typeof each === 'string')) note('port name');
  if (typeof port === 'number') note('port number');
  if (typeof endPort === 'number') note('port endPort');
  if (Object.keys(value).join(' ') === 'protocol') note('port whole');
}

/** Every object inside, with the key that it or the list around it stands under. */
function walk(value: unknown, key: string, visit: (key: string, value: Json) => void): void {
  if (Array.isArray(value)) for (const each of value) walk(each, key, visit);
  else if (typeof value === 'object' && value !== null) {
    visit(key, value as Json);
    for (const [inner, each] of Object.entries(value)) walk(each, inner, visit);
  }
}

function noteVerdict(verdict: Verdict, flow: Flow, note: Note): void {
  note(`flow ${flow.protocol} ${addressFamily(flow.source)}`);
  note(`verdict ${verdict.action}`);
  for (const { exempt, trail } of verdict.checks) {
    if (exempt !== undefined) note(`exempt ${exempt}`);
    for (const { tier, outcome } of trail) if (outcome !== 'no match') note(`decided ${tier} ${outcome}`);
  }
}

test('the trail tells all that was asked, in order, and its last step decided', () => {
  fc.assert(
    fc.property(cases, ({ world, manifests, flows }) => {
      const book = bookOf(manifests);
      for (const flow of flows) checkTrails(book, world, flow);
    }),
    { numRuns: 200 },
  );
});

function checkTrails(book: RuleBook, world: PolicyWorld, flow: Flow): void {
  const { action, checks } = evaluate(book, world, flow);
  assert.equal(action, checks.some((check) => check.action === 'deny') ? 'deny' : 'allow');
  const order = book.enforced.map(({ tier }) => tier.name);
  for (const check of checks) {
    const tiers = check.trail.map(({ tier }) => order.indexOf(tier));
    assert.deepEqual(
      tiers,
      tiers.toSorted((a, b) => a - b),
    );
    const last = check.trail.at(-1)?.outcome;
    assert.equal(check.action === 'deny', last === 'deny');
    const decided = check.trail
      .slice(0, -1)
      .filter(({ outcome }) => outcome === 'allow' || outcome === 'deny');
    assert.deepEqual(decided, []);
  }
}
