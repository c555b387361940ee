import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseObjects } from '../frontends/index.ts';
import { addressOf, makeWorld } from '../testing/world.ts';
import { AskerFinder } from './askers.ts';
import { type Naming, NamingRules } from './naming.ts';

const WORLD = makeWorld({
  namespaces: { prod: {} },
  nodes: { a: {}, b: {} },
  pods: [
    { name: 'prod/web', labels: { app: 'web' }, node: 'a' },
    { name: 'prod/db', labels: { app: 'db' }, node: 'a' },
    { name: 'prod/far', labels: { app: 'web' }, node: 'b' },
    { name: 'prod/host', labels: { app: 'web' }, node: 'a', hostNetwork: true },
  ],
});

function rulesOf(...specs: readonly string[]): Naming {
  const texts = specs.map(
    (spec, index) =>
      `apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: p${index}}\nspec: ${spec}\n`,
  );
  const { policies, problems } = parseObjects('test', texts.join('---\n'));
  assert.deepEqual(problems, []);
  const rules = new NamingRules();
  for (const policy of policies) rules.put(policy.name, [policy]);
  return rules.value();
}

const naming = (selector: string, ...domains: string[]): string =>
  `{selector: ${selector}, types: [Egress], egress: [{action: Allow, destination: {domains: [${domains.map((each) => JSON.stringify(each)).join()}]}}]}`;
const naming1 = naming('all()', 'a.org');
const WEB = [...new Set([addressOf(WORLD, 'prod/web', 4), addressOf(WORLD, 'prod/web', 6)])].sort();

test('pods of the node that a policy with names selects, and the names', () => {
  const finder = new AskerFinder('a');
  const rules = rulesOf(
    naming("app == 'web'", '*.Example.org', 'a.org'),
    '{selector: all(), egress: [{action: Deny}]}',
  );
  const found = finder.find(rules, WORLD);
  assert.deepEqual([...found.names].sort(), ['*.example.org', 'a.org']);
  assert.deepEqual([...found.addresses].sort(), WEB);
});

test('without names nobody is an asker, whatever selects them', () => {
  const found = new AskerFinder('a').find(rulesOf('{selector: all(), egress: [{action: Deny}]}'), WORLD);
  assert.deepEqual([found.names.size, found.addresses.size], [0, 0]);
});

test('the same object while nothing that matters has changed', () => {
  const finder = new AskerFinder('a');
  const before = finder.find(rulesOf(naming("app == 'web'", 'a.org')), WORLD);
  assert.equal(finder.find(rulesOf(naming("app == 'web'", 'a.org')), { ...WORLD, names: new Map() }), before);
  const relabelled = WORLD.endpoints.map((each) =>
    each.kind === 'pod' && each.name === 'db' ? { ...each, labels: { app: 'web' } } : each,
  );
  assert.equal(
    finder.find(rulesOf(naming("app == 'web'", 'a.org')), { ...WORLD, endpoints: relabelled }).addresses.size,
    2 * WEB.length,
  );
});

test('rules are picked out as they come and go', () => {
  const rules = new NamingRules();
  const before = rules.value();
  const { policies } = parseObjects(
    'test',
    'apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: p}\nspec: {selector: all(), egress: [{action: Deny}]}\n',
  );
  rules.put('p', policies);
  assert.equal(rules.value(), before, 'without names it is none of them');
  const [naming] = rulesOf(naming1).policies;
  assert.ok(naming !== undefined);
  rules.put('p', [naming]);
  rules.put('Profile q', [{ name: 'q', ingress: [], egress: naming.egress }]);
  assert.deepEqual([[...rules.value().names], [...rules.value().profiles]], [['a.org'], ['q']]);
  assert.deepEqual(rules.value().policies, [naming]);
  rules.put('p', []);
  rules.put('Profile q', []);
  assert.deepEqual(
    [rules.value().names.size, rules.value().policies.length, rules.value().profiles.size],
    [0, 0, 0],
  );
});
