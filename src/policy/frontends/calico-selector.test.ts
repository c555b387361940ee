/** Calico's selectors: their grammar, their meaning, and what is said of those that are wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Selector } from '#model/policy.ts';
import { matchesSelector } from '#model/selector-match.ts';
import { printSelector, rewrite, type Written, writtenSelectors } from '../testing/selector-text.ts';
import { placeSelector } from './calico-labels.ts';
import { isSelectorProblem, parseSelector } from '#model/selector-text.ts';

const KEYS = ['app', 'tier-x', 'example.org/env', 'in', 'has', 'not'];
const VALUES = ['a', 'ab', 'b', '', 'a b', "it's", 'x"y', 'k) || (z'];
const selectors = writtenSelectors(KEYS, VALUES);
const styles = fc.array(fc.nat(100), { minLength: 1, maxLength: 40 });
const labels = fc.dictionary(fc.constantFrom(...KEYS), fc.constantFrom(...VALUES));

function parsed(text: string): Selector {
  const found = parseSelector(text);
  if (isSelectorProblem(found)) assert.fail(`${text}: column ${found.column}: ${found.message}`);
  return found;
}

/** What was written, as the tree that reading it should give. */
function treeOf(written: Written): Selector {
  const scope = 'own';
  const not = (of: Selector): Selector => ({ op: 'not', of });
  switch (written.op) {
    case 'all':
      return { op: 'and', of: [] };
    case 'has':
      return { op: 'has', scope, key: written.key };
    case '!':
      // Signs in a row cancel each other, brackets between them or not is told below.
      return not(treeOf(written.of));
    case '&&':
    case '||':
      return { op: written.op === '&&' ? 'and' : 'or', of: written.of.map(treeOf) };
    case 'in':
    case 'not in': {
      const one: Selector = { op: 'in', scope, key: written.key, values: written.values.toSorted() };
      return written.op === 'in' ? one : not(one);
    }
    case '==':
    case '!=': {
      const one: Selector = { op: 'in', scope, key: written.key, values: [written.value] };
      return written.op === '==' ? one : not(one);
    }
    default: {
      const op = written.op === 'contains' ? 'contains' : written.op === 'starts with' ? 'starts' : 'ends';
      return { op, scope, key: written.key, value: written.value };
    }
  }
}

/** Without double negations, which the reader drops where no bracket is between them. */
function simple(selector: Selector): Selector {
  if (selector.op === 'and' || selector.op === 'or') return { ...selector, of: selector.of.map(simple) };
  if (selector.op !== 'not') return selector;
  const of = simple(selector.of);
  return of.op === 'not' ? of.of : { op: 'not', of };
}

test('what is printed in any style is read as it was meant, with every operator', () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(selectors, styles, (written, style) => {
      const text = printSelector(written, style);
      fc.pre(text.length <= 1024);
      count(written, seen);
      assert.deepEqual(simple(parsed(text)), simple(treeOf(written)), text);
    }),
    { numRuns: 2_000 },
  );
  const operators = [
    'all',
    'has',
    '==',
    '!=',
    'in',
    'not in',
    'contains',
    'starts with',
    'ends with',
    '!',
    '&&',
    '||',
  ];
  for (const op of operators) assert.ok((seen.get(op) ?? 0) > 50, `${op}: ${seen.get(op)}`);
});

function count(written: Written, seen: Map<string, number>): void {
  seen.set(written.op, (seen.get(written.op) ?? 0) + 1);
  if (written.op === '!') count(written.of, seen);
  if (written.op === '&&' || written.op === '||') for (const each of written.of) count(each, seen);
}

