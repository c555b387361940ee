/** Nothing whatever makes a frontend stumble: 10,000 malformed manifests, and monsters. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { calicoPolicies, calicoThings, stagedPolicies } from '../testing/calico-manifests.ts';
import {
  adminNetworkPolicies,
  baselineAdminNetworkPolicies,
  clusterNetworkPolicies,
  type Json,
  networkPolicies,
} from '../testing/manifests.ts';
import { parseObjects, parseObject } from './index.ts';
import { manifestOf, MAX_TEXT } from '#model/manifest.ts';

const NP = 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\n';

const CNP = 'apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: a}\n';

const manifests: fc.Arbitrary<Json> = fc.oneof(
  networkPolicies('n'),
  clusterNetworkPolicies('c', 1),
  adminNetworkPolicies('a', 1),
  baselineAdminNetworkPolicies,
  calicoPolicies('p'),
  stagedPolicies('p'),
  networkPolicies('n').map((made): Json => ({
    ...made,
    apiVersion: 'crd.projectcalico.org/v1',
    kind: 'StagedKubernetesNetworkPolicy',
  })),
  calicoThings.chain((all) => fc.constantFrom(...all)),
);

/** Every place in a value, as the keys to it. */
function placesIn(value: unknown): string[][] {
  if (typeof value !== 'object' || value === null) return [[]];
  return [
    [],
    ...Object.entries(value).flatMap(([key, inner]) => placesIn(inner).map((path) => [key, ...path])),
  ];
}

function change(value: unknown, path: readonly string[], to: (old: unknown) => unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return to(value);
  if (Array.isArray(value))
    return value.map((each: unknown, index) => (`${index}` === key ? change(each, rest, to) : each));
  return { ...(value as Json), [key]: change((value as Json)[key], rest, to) };
}

/** None of these is right anywhere, but for Calico's orders and switches. */
const JUNK: readonly unknown[] = [{ '!': 1 }, [['!']], 1.5, true, -1, [null, 'x']];
const SWITCHES = new Set(['doNotTrack', 'preDNAT', 'applyOnForward']);

function isRight(key: string, junk: unknown): boolean {
  return (key === 'order' && typeof junk === 'number') || (SWITCHES.has(key) && junk === true);
}

test('5,000 manifests with something wrong in them: each has its problem told, at or above its path', () => {
  const where = manifests.chain((manifest) =>
    fc.record({
      manifest: fc.constant(manifest),
      path: fc.constantFrom(...placesIn(manifest)),
      junk: fc.constantFrom(...JUNK),
    }),
  );
  fc.assert(
    fc.property(where, ({ manifest, path, junk }) => {
      fc.pre(!isRight(path.at(-1) ?? '', junk));
      const wrong = change(manifest, path, (old) =>
        typeof old === 'object' && old !== null && !Array.isArray(old) && junk !== true
          ? { ...old, '!': junk }
          : junk,
      );
      const { policies, problems } = parseObject(manifestOf('s', wrong));
      assert.deepEqual(policies, []);
      const at = `s ${path.join('.')}`.trim();
      const isTold = problems.some(
        (each) => each.path.startsWith(at) || at.startsWith(each.path) || path.length < 2,
      );
      assert.ok(isTold, JSON.stringify({ at, problems }));
      for (const each of problems) assert.match(each.path, /^s( |$)/);
    }),
    { numRuns: 5_000 },
  );
});

test('5,000 texts that were cut, overwritten or shuffled: an answer for each, at its place, in bounded time', () => {
  const texts = fc.sample(manifests, 100).map((manifest) => stringify(manifest));
  const hurt = fc.record({
    text: fc.constantFrom(...texts),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.nat(40),
    piece: fc.oneof(
      fc.string({ maxLength: 8, unit: 'binary' }),
      fc.constantFrom(
        '',
        '\t',
        '---\n',
        '{',
        '[',
        '"',
        "'",
        '&a ',
        '*a',
        '!!js/x ',
        '? ',
        ': ',
        '- ',
        '<<: *a\n',
        '\u0000',
        '%YAML',
      ),
    ),
  });
  let [slowest, refused] = [0, 0];
  fc.assert(
    fc.property(hurt, ({ text, at, length, piece }) => {
      const start = Math.floor(at * text.length);
      const broken = text.slice(0, start) + piece + text.slice(start + length);
      const began = performance.now();
      const { problems } = parseObjects('file.yaml', broken);
      slowest = Math.max(slowest, performance.now() - began);
      if (problems.length > 0) refused += 1;
      for (const { path, message } of problems) {
        assert.match(path, /^file\.yaml(:\d+)?( |$)/);
        assert.ok(message.length > 0);
      }
    }),
    { numRuns: 5_000 },
  );
  assert.ok(refused > 2_000, `only ${refused} were refused`);
  assert.ok(slowest < 30_000, `one took ${slowest} ms`);
});

const DEEP = 200_000;
const MONSTERS: Readonly<Record<string, string>> = {
  'open brackets': '['.repeat(DEEP),
  'open braces': '{a: '.repeat(DEEP),
  'nested blocks': '- '.repeat(DEEP),
  'nested keys': Array.from({ length: 1_000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n'),
  'too long': 'a'.repeat(MAX_TEXT + 1),
  'multiplying aliases': `a0: &a0 x\n${Array.from({ length: 30 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n}, *a${n}, *a${n}]`).join('\n')}`,
  'an alias of what it is in': `${NP}spec: {podSelector: {}}\nstatus: &a [*a]\n`,
  'an alias in place of a rule': `${NP}spec: &a {podSelector: {}, ingress: [*a]}\n`,
  'a long label': `${NP}spec: {podSelector: {matchLabels: {a: "${'a.'.repeat(100_000)}!"}}}\n`,
  'a long selector': `${CNP}spec: {selector: "${'!('.repeat(100_000)}"}\n`,
  'a deep selector': `${CNP}spec: {selector: "${'('.repeat(1_000)}"}\n`,
  'a long port': `${CNP}spec: {ingress: [{action: Allow, protocol: TCP, destination: {ports: ["${'9'.repeat(100_000)}"]}}]}\n`,
  'many selectors': `${CNP}spec: {ingress: [${`{action: Deny, source: {selector: "${"a == 'b' && ".repeat(80)}("}},`.repeat(900)}]}\n`,
  'a long name': `${NP.replace('name: a', `name: "${'a-'.repeat(100_000)}!"`)}spec: {podSelector: {}}\n`,
  'many problems': `${NP}spec: {podSelector: {}, ingress: [${'{x: 1},'.repeat(5_000)}]}\n`,
  'many documents': '---\na: 1\n'.repeat(5_000),
};

for (const [name, text] of Object.entries(MONSTERS)) {
  test(`answered: ${name}`, () => {
    const began = performance.now();
    const { problems } = parseObjects('m.yaml', text);
    const isHarmless = name === 'an alias of what it is in';
    assert.ok(isHarmless || problems.length > 0);
    assert.ok(performance.now() - began < 60_000);
  });
}
