/** The operator's files while they are written: what is believed of them at any moment. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Manifest, readManifests } from '#model/manifest.ts';
import { Follower } from './contract.ts';
import { REST } from './manifest-files.ts';
import { manifestName } from './object-file.ts';
import { type DirectoryOptions, type DirectoryStore, openDirectoryStore } from './directory.ts';

type SetUp = {
  readonly manifests: string;
  readonly store: DirectoryStore;
  readonly follow: () => Follower;
  /** Names without what is the same in all, with their applications. */
  readonly seen: (follower: Follower) => string;
};

function setUp(t: TestContext, rest = REST, lastGood: DirectoryOptions['lastGood'] = () => []): SetUp {
  const path = mkdtempSync(join(tmpdir(), 'tartan-manifests-'));
  const manifests = join(path, 'manifests');
  mkdirSync(manifests);
  const store = openDirectoryStore(path, { rest, lastGood });
  const stop = new AbortController();
  t.after(() => {
    stop.abort();
    store.close();
    rmSync(path, { recursive: true });
  });
  const appOf = (value: unknown): string =>
    ((value as Manifest).value as { spec: { podSelector: { app: string } } }).spec.podSelector.app;
  return {
    manifests,
    store,
    follow: () => new Follower(store, 'Manifest', stop.signal),
    seen: ({ objects }) =>
      [...objects.values()]
        .map(({ name, value }) => `${name.split('/').at(-1)}=${appOf(value)}`)
        .sort()
        .join(' '),
  };
}

const policy = (name: string, app = 'x'): string =>
  `---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: ${name}\nspec:\n  podSelector:\n    app: ${app}\n`;
const KIND = 'networking.k8s.io/v1/NetworkPolicy';
const problems = ({ events }: Follower): string[] =>
  events.flatMap((event) => (event.type === 'malformed' ? [`${event.line} ${event.message}`] : []));

test('a file that is truncated and written in pieces: no object is gone or another at any moment', async (t) => {
  const { manifests, follow, seen } = setUp(t, { quietMs: 1000, unfinishedMs: 3000 });
  const file = join(manifests, 'a.yaml');
  writeFileSync(file, ['a', 'b', 'c'].map((name) => policy(name)).join(''));
  const follower = follow();
  await follower.synced();
  const before = follower.events.length;
  const text = ['a', 'b', 'c', 'd'].map((name) => policy(name, 'longer-than-before')).join('');
  truncateSync(file, 0);
  for (let at = 0; at < text.length; at += 29) {
    await sleep(25);
    appendFileSync(file, text.slice(at, at + 29));
    assert.equal(seen(follower), 'a=x b=x c=x');
  }
  await follower.until(() => seen(follower).includes('d='));
  await sleep(50);
  assert.equal(
    seen(follower),
    'a=longer-than-before b=longer-than-before c=longer-than-before d=longer-than-before',
  );
  const events = follower.events.slice(before).map(({ type }) => type);
  assert.deepEqual(events, ['put', 'put', 'put', 'put'], 'each changed once');
});

test('slower than a file rests, but longer than it stays unfinished: not believed before it is whole', async (t) => {
  const { manifests, follow, seen } = setUp(t, { quietMs: 20, unfinishedMs: 3000 });
  const file = join(manifests, 'a.yaml');
  writeFileSync(file, policy('a') + policy('b'));
  const follower = follow();
  await follower.synced();
  const before = follower.events.length;
  const text = policy('a', 'y') + policy('b', 'y');
  writeFileSync(file, '');
  // Cut between documents, in one, in a line, and where good YAML says something else.
  for (const end of [policy('a').length, text.length - 30, text.length - 9, text.length - 1, text.length]) {
    await sleep(250);
    assert.equal(seen(follower), 'a=x b=x', `before ${end}`);
    writeFileSync(file, text.slice(0, end));
  }
  await follower.until(() => seen(follower) === 'a=y b=y');
  assert.deepEqual(
    follower.events.slice(before).map(({ type }) => type),
    ['put', 'put'],
  );
});

