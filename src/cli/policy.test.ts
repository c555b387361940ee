/** What `tartan policy` reads offline, and how it names pods. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Fault } from '#model/fault.ts';
import { shortenNames } from './policy-names.ts';
import { readFiles, readSource, viewOf } from './policy-source.ts';

function writeTree(t: TestContext, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'pd-cli-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

const policy = (name: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: ${name}, namespace: shop }\nspec: { podSelector: {} }\n`;

/** As stores write what agents tell. */
const state = (kind: string, name: string, spec: object): string =>
  JSON.stringify({ apiVersion: 'tartan.dev/v1', kind, metadata: { name, revision: 3 }, spec });

test('a store’s directory: manifests, and what agents told of pods and nodes', async (t) => {
  const pod = { namespace: 'shop', name: 'db', addresses: ['10.244.1.2', 'fd00::2'], labels: { app: 'db' } };
  const root = writeTree(t, {
    'manifests/shop/db.yaml': `${policy('a')}---\n${policy('b')}`,
    'manifests/.hidden.yaml': policy('hidden'),
    'manifests/notes.txt': 'nothing',
    'state/Workloads/node-a.yaml': state('Workloads', 'node-a', { node: 'node-a', pods: [pod] }),
    'state/Node/node-a.yaml': state('Node', 'node-a', {
      name: 'node-a',
      addresses: { 4: '192.0.2.1' },
      inside: { 4: '10.244.1.1' },
    }),
    'state/Workloads/node-b.yaml': state('Workloads', 'node-b', { pods: 'none' }),
    'state/SubnetClaim/x.yaml': state('SubnetClaim', 'x', { node: 'node-a', subnet: '10.244.1.0/24' }),
  });
  const { book, world } = viewOf(await readSource({ from: [root] }));
  const names = book.enforced.flatMap(({ policies }) => policies.map(({ name }) => name));
  assert.deepEqual(names, ['shop/a', 'shop/b']);
  const [found] = world.endpoints;
  assert.ok(found?.kind === 'pod');
  assert.deepEqual(
    [found.name, found.node, found.addresses, found.labels],
    ['db', 'node-a', pod.addresses, pod.labels],
  );
  assert.deepEqual(world.nodes.get('node-a')?.addresses.toSorted(), ['10.244.1.1', '192.0.2.1']);
});

test('everything that is wrong, and of equal names the first', (t) => {
  const root = writeTree(t, {
    'a.yaml': `${policy('a')}---\nkind: [\n---\n${policy('c').replace('spec:', 'spce:')}`,
    'b.json': JSON.stringify({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'a', namespace: 'shop' },
      spec: { podSelector: {} },
    }),
  });
  const { inputs, problems } = readFiles([root]);
  const all = [...problems, ...inputs.view().problems].map(
    ({ path, message }) => `${path.slice(root.length + 1)}: ${message}`,
  );
  assert.ok(
    all.some((line) => line.startsWith('b.json: networking.k8s.io/v1/NetworkPolicy/shop/a is also in ')),
    all.join('\n'),
  );
  assert.ok(
    all.some((line) => /^a\.yaml:[67]:/.test(line)),
    all.join('\n'),
  );
  assert.ok(
    all.some((line) => line.includes('spce: unknown field')),
    all.join('\n'),
  );
});

test('a path that is not there is the reader’s mistake', () => {
  assert.throws(
    () => readFiles(['/nonexistent/pd']),
    (error) => error instanceof Fault && error.code === 'request-invalid',
  );
});

test('names of pods are shortened by whole namespaces', () => {
  const all = ['a/1', 'a/2', 'b/1', 'b/2', 'b/3', 'b/4', 'b/5', 'b/6', 'c/1'];
  assert.equal(shortenNames(['a/1', 'a/2'], all), 'a/*');
  assert.equal(shortenNames(['a/1'], all), 'a/1');
  assert.equal(shortenNames(['c/1'], all), 'c/1');
  assert.equal(shortenNames(['b/1', 'b/2', 'b/3', 'b/4', 'b/5'], all), 'b/1, b/2, b/3, (+2)');
  assert.equal(shortenNames(['elsewhere', 'a/1', 'a/2', 'node:x'], all), 'a/*, elsewhere, node:x');
});

test('what DNS names stand for, offline: what is given, and a warning about the rest', async (t) => {
  const domains = '["*.Example.org", a.net]';
  const root = writeTree(t, {
    'p.yaml': `apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: p}\nspec: {types: [Egress], egress: [{action: Allow, destination: {domains: ${domains}}}]}\n`,
  });
  const said: string[] = [];
  t.mock.method(console, 'error', (line: string) => said.push(line));
  const { world } = viewOf(
    await readSource({ from: [root], name: ['WWW.example.org=192.0.2.7', 'b.net=192.0.2.8'] }),
  );
  assert.deepEqual(
    [...world.names].map(([name, all]) => [name, ...all]),
    [['*.example.org', '192.0.2.7']],
  );
  assert.deepEqual(said, ['warning: a.net: only agents know what DNS names stand for: say it with --name']);
  await assert.rejects(readSource({ from: [root], name: ['a.net'] }), /must be a name and an address/);
});
