import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { type Manifest, originOf } from '#model/manifest.ts';
import { Follower, storeContract } from './contract.ts';
import { type DirectoryStore, openDirectoryStore } from './directory.ts';
import { STATE_KINDS } from './store.ts';

function scratch(): string {
  return mkdtempSync(join(tmpdir(), 'tartan-store-'));
}

storeContract('directory', async () => {
  const path = scratch();
  const store = openDirectoryStore(path);
  const other = openDirectoryStore(path);
  return {
    store,
    other,
    writeManifests(source, text) {
      mkdirSync(join(path, 'manifests'), { recursive: true });
      if (text === undefined) rmSync(join(path, 'manifests', source));
      else writeFileSync(join(path, 'manifests', source), text);
    },
    async interrupt(noticed) {
      renameSync(join(path, 'state'), join(path, 'away'));
      await noticed();
      renameSync(join(path, 'away'), join(path, 'state'));
    },
    async close() {
      store.close();
      other.close();
      rmSync(path, { recursive: true });
    },
  };
});

type SetUp = {
  path: string;
  store: DirectoryStore;
  follow: () => Follower;
  followManifests: () => Follower;
};

function setUp(t: TestContext): SetUp {
  const path = scratch();
  const store = openDirectoryStore(path);
  const stop = new AbortController();
  t.after(() => {
    stop.abort();
    store.close();
    rmSync(path, { recursive: true });
  });
  return {
    path,
    store,
    follow: () => new Follower(store, 'SubnetClaim', stop.signal),
    followManifests: () => new Follower(store, 'Manifest', stop.signal),
  };
}
const manifest = (name: string, node: string): string =>
  `apiVersion: tartan.dev/v1\nkind: SubnetClaim\nmetadata:\n  name: ${name}\nspec:\n  node: ${node}\n`;

test('the operator’s objects win and cannot be overwritten', async (t) => {
  const { path, store, follow } = setUp(t);
  await store.put('SubnetClaim', 'a', { node: 'agent' });
  const follower = follow();
  await follower.synced();
  mkdirSync(join(path, 'manifests', 'deep'), { recursive: true });
  writeFileSync(
    join(path, 'manifests', 'deep', 'x.yaml'),
    `# mine\n---\n${manifest('a', 'op')}---\n${manifest('b', 'op')}`,
  );
  await follower.until(() => follower.objects.size === 2);
  assert.deepEqual(follower.objects.get('a')?.value, { node: 'op' });
  const conflict = { code: 'store-conflict', message: /operator’s: .*deep\/x\.yaml/ };
  await assert.rejects(store.put('SubnetClaim', 'a', { node: 'agent' }), conflict);
  await assert.rejects(store.remove('SubnetClaim', 'b'), conflict);
  assert.deepEqual((await store.get('SubnetClaim', 'b'))?.value, { node: 'op' });
  rmSync(join(path, 'manifests', 'deep', 'x.yaml'));
  await follower.until(() => follower.objects.get('a')?.origin.includes('/state/') === true);
});

test('a malformed file is reported at its line; the last good object stays and the rest goes on', async (t) => {
  const { path, store, follow } = setUp(t);
  const file = join(path, 'manifests', 'x.yaml');
  mkdirSync(join(path, 'manifests'));
  writeFileSync(file, manifest('a', 'good'));
  const follower = follow();
  await follower.synced();
  writeFileSync(file, `${manifest('a', '"not closed')}---\n${manifest('b', 'good')}---\nkind: [\n`);
  await follower.until(() => follower.types.includes('malformed'));
  const lines = follower.events.flatMap((event) =>
    event.type === 'malformed' ? [`${event.origin}:${event.line}`] : [],
  );
  assert.ok(lines.length > 0 && lines.every((line) => line.startsWith(`${file}:`)));
  assert.deepEqual(follower.objects.get('a')?.value, { node: 'good' });
  await store.put('SubnetClaim', 'c', { node: 'agent' });
  await follower.until(() => follower.objects.has('c'));
  writeFileSync(file, manifest('a', 'better'));
  await follower.until(() => JSON.stringify(follower.objects.get('a')?.value) === '{"node":"better"}');
});

test('unknown kinds, versions, misplaced and over-large files are malformed', async (t) => {
  const { path, store, follow } = setUp(t);
  const directory = join(path, 'state', 'SubnetClaim');
  writeFileSync(join(directory, 'misplaced.yaml'), manifest('other', 'n'));
  writeFileSync(join(directory, 'large.yaml'), '#'.repeat(2 << 20));
  mkdirSync(join(path, 'manifests'));
  writeFileSync(
    join(path, 'manifests', 'kind.yaml'),
    `\n\n${manifest('x', 'n').replace('SubnetClaim', 'Odd')}`,
  );
  writeFileSync(join(path, 'manifests', 'version.yaml'), manifest('x', 'n').replace('v1', 'v9'));
  const follower = follow();
  await follower.synced();
  const found = follower.events.flatMap((event) => (event.type === 'malformed' ? [event] : []));
  const texts = found
    .map(({ origin, line, message }) => `${origin.split('/').at(-1)}:${line} ${message}`)
    .sort();
  assert.deepEqual(texts, [
    `kind.yaml:3 unknown kind "Odd": known are ${STATE_KINDS.join(', ')}`,
    'large.yaml:1 larger than 1048576 bytes',
    'misplaced.yaml:1 kind and metadata.name are not those of SubnetClaim/misplaced.yaml',
    'version.yaml:1 apiVersion is "tartan.dev/v9"; this program reads tartan.dev/v1',
  ]);
  assert.equal(follower.objects.size, 0);
  await assert.rejects(store.get('SubnetClaim', 'misplaced'), { code: 'store-malformed' });
  await store.put('SubnetClaim', 'misplaced', { node: 'healed' });
  await follower.until(() => follower.objects.has('misplaced'));
});

