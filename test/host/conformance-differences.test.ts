import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { DIFFERENCES } from '../conformance/differences.ts';

const cases = globSync('test/conformance/*.ts')
  .filter((file) => !file.endsWith('differences.ts'))
  .map((file) => readFileSync(file, 'utf8'))
  .join('\n');

test('every line of the table is a difference, and a case asserts it on both sides', () => {
  assert.ok(Object.keys(DIFFERENCES).length > 10);
  for (const [name, { reference, ours, why }] of Object.entries(DIFFERENCES)) {
    assert.notEqual(reference, ours, name);
    assert.ok(why.length > 20, name);
    assert.match(cases, new RegExp(`expected\\(subject, '${name}'\\)`), `no case asks for ${name}`);
  }
});
