/** Generated documents are those that the code would print, and profiles are settings. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { renderErrorDocs, renderSettingsDocs } from '#config/docs.ts';
import { parseSettings } from '#config/parse.ts';
import { FAULTS } from '#model/fault.ts';

const HINT = 'run: npm exec -- node scripts/docs.ts';

test('docs/settings.md is printed from the schema', () => {
  const text = renderSettingsDocs();
  assert.equal(readFileSync('docs/settings.md', 'utf8'), text, HINT);
  for (const path of [
    'node.name',
    'network.ipv6.subnetMin',
    'road.vxlan.directRouting',
    'paths.run',
    'listen',
  ])
    assert.match(text, new RegExp(`\`${path.replaceAll('.', '\\.')}\``));
  const rows = text.split('\n').filter((line) => line.startsWith('| `'));
  assert.ok(rows.length > 40, `only ${rows.length} settings`);
  for (const row of rows) assert.doesNotMatch(row, /\|\s*\|/, `something is not described: ${row}`);
});

test('docs/errors.md lists every fault', () => {
  const text = renderErrorDocs();
  assert.equal(readFileSync('docs/errors.md', 'utf8'), text, HINT);
  for (const code of Object.keys(FAULTS)) assert.ok(text.includes(`| \`${code}\` |`), code);
});

test('every profile is complete but for the name of the node', () => {
  const files = globSync('profiles/*.yaml');
  assert.ok(files.length >= 2);
  const profiles = Object.fromEntries(
    files.map((file) => [basename(file, '.yaml'), readFileSync(file, 'utf8')]),
  );
  for (const name of Object.keys(profiles)) {
    const { settings, warnings } = parseSettings([], profiles, { profile: name, 'node.name': 'node-a' });
    assert.equal(settings.profile, name);
    assert.deepEqual(warnings, []);
  }
});