test('selectors match the labels that a second reader says, as read and as brought into one form', () => {
  let matches = 0;
  fc.assert(
    fc.property(
      selectors,
      styles,
      fc.array(labels, { minLength: 4, maxLength: 4 }),
      (written, style, bags) => {
        const text = printSelector(written, style);
        fc.pre(text.length <= 1024);
        const selector = parsed(text);
        for (const bag of bags) {
          const lookup = (_: string, key: string) => (Object.hasOwn(bag, key) ? bag[key] : undefined);
          const expected = rewrite(text, bag);
          assert.equal(matchesSelector(selector, lookup), expected, text);
          assert.equal(matchesSelector(placeSelector(selector, 'own'), lookup), expected, text);
          if (expected) matches += 1;
        }
      },
    ),
    { numRuns: 2_000 },
  );
  assert.ok(matches > 2_000 && matches < 6_500, `${matches} of 8000 match`);
});

test('an empty selector is all(), and != and not in hold where the label is absent', () => {
  const holds = (text: string): boolean => matchesSelector(parsed(text), () => undefined);
  for (const text of [
    '',
    ' \t',
    'all()',
    "a != 'b'",
    "a not in {'b'}",
    "a notin {'b',}",
    'a not in {}',
    '!has(a)',
    '!!all()',
  ])
    assert.ok(holds(text), text);
  for (const text of [
    "a == ''",
    "a in {''}",
    "a contains ''",
    "a starts with ''",
    "a ends with ''",
    'has(a)',
    '!all()',
  ])
    assert.ok(!holds(text), text);
});

test('&& binds more than ||, and ! more than both', () => {
  const [t, f] = ['all()', '!all()'];
  const holds = (text: string): boolean => matchesSelector(parsed(text), () => undefined);
  assert.ok(holds(`${t} || ${t} && ${f}`));
  assert.ok(!holds(`(${t} || ${t}) && ${f}`));
  assert.ok(holds(`!${t} || ${t}`));
  assert.ok(!holds(`!(${t} || ${t})`));
});

/** Text, column, and the beginning of what is said. */
const WRONG: readonly (readonly [string, number, string])[] = [
  [
    'a',
    2,
    'after the label a there must be ==, !=, in, not in, contains, starts with or ends with, not the end',
  ],
  ['a = "b"', 3, 'after the label a there must be =='],
  ['a is "b"', 3, 'after the label a there must be =='],
  ['a == b', 6, 'must be a text in quotes, not b'],
  ["a == 'b", 6, "the text that begins here has no ' at its end"],
  ['a == "b', 6, 'the text that begins here has no " at its end'],
  ["'a' == 'b'", 1, 'must be a label without quotes, not the text "a"'],
  ["a in 'b'", 6, 'must be { and texts in quotes, not b'],
  ["a in {'b' 'c'}", 11, 'must be a text in quotes or }, not c'],
  ['a in {b}', 7, 'must be a text in quotes or }, not b'],
  ["a in {'b'", 10, 'must be a text in quotes or }, not the end'],
  ["a == 'b' & b == 'c'", 10, 'must be &&'],
  ["a == 'b' | b == 'c'", 10, 'must be ||'],
  ["a == 'b' &&", 12, 'must be a label, has(label), all(), ! or (, not the end'],
  ["a == 'b' b == 'c'", 10, 'must be && or || or the end, not b'],
  ["(a == 'b'", 10, 'must be ) or && or ||, not the end'],
  ["a == 'b')", 9, 'must be && or || or the end, not )'],
  ['()', 2, 'must be a label, has(label), all(), ! or (, not )'],
  ['!', 2, 'must be a label, has(label), all(), ! or (, not the end'],
  ['has (a)', 5, 'after the label has there must be'],
  ['has()', 4, 'after the label has there must be'],
  ['all', 4, 'after the label all there must be'],
  ['a starts "b"', 3, 'after the label a there must be'],
  ['ä == "b"', 1, '"ä" has no meaning here'],
  ["a == 'b'\n&& c == 'd'", 9, 'a selector must be one line; in YAML, fold it with >-'],
  ["a == 'b' && global()", 19, 'global() must stand alone, in the namespaceSelector of a rule'],
  [`a == '${'x'.repeat(1_020)}'`, 1_025, 'must have at most 1024 characters'],
];

