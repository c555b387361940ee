import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { type Manifest, manifestOf, originOf, readManifests } from '#model/manifest.ts';
import { openKeep } from './last-good.ts';

function scratch(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'tartan-keep-'));
  t.after(() => rmSync(path, { recursive: true }));
  return join(path, 'policy', 'accepted.journal');
}
function written(name: string, app: string, above = ''): Manifest {
  const text = `${above}kind: NetworkPolicy\nmetadata: { name: ${name} }\nspec:\n  podSelector: { app: ${app} }\n`;
  return readManifests('/m/a.yaml', text).manifests[0] ?? assert.fail();
}

test('what was put and removed is so after a restart, with its lines', (t) => {
  const path = scratch(t);
  const keep = openKeep(path);
  keep.put('a', written('a', 'x'));
  keep.put('b', written('b', 'x'));
  keep.put('api', manifestOf('key', { spec: { 'zwölf 🐈': [null, 1.5] } }));
  keep.put('a', written('a', 'y', '# moved\n'));
  keep.remove('b');
  keep.remove('never');
  keep.close();
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const again = openKeep(path);
  assert.deepEqual(again.problems, []);
  assert.deepEqual(
    [...again.entries()],
    [
      ['a', written('a', 'y', '# moved\n')],
      ['api', manifestOf('key', { spec: { 'zwölf 🐈': [null, 1.5] } })],
    ],
  );
  assert.equal(again.get('b'), undefined);
  const { line } = originOf(again.get('a') ?? assert.fail(), ['spec', 'podSelector']);
  assert.equal(line, 5);
  again.close();
});

test('what is kept already is not written again; what moved or changed is', (t) => {
  const path = scratch(t);
  openKeep(path).close();
  const grows = (action: () => void): boolean => {
    const before = statSync(path).size;
    action();
    return statSync(path).size > before;
  };
  const keep = openKeep(path);
  assert.ok(grows(() => keep.put('a', written('a', 'x'))));
  assert.ok(!grows(() => keep.put('a', written('a', 'x'))));
  assert.ok(grows(() => keep.put('a', written('a', 'y'))));
  assert.ok(grows(() => keep.put('a', written('a', 'y', '\n'))));
  assert.ok(grows(() => keep.put('a', { ...written('a', 'y', '\n'), source: '/m/b.yaml' })));
  assert.ok(grows(() => keep.put('b', manifestOf('s', { n: 1 }))));
  assert.ok(!grows(() => keep.put('b', manifestOf('s', { n: 1 }))));
  assert.ok(grows(() => keep.put('b', manifestOf('s', { n: 2 }))));
  assert.ok(!grows(() => keep.remove('c')));
  keep.close();
});

test('cut at every byte: the state after some number of whole changes, which goes on from there', (t) => {
  const path = scratch(t);
  const keep = openKeep(path);
  const states: [size: number, entries: unknown[]][] = [[0, []]];
  const note = (): void => void states.push([statSync(path).size, structuredClone([...keep.entries()])]);
  keep.put('a', written('a', 'x'));
  note();
  keep.put('b', manifestOf('s', { text: 'zwölf 🐈\n' }));
  note();
  keep.remove('a');
  note();
  keep.put('b', written('b', 'y'));
  note();
  keep.close();
  const bytes = readFileSync(path);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    writeFileSync(path, bytes.subarray(0, cut));
    const expected = states.findLast(([size]) => size <= cut)?.[1] ?? assert.fail();
    const first = openKeep(path);
    assert.deepEqual([...first.entries()], expected, `cut at ${cut}`);
    first.put('next', manifestOf('s', 1));
    first.close();
    const second = openKeep(path);
    assert.deepEqual([...second.entries()], [...expected, ['next', manifestOf('s', 1)]]);
    second.close();
  }
});

test('the file stays small and is rewritten without loss', (t) => {
  const path = scratch(t);
  const keep = openKeep(path);
  keep.put('kept', written('kept', 'x'));
  for (let n = 0; n < 2500; n += 1) keep.put('a', manifestOf('s', n));
  keep.close();
  assert.ok(readFileSync(path, 'utf8').split('\n').length <= 1002);
  const again = openKeep(path);
  assert.deepEqual(
    [...again.entries()],
    [
      ['kept', written('kept', 'x')],
      ['a', manifestOf('s', 2499)],
    ],
  );
  again.close();
});

test('a file that is no journal is refused and left as it is', (t) => {
  const path = scratch(t);
  openKeep(path).close();
  writeFileSync(path, 'something that stands here for reasons of its own\n');
  assert.throws(() => openKeep(path), { code: 'io' });
  assert.match(readFileSync(path, 'utf8'), /^something/);
});
