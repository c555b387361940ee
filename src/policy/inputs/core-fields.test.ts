/** docs/policy-fields.md has a row for every field that is read of Kubernetes' own kinds, and for no other. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { z } from 'zod';
import { CORE_KINDS } from './reading.ts';

const SECTIONS = new Map(
  readFileSync('docs/policy-fields.md', 'utf8')
    .split(/^## /m)
    .map((text) => [
      text.split('\n', 1)[0] ?? '',
      [...text.matchAll(/^\| `([^`]+)`/gm)].map(([, field = '']) => field),
    ]),
);

function fieldsOf(schema: z.core.$ZodType, path: string): string[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable)
    return fieldsOf(schema.def.innerType, path);
  if (schema instanceof z.ZodArray) return fieldsOf(schema.element, `${path}[]`);
  if (!(schema instanceof z.ZodObject)) return [path];
  return Object.entries(schema.shape as z.ZodRawShape).flatMap(([key, field]) =>
    fieldsOf(field, path === '' ? key : `${path}.${key}`),
  );
}

for (const { kind, apiVersion, schema } of CORE_KINDS) {
  test(`docs/policy-fields.md tells of every field of ${kind} (${apiVersion}) that is read`, () => {
    const read = fieldsOf(schema, '').filter((field) => field !== 'apiVersion' && field !== 'kind');
    const told = [...(SECTIONS.get('Core') ?? []), ...(SECTIONS.get(kind) ?? [])];
    assert.ok(SECTIONS.has(kind));
    assert.deepEqual(told.toSorted(), read.toSorted());
  });
}
