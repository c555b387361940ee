import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RuleBook } from '#model/policy.ts';
import { createBook } from '../book.ts';
import { parseObjects } from '../frontends/index.ts';
import { addressOf, makeWorld } from '../testing/world.ts';
import { AskerFinder } from './askers.ts';

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

function bookOf(...specs: readonly string[]): RuleBook {
  const texts = specs.map(
    (spec, index) =>
      `apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: p${index}}\nspec: ${spec}\n`,
  );
  const { policies, problems } = parseObjects('test', texts.join('---\n'));
  assert.deepEqual(problems, []);
  return createBook({ policies });
}

const naming = (selector: string, ...domains: string[]): string =>
  `{selector: ${selector}, types: [Egress], egress: [{action: Allow, destination: {domains: [${domains.map((each) => JSON.stringify(each)).join()}]}}]}`;
const WEB = [...new Set([addressOf(WORLD, 'prod/web', 4), addressOf(WORLD, 'prod/web', 6)])].sort();

test('pods of the node that a policy with names selects, and the names', () => {
  const finder = new AskerFinder('a');
  const book = bookOf(
    naming("app == 'web'", '*.Example.org', 'a.org'),
    '{selector: all(), egress: [{action: Deny}]}',
  );
  const found = finder.find(book, WORLD);
  assert.deepEqual([...found.names].sort(), ['*.example.org', 'a.org']);
  assert.deepEqual([...found.addresses].sort(), WEB);
});

test('without names nobody is an asker, whatever selects them', () => {
  const found = new AskerFinder('a').find(bookOf('{selector: all(), egress: [{action: Deny}]}'), WORLD);
  assert.deepEqual([found.names.size, found.addresses.size], [0, 0]);
});

test('the same object while nothing that matters has changed', () => {
  const finder = new AskerFinder('a');
  const before = finder.find(bookOf(naming("app == 'web'", 'a.org')), WORLD);
  assert.equal(finder.find(bookOf(naming("app == 'web'", 'a.org')), { ...WORLD, names: new Map() }), before);
  const relabelled = WORLD.endpoints.map((each) =>
    each.kind === 'pod' && each.name === 'db' ? { ...each, labels: { app: 'web' } } : each,
  );
  assert.equal(
    finder.find(bookOf(naming("app == 'web'", 'a.org')), { ...WORLD, endpoints: relabelled }).addresses.size,
    2 * WEB.length,
  );
});
