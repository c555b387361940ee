/**
 * The configuration of each case, compared with test/golden/bird; test/host/routing-config.test.ts gives the same files to
 * BIRD. To accept a change: UPDATE_GOLDEN=1 npm exec -- node --test src/routing/render.test.ts
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { env } from 'node:process';
import { test } from 'node:test';
import type { SecretRef } from '#model/routing.ts';
import { planRouting } from './plan.ts';
import { passwordSymbol, renderBird } from './render.ts';
import { CASES } from './testing/cases.ts';
import { quote, symbol } from './text.ts';

const DIRECTORY = 'test/golden/bird';

for (const [name, input] of Object.entries(CASES)) {
  test(`${name}: BIRD's configuration is the accepted one`, () => {
    const { plan, problems } = planRouting(input);
    assert.deepEqual(problems, []);
    assert.ok(plan !== undefined);
    const text = renderBird(plan, { logFile: '/run/tartan/bird.log' });
    const file = join(DIRECTORY, `${name}.conf`);
    if (env['UPDATE_GOLDEN'] !== undefined) writeFileSync(file, text);
    assert.equal(text, readFileSync(file, 'utf8'));
  });
}

test('every golden file has its case', () => {
  assert.deepEqual(
    readdirSync(DIRECTORY).sort(),
    Object.keys(CASES)
      .map((name) => `${name}.conf`)
      .sort(),
  );
});

test('what others wrote is no syntax: quotes, line ends and long names', () => {
  assert.equal(quote('a"; }\nprotocol x {\\'), '"a; }protocol x {"');
  const names = ['a/b', 'a_b', 'a'.repeat(200), `${'a'.repeat(200)}b`].map((name) =>
    symbol('export4_external', name),
  );
  assert.equal(new Set(names).size, names.length);
  for (const name of names) assert.match(name, /^[a-z][A-Za-z0-9_]{1,62}$/);
});

test('passwords of different places have different symbols', () => {
  const refs: SecretRef[] = [
    { kind: 'file', path: '/a' },
    { kind: 'file', path: '/b' },
    { kind: 'secret', name: 'a', key: 'b' },
    { kind: 'secret', name: 'b', key: 'a' },
  ];
  assert.equal(new Set(refs.map(passwordSymbol)).size, refs.length);
});