test('names cannot leave the directory', async (t) => {
  const { store } = setUp(t);
  for (const name of ['../x', 'a/b', '.hidden', '', 'x'.repeat(245), 'a\0', 'a\n']) {
    await assert.rejects(store.put('Node', name, {}), { code: 'store-malformed' });
    await assert.rejects(store.get('Node', name), { code: 'store-malformed' });
    await assert.rejects(store.remove('Node', name), { code: 'store-malformed' });
  }
});

test('one file removed by hand is a removal, all of them at once is a gap', async (t) => {
  const { path, store, follow } = setUp(t);
  for (const name of ['a', 'b', 'c']) await store.put('SubnetClaim', name, { name });
  const follower = follow();
  await follower.synced();
  const file = (name: string): string => join(path, 'state', 'SubnetClaim', `${name}.yaml`);
  rmSync(file('a'));
  await follower.until(() => !follower.objects.has('a'));
  const kept = readFileSync(file('b'));
  for (const name of ['b', 'c']) rmSync(file(name));
  await follower.until(() => follower.types.endsWith('gap'));
  assert.equal(follower.objects.size, 2);
  writeFileSync(file('b'), kept);
  await follower.synced(2);
  assert.deepEqual([...follower.objects.keys()], ['b']);
});

test('two handles: a change is seen within 100 ms', async (t) => {
  const { path, follow } = setUp(t);
  const follower = follow();
  await follower.synced();
  const other = openDirectoryStore(path);
  t.after(() => other.close());
  await other.put('SubnetClaim', 'a', { n: 1 });
  await follower.until(() => follower.objects.has('a'), 100);
});

const policy = (name: string, app: string, namespace = 'shop'): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: ${name}\n  namespace: ${namespace}\nspec:\n  podSelector:\n    matchLabels: { app: ${app} }\n`;

test('objects of other programs are handed on as they are, under their full names', async (t) => {
  const { path, store, followManifests } = setUp(t);
  const file = join(path, 'manifests', 'a.yaml');
  mkdirSync(join(path, 'manifests'));
  writeFileSync(
    file,
    `# mine\n${policy('web', 'a')}---\napiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n`,
  );
  const follower = followManifests();
  await follower.synced();
  assert.deepEqual([...follower.objects.keys()].sort(), [
    'networking.k8s.io/v1/NetworkPolicy/shop/web',
    'v1/Namespace/shop',
  ]);
  const stored = follower.objects.get('networking.k8s.io/v1/NetworkPolicy/shop/web');
  assert.equal(stored?.origin, file);
  const manifest = stored.value as Manifest;
  assert.equal(manifest.source, file);
  assert.deepEqual((manifest.value as { spec: unknown }).spec, {
    podSelector: { matchLabels: { app: 'a' } },
  });
  assert.deepEqual(originOf(manifest, ['spec', 'podSelector', 'matchLabels', 'app']), {
    source: file,
    line: 9,
    path: 'spec.podSelector.matchLabels.app',
  });
  assert.deepEqual(await store.get('Manifest', stored.name), stored);
  assert.equal((await store.list('Manifest')).length, 2);
  await assert.rejects(store.put('Manifest', stored.name, manifest), { code: 'store-conflict' });
  await assert.rejects(store.remove('Manifest', stored.name), { code: 'store-conflict' });
});

test('a file that cannot be read, nor was before, holds what it held when it was last in order', async (t) => {
  const root = scratch();
  t.after(() => rmSync(root, { recursive: true }));
  const path = join(root, 'manifests', 'a.yaml');
  mkdirSync(join(root, 'manifests'), { recursive: true });
  const object = (name: string): string =>
    `apiVersion: example.com/v1\nkind: Thing\nmetadata: { name: ${name} }\n`;
  writeFileSync(path, `${object('one')}---\n${object('two')}---\n${object('three')}`);
  const first = openDirectoryStore(root);
  t.after(() => first.close());
  const before = (await first.list('Manifest')).map(({ name, value }) => [name, value as Manifest] as const);
  writeFileSync(path, `${object('one')}---\nbroken: [\n---\n${object('three')}label: new\n`);
  writeFileSync(join(root, 'manifests', 'b.yaml'), 'broken: [\n');
  const asked: string[] = [];
  const later = openDirectoryStore(root, {
    lastGood: (file) => (asked.push(file), file === path ? before : []),
  });
  t.after(() => later.close());
  const listed = await later.list('Manifest');
  assert.deepEqual(
    new Set(listed.map(({ name }) => name.split('/').at(-1))),
    new Set(['one', 'three', 'two']),
  );
  const three = listed.find(({ name }) => name.endsWith('three'))?.value as Manifest;
  assert.deepEqual((three.value as { label?: string }).label, 'new');
  assert.deepEqual(asked.sort(), [path, join(root, 'manifests', 'b.yaml')]);
  // In order again: what it does not say is gone.
  writeFileSync(path, object('two'));
  const stop = new AbortController();
  t.after(() => stop.abort());
  const follower = new Follower(later, 'Manifest', stop.signal);
  await follower.until(() => follower.objects.size === 1);
});
