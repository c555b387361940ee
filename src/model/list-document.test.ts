/** Lists are cut into the objects that the full parser finds in them, at the same lines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse, stringify } from 'yaml';
import { splitObjects } from './list-document.ts';
import { originOf, readManifests } from './manifest.ts';

const split = (text: string): string[] =>
  Array.from(
    splitObjects(text, (start, end) => text.slice(start, end)),
    (each) => each.text,
  );
const item = (n: number, more: string): object => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: `n${n}`, annotations: { more, list: ['- a', more] } },
  spec: { rules: [{ from: [] }, [n]] },
});
const texts = fc.constantFrom(
  'x',
  '- y',
  'a\n- b\n',
  '\n\n- c',
  '# d',
  '---',
  ']',
  '}',
  '},\n{',
  'items:',
  "it's",
  '"',
  'ä',
);

function compare(text: string, items: readonly object[]): void {
  const { manifests, problems } = readManifests('s', text);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    manifests.map(({ value }) => value),
    items,
  );
  const lines = text.split('\n');
  for (const [n, manifest] of manifests.entries()) {
    const { line = 0 } = originOf(manifest, ['metadata', 'name']);
    assert.match(lines[line - 1] ?? '', new RegExp(`name"?: "?n${n}\\b`), `the line of ${n}`);
  }
}

test('as kubectl writes them, in YAML and in JSON, whatever is in them', () => {
  let cut = 0;
  const style = fc.record({ indentSeq: fc.boolean(), indent: fc.constantFrom(2, 4) });
  fc.assert(
    fc.property(
      fc.array(texts, { minLength: 1, maxLength: 4 }),
      style,
      fc.boolean(),
      (mores, style, isJson) => {
        const items = mores.map((more, n) => item(n, more));
        const list = { apiVersion: 'v1', items, kind: 'List', metadata: { resourceVersion: '' } };
        const text = isJson ? JSON.stringify(list, null, style.indent) : stringify(list, style);
        assert.deepEqual((parse(text) as typeof list).items, items);
        compare(text, items);
        const pieces = split(text);
        if (pieces.length === items.length) cut += 1;
        else assert.equal(pieces.length, 1);
      },
    ),
    { numRuns: 200 },
  );
  assert.ok(cut > 100, `${cut} of 200 were cut`);
});

test('what is wrong with one object says nothing about another', () => {
  const object = (name: string): string =>
    `- apiVersion: v1\n  kind: Namespace\n  metadata: { name: ${name} }\n`;
  const text = `apiVersion: v1\nkind: List\nitems:\n${object('n0')}- kind: [\n${object('n1')}`;
  const { manifests, problems } = readManifests('s', text);
  assert.equal(manifests.length, 2);
  assert.ok(
    problems.length > 0 && problems.every(({ path }) => path === 's:7' || path === 's:8'),
    JSON.stringify(problems),
  );
});

test('what only looks like a list of the API is left whole, and so are lists with anchors', () => {
  const items = 'items:\n- a: 1\n- b: 2\n';
  assert.equal(split(`kind: List\n${items}`).length, 1);
  assert.equal(split(`apiVersion: v1\nkind: ConfigMapList\n${items}`).length, 1);
  assert.equal(
    split(`apiVersion: v1\nkind: List\nmetadata:\n  x: 1\n  ${items.replaceAll('\n', '\n  ').trimEnd()}\n`)
      .length,
    1,
  );
  const anchored = `apiVersion: v1\nkind: List\nitems:\n- kind: A\n  metadata: &m { name: n0 }\n- kind: B\n  metadata: *m\n`;
  assert.equal(split(anchored).length, 1);
  assert.deepEqual(
    readManifests('s', anchored).manifests.map(({ value }) => (value as { metadata: unknown }).metadata),
    [{ name: 'n0' }, { name: 'n0' }],
  );
});
