/** docs/policy-fields.md has a row for every field of every kind, and each row names tests that are there. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { z } from 'zod';
import { ruleFields } from './calico-rule.ts';
import { FRONTENDS } from './index.ts';
import { labelSelector } from '#model/manifest-shapes.ts';

const DOCUMENT = readFileSync('docs/policy-fields.md', 'utf8');
const TESTS = new Map(
  globSync(['src/policy/**/*.test.ts', 'test/host/policy-*.test.ts']).map((file) => [
    basename(file, '.test.ts'),
    readFileSync(file, 'utf8'),
  ]),
);

type Row = { readonly field: string; readonly what: string; readonly shown: string };

/** Rows by the heading above them. */
function tablesOf(text: string): Map<string, Row[]> {
  const tables = new Map<string, Row[]>();
  let rows: Row[] = [];
  for (const line of text.split('\n')) {
    const heading = /^## (\S+)/.exec(line)?.[1];
    if (heading !== undefined) tables.set(heading, (rows = []));
    const [, field, what = '', shown = ''] = line.split('|').map((cell) => cell.trim());
    if (field?.startsWith('`') === true) rows.push({ field: field.replaceAll('`', ''), what, shown });
  }
  return tables;
}

/** Paths of all fields, lists written as `[]`; label selectors and Calico's rules have tables of their own. */
function fieldsOf(schema: z.core.$ZodType, path: string): string[] {
  if (schema === labelSelector && path !== '') return [path];
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable)
    return fieldsOf(schema.def.innerType, path);
  if (schema instanceof z.ZodArray) return fieldsOf(schema.element, `${path}[]`);
  if (!(schema instanceof z.ZodObject)) return [path];
  // Checks make copies of a schema, which keep the schemas of the fields.
  if (schema.shape['notICMP'] === ruleFields.shape.notICMP && path !== '') return [path];
  const inner = Object.entries(schema.shape as z.ZodRawShape).flatMap(([key, field]) =>
    fieldsOf(field, path === '' ? key : `${path}.${key}`),
  );
  return inner;
}

const tables = tablesOf(DOCUMENT);

for (const { title, apiVersion, schema } of FRONTENDS) {
  test(`docs/policy-fields.md tells of every field of ${title} (${apiVersion}) and no other`, () => {
    const rows = tables.get(title)?.map(({ field }) => field) ?? [];
    assert.deepEqual(
      rows.toSorted(),
      fieldsOf(schema, '')
        .filter((field) => !isCommon(field))
        .toSorted(),
    );
  });
}

const isCommon = (field: string): boolean => /^(?:apiVersion|kind|status|metadata\..*)$/.test(field);

test('docs/policy-fields.md tells of what all objects, all label selectors and all of Calico’s rules have', () => {
  const common = new Set(FRONTENDS.flatMap(({ schema }) => fieldsOf(schema, '').filter(isCommon)));
  assert.deepEqual(
    tables
      .get('objects')
      ?.map(({ field }) => field)
      .toSorted(),
    [...common].toSorted(),
  );
  for (const [heading, schema] of [
    ['selectors', labelSelector],
    ['rules', ruleFields],
  ] as const) {
    const rows = tables.get(heading)?.map(({ field }) => field) ?? [];
    assert.deepEqual(rows.toSorted(), fieldsOf(schema, '').toSorted());
  }
});

test('docs/policy-fields.md names tests that are there', () => {
  const rows = [...tables.values()].flat();
  assert.ok(rows.length > 60, `only ${rows.length} rows`);
  for (const { field, what, shown } of rows) {
    assert.match(what, /^(?:enforced|rejected|not read)(?:[:;,. ]|$)/, field);
    for (const each of shown.split('<br>')) {
      const [file = '', title = ''] = each.split(/: (.*)/s);
      const isThere = [`'${title}'`, `"${title}"`].some((text) => TESTS.get(file)?.includes(text) ?? false);
      assert.ok(isThere, `${field}: no test ${JSON.stringify(title)} in ${file}.test.ts`);
    }
  }
});