test('a file that looks finished and is not: its end is missing, or an object in its middle', async (t) => {
  const { manifests, follow, seen } = setUp(t, { quietMs: 1000, unfinishedMs: 3000 });
  const file = join(manifests, 'a.yaml');
  writeFileSync(file, policy('a') + policy('b'));
  const follower = follow();
  await follower.synced();
  const before = follower.events.length;
  // Longer than before and good at every line; the last line of all makes it another.
  writeFileSync(file, `${policy('a')}${policy('b', 'half-of-it')}`);
  await sleep(300);
  appendFileSync(file, '    tier: more\n');
  await follower.until(() => JSON.stringify(follower.objects.get(`${KIND}/b`)?.value).includes('tier'));
  assert.deepEqual(
    follower.events.slice(before).map(({ type }) => type),
    ['put'],
  );
  assert.equal(seen(follower), 'a=x b=half-of-it');
  writeFileSync(file, policy('a', 'longer'.repeat(90)));
  await sleep(1500);
  assert.equal(seen(follower), 'a=x b=half-of-it', 'neither is b gone, nor is anything believed beside it');
  await follower.until(() => follower.objects.size === 1);
});

test('objects that are taken out of a file, or all of them, are gone after a moment', async (t) => {
  const { manifests, follow, seen } = setUp(t, { quietMs: 20, unfinishedMs: 1500 });
  const file = join(manifests, 'a.yaml');
  writeFileSync(file, policy('a') + policy('b') + policy('c'));
  const follower = follow();
  await follower.synced();
  writeFileSync(file, policy('a') + policy('c'));
  await sleep(200);
  assert.equal(seen(follower), 'a=x b=x c=x', 'not yet');
  await follower.until(() => seen(follower) === 'a=x c=x');
  writeFileSync(file, '');
  await follower.until(() => seen(follower) === '');
  assert.deepEqual(problems(follower), []);
});

test('a document cut short keeps its last good object; what is good beside it goes on', async (t) => {
  const { manifests, follow, seen } = setUp(t);
  const file = join(manifests, 'a.yaml');
  writeFileSync(file, policy('a') + policy('b') + policy('c'));
  const follower = follow();
  await follower.synced();
  writeFileSync(file, `${policy('a', 'y')}---\nkind: [\n${policy('c', 'y')}`);
  await follower.until(() => seen(follower) === 'a=y b=x c=y');
  assert.ok(problems(follower).every((line) => Number(line.split(' ')[0]) > 8));
  await follower.until(() => problems(follower).length > 0);
});

test('a file that was broken while nobody looked holds what is remembered of it, until it is whole', async (t) => {
  const { manifests, follow, seen } = setUp(t, REST, (path) => {
    const { manifests: accepted } = readManifests(path, policy('a') + policy('b'));
    return accepted.map((manifest) => [manifestName(manifest.value) ?? '', manifest]);
  });
  const file = join(manifests, 'a.yaml');
  writeFileSync(join(manifests, 'b.yaml'), policy('c'));
  writeFileSync(file, `${policy('a', 'y')}---\nkind: [\n`);
  const follower = follow();
  await follower.synced();
  assert.equal(seen(follower), 'a=y b=x c=x');
  assert.ok(problems(follower).length > 0);
  writeFileSync(file, policy('b', 'z') + policy('d'));
  await follower.until(() => seen(follower) === 'b=z c=x d=x');
});

test('a file that another takes the place of is believed at once; one removed and written anew is never gone', async (t) => {
  const { manifests, follow, seen } = setUp(t, { quietMs: 100, unfinishedMs: 2000 });
  const file = join(manifests, 'a.yaml');
  writeFileSync(file, policy('a'));
  const follower = follow();
  await follower.synced();
  const beside = join(manifests, '.a.yaml.new');
  writeFileSync(beside, policy('a', 'renamed'));
  utimesSync(beside, new Date(0), new Date(0));
  renameSync(beside, file);
  await follower.until(() => seen(follower) === 'a=renamed');
  rmSync(file);
  await sleep(150);
  assert.equal(seen(follower), 'a=renamed');
  writeFileSync(file, policy('a', 'anew'));
  await follower.until(() => seen(follower) === 'a=anew');
  assert.ok(!follower.types.includes('removed'), follower.types);
});