for (const [text, column, message] of WRONG) {
  test(`what is wrong with ${JSON.stringify(text.slice(0, 40))} is said with its column`, () => {
    const found = parseSelector(text);
    assert.ok(isSelectorProblem(found));
    assert.deepEqual([found.column, found.message.slice(0, message.length)], [column, message]);
  });
}

test('any text at all is read or answered with a column within it', () => {
  const pieces = fc.constantFrom(
    "'",
    '"',
    '(',
    ')',
    '{',
    '}',
    '!',
    '&&',
    '||',
    '==',
    '!=',
    ' ',
    'a',
    'has(',
    'all()',
    'in',
    ',',
    'not',
    '&',
    '\n',
    'contains',
  );
  const texts = fc.oneof(
    fc.array(pieces, { maxLength: 30 }).map((all) => all.join('')),
    fc.string({ unit: 'binary' }),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const found = parseSelector(text);
      if (isSelectorProblem(found)) assert.ok(found.column >= 1 && found.column <= text.length + 1);
    }),
    { numRuns: 2_000 },
  );
  for (const deep of ['('.repeat(1_024), `${'('.repeat(500)}all()${')'.repeat(500)}`, '!'.repeat(1_024)])
    parseSelector(deep);
});

/** Selector, where it stands, and the same in the rule language. */
const PLACED: readonly (readonly [string, 'own' | 'namespace' | 'account', Selector])[] = [
  ["projectcalico.org/namespace == 'a'", 'own', { op: 'in', scope: 'fact', key: 'namespace', values: ['a'] }],
  ['has(projectcalico.org/serviceaccount)', 'own', { op: 'has', scope: 'fact', key: 'account' }],
  [
    "projectcalico.org/orchestrator == 'k8s'",
    'own',
    { op: 'in', scope: 'fact', key: 'kind', values: ['pod'] },
  ],
  ["projectcalico.org/orchestrator == 'x'", 'own', { op: 'or', of: [] }],
  [
    "projectcalico.org/orchestrator starts with 'k'",
    'own',
    { op: 'in', scope: 'fact', key: 'kind', values: ['pod'] },
  ],
  ["pcns.a contains 'b'", 'own', { op: 'contains', scope: 'namespace', key: 'a', value: 'b' }],
  [
    "pcns.projectcalico.org/name ends with 'b'",
    'own',
    { op: 'ends', scope: 'fact', key: 'namespace', value: 'b' },
  ],
  ['has(pcsa.a)', 'own', { op: 'has', scope: 'account', key: 'a' }],
  [
    "projectcalico.org/name == 'a'",
    'own',
    { op: 'in', scope: 'own', key: 'projectcalico.org/name', values: ['a'] },
  ],
  [
    "projectcalico.org/name == 'a'",
    'namespace',
    { op: 'in', scope: 'fact', key: 'namespace', values: ['a'] },
  ],
  ["projectcalico.org/name == 'a'", 'account', { op: 'in', scope: 'fact', key: 'account', values: ['a'] }],
  ['has(a)', 'namespace', { op: 'has', scope: 'namespace', key: 'a' }],
  ['has(a)', 'account', { op: 'has', scope: 'account', key: 'a' }],
  ['all()', 'own', { op: 'and', of: [] }],
  ['all()', 'namespace', { op: 'has', scope: 'fact', key: 'namespace' }],
  ['all()', 'account', { op: 'has', scope: 'fact', key: 'account' }],
];

for (const [text, place, selector] of PLACED) {
  test(`${text} of ${place === 'own' ? 'endpoints' : `${place}s`}`, () => {
    assert.deepEqual(placeSelector(parsed(text), place), selector);
  });
}

test('selectors that differ in order, repetition and brackets only are equal', () => {
  const form = (text: string): string => JSON.stringify(placeSelector(parsed(text), 'own'));
  assert.equal(
    form("a in {'x','y'} && (b == 'c' && has(d))"),
    form("has(d) && b=='c' && a in {'y','x','x',} && !!has(d)"),
  );
  assert.equal(form("a != 'b'"), form("!(a in {'b'})"));
  assert.notEqual(form("a == 'b'"), form("a == 'c'"));
});
