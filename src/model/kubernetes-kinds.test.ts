import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeName, encodeName, MANIFEST_RESOURCES, resourcePath } from './kubernetes-kinds.ts';

const DNS = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;

test('names: DNS names stay, all others come back, no two are one', () => {
  for (const name of ['node-a', '10.244.7.0-24', 'a.b', '0']) assert.equal(encodeName(name), name);
  assert.equal(encodeName('fd00:1::-64'), 'x--fd00-3a1-3a-3a-2d64');
  assert.equal(encodeName('10.0.0.0/26'), 'x--10-2e0-2e0-2e0-2f26');
  assert.equal(encodeName('A'.repeat(90)), undefined);
  const anyName = fc.oneof(
    fc.string({ minLength: 1, maxLength: 60 }),
    fc.stringMatching(/^[A-Za-z0-9:][A-Za-z0-9:._-]{0,60}$/),
    fc.stringMatching(/^x--[a-z0-9-]{0,20}$/),
  );
  const owners = new Map<string, string>();
  fc.assert(
    fc.property(anyName, (name) => {
      fc.pre(name.isWellFormed());
      const encoded = encodeName(name);
      if (encoded === undefined) return;
      assert.match(encoded, DNS);
      assert.ok(encoded.length <= 253);
      assert.equal(decodeName(encoded), name);
      assert.equal(owners.get(encoded) ?? name, name);
      owners.set(encoded, name);
    }),
  );
});

test('what no name is encoded as is nobody’s name', () => {
  for (const encoded of ['x--', 'x--abc', 'x---61', 'x--a-3', 'x--A', 'x--a.b-3a'])
    assert.equal(decodeName(encoded), undefined, encoded);
});

test('each resource stands once, and its alternatives are in the table', () => {
  const keys = MANIFEST_RESOURCES.map(({ group, plural }) => `${plural}.${group}`);
  assert.equal(new Set(keys).size, keys.length);
  for (const { unless } of MANIFEST_RESOURCES)
    if (unless !== undefined) assert.ok(keys.includes(`${unless.plural}.${unless.group}`));
  const [first] = MANIFEST_RESOURCES;
  assert.ok(first !== undefined);
  assert.equal(resourcePath(first, 'v1'), '/api/v1/namespaces');
  assert.equal(
    resourcePath({ group: 'tartan.dev', plural: 'blocks' }, 'v1', { name: 'a' }),
    '/apis/tartan.dev/v1/blocks/a',
  );
  assert.equal(
    resourcePath({ group: 'networking.k8s.io', plural: 'networkpolicies' }, 'v1', {
      namespace: 'n',
      name: 'p',
    }),
    '/apis/networking.k8s.io/v1/namespaces/n/networkpolicies/p',
  );
});