test('a snapshot waits for files that are just written, and a watch tells of no half', async (t) => {
  const { manifests, store, follow, seen } = setUp(t);
  const file = join(manifests, 'a.yaml');
  writeFileSync(file, policy('a').slice(0, -4));
  const follower = follow();
  const listed = store.list('Manifest');
  await sleep(40);
  appendFileSync(file, policy('a').slice(-4));
  await follower.synced();
  assert.equal(seen(follower), 'a=x');
  assert.equal(follower.types, 'put synced');
  assert.equal((await listed).length, 1);
});

test('of two objects with one name the first counts, and the other is told of', async (t) => {
  const { manifests, follow, seen } = setUp(t);
  writeFileSync(join(manifests, 'b.yaml'), policy('a', 'second') + policy('b') + policy('b', 'again'));
  const first = follow();
  await first.synced();
  assert.equal(seen(first), 'a=second b=x');
  assert.deepEqual(problems(first), [`18 ${KIND}/b is there already, on line 10`]);
  writeFileSync(join(manifests, 'a.yaml'), policy('a', 'first'));
  const told = `2 ${KIND}/a is there already, in ${join(manifests, 'a.yaml')}:2`;
  await first.until(() => problems(first).at(-1) === told);
  assert.equal(seen(first), 'a=first b=x');
  const second = follow();
  await second.synced();
  assert.deepEqual(problems(second), [`18 ${KIND}/b is there already, on line 10`, told]);
  rmSync(join(manifests, 'a.yaml'));
  await first.until(() => seen(first) === 'a=second b=x');
  assert.ok(!first.types.includes('removed'));
});

test('lists are the objects in them; what is no object is told at its line', async (t) => {
  const { manifests, follow } = setUp(t);
  const item = (name: string): string =>
    `- apiVersion: v1\n  kind: Namespace\n  metadata: { name: ${name} }\n`;
  writeFileSync(
    join(manifests, 'list.yaml'),
    `apiVersion: v1\nkind: List\nitems:\n${item('a')}${item('b')}- kind: Namespace\n`,
  );
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'shop' } };
  writeFileSync(
    join(manifests, 'list.json'),
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [pod, { ...pod, metadata: {} }] }, null, 2),
  );
  writeFileSync(join(manifests, 'none.yaml'), '# nothing yet\n---\n\n---\n7\n---\nmetadata: { name: a/b }\n');
  const follower = follow();
  await follower.synced();
  assert.deepEqual([...follower.objects.keys()].sort(), [
    'v1/Namespace/a',
    'v1/Namespace/b',
    'v1/Pod/shop/p',
  ]);
  const at = follower.events.flatMap((event) =>
    event.type === 'malformed' ? [`${event.origin.split('/').at(-1)}:${event.line}`] : [],
  );
  assert.deepEqual(at.sort(), ['list.json:13', 'list.yaml:10', 'none.yaml:5', 'none.yaml:7']);
});

test('a file beyond measure, or of other bytes than text, is told of and keeps what it held', async (t) => {
  const { manifests, follow, seen } = setUp(t);
  const file = join(manifests, 'a.yaml');
  writeFileSync(file, policy('a'));
  const follower = follow();
  await follower.synced();
  truncateSync(file, (64 << 20) + 1);
  await follower.until(() => problems(follower).length === 1);
  writeFileSync(file, Buffer.concat([Buffer.from(policy('a', 'y')), Buffer.from([0xff, 0x0a])]));
  await follower.until(() => problems(follower).length === 2);
  assert.deepEqual(problems(follower), ['1 larger than 67108864 bytes', '1 not in UTF-8']);
  assert.equal(seen(follower), 'a=x');
});

test('manifests that are all gone at once are a gap, and come back as they were', async (t) => {
  const { manifests, follow, seen } = setUp(t);
  for (const name of ['a', 'b']) writeFileSync(join(manifests, `${name}.yaml`), policy(name));
  const follower = follow();
  await follower.synced();
  renameSync(manifests, `${manifests}-away`);
  await follower.until(() => follower.types.includes('gap'));
  assert.equal(seen(follower), 'a=x b=x');
  renameSync(`${manifests}-away`, manifests);
  await follower.synced(2);
  assert.equal(seen(follower), 'a=x b=x');
  assert.ok(!follower.types.includes('removed'));
});
