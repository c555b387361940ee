import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const VALUES = ['lib', 'net', 'model'];
const THINKING = [
  'config',
  'migration',
  'ipam',
  'backends',
  'wiring',
  'cni',
  'advisor',
  'api',
  'policy',
  'routing',
  'deploy',
];
const ACTING = ['kernel', 'stores', 'tunnel', 'bird'];

/** Who may import whom (docs/architecture.md shows it as a picture). */
const MAY_IMPORT: Record<string, readonly string[]> = {
  lib: [],
  net: ['lib'],
  model: ['lib', 'net'],
  ...Object.fromEntries([...THINKING, ...ACTING].map((room) => [room, VALUES])),
  deploy: [...VALUES, 'config'],
  controller: [...VALUES, ...THINKING, ...ACTING, 'deploy'],
  agent: [...VALUES, ...THINKING, ...ACTING, 'controller'],
  relay: [...VALUES, 'stores'],
  cli: [...VALUES, ...THINKING],
  lab: [...VALUES, ...THINKING, 'agent'],
  web: ['model'],
};

const IMPORT = /(?:from|import)\s*\(?\s*'([^']+)'/g;
/** All that stands in a room; the front door, src/main.ts, joins rooms and stands in none. */
const files = globSync('src/*/**/*.ts').sort();

test('the table of rooms is about this tree', () => {
  assert.ok(files.length > 20, `only ${files.length} files found`);
  const rooms = new Set(files.map((file) => file.split('/')[1]));
  for (const room of rooms)
    assert.ok(room !== undefined && room in MAY_IMPORT, `room ${room} is not in the table`);
});

function specifiers(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(IMPORT)].map((match) => match[1] ?? '');
}

test('imports across rooms follow the table and the spelling', () => {
  let seen = 0;
  for (const file of files) {
    const room = file.split('/')[1] ?? '';
    for (const specifier of specifiers(file)) {
      seen += 1;
      if (specifier.startsWith('#')) {
        const target = specifier.slice(1).split('/')[0] ?? '';
        assert.notEqual(target, room, `${file}: inside a room write ./x.ts, not ${specifier}`);
        assert.ok(MAY_IMPORT[room]?.includes(target), `${file}: ${room} may not import ${target}`);
      } else if (specifier.startsWith('.')) {
        assert.ok(
          !specifier.startsWith('..') || file.split('/').length > 3,
          `${file}: ${specifier} leaves the room`,
        );
        assert.ok(specifier.endsWith('.ts'), `${file}: ${specifier} lacks its ending`);
      }
    }
  }
  assert.ok(seen > 30, `only ${seen} imports found`);
});

test('thinking rooms are pure: no Node modules, clock, randomness or globals that act', () => {
  const acts =
    /\b(?:Date\.now|Math\.random|performance\.now|setTimeout|setInterval|process\.|console\.|fetch\()/;
  let checked = 0;
  for (const file of files.filter((name) => !name.endsWith('.test.ts'))) {
    const room = file.split('/')[1] ?? '';
    if (!THINKING.includes(room) && !['net', 'model'].includes(room)) continue;
    checked += 1;
    for (const specifier of specifiers(file)) {
      assert.ok(!specifier.startsWith('node:'), `${file} imports ${specifier}`);
    }
    const acting = acts.exec(readFileSync(file, 'utf8'));
    assert.equal(acting, null, `${file} uses ${acting?.[0]}`);
  }
  assert.ok(checked > 10, `only ${checked} files checked`);
});
