/** The quick reader against the full one: where it answers, both answer the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isMap, isNode, isScalar, isSeq, LineCounter, parseAllDocuments, stringify } from 'yaml';
import { readPlain } from './plain-yaml.ts';

type Whole = {
  readonly value: unknown;
  readonly lines: ReadonlyMap<string, number>;
  readonly isRight: boolean;
};

function readWhole(text: string): Whole {
  const counter = new LineCounter();
  const documents = [
    ...parseAllDocuments(text, { lineCounter: counter, prettyErrors: false, logLevel: 'error' }),
  ];
  const [document] = documents;
  const lines = new Map<string, number>();
  const lineOf = (node: unknown): number =>
    isNode(node) ? counter.linePos(node.range?.[0] ?? 0).line - 1 : Number.NaN;
  const walk = (node: unknown, path: readonly string[]): void => {
    const children: (readonly [string, unknown, unknown])[] = isMap(node)
      ? node.items.map(({ key, value }) => [isScalar(key) ? String(key.value) : '?', key, value])
      : isSeq(node)
        ? node.items.map((item, index) => [`${index}`, item, item])
        : [];
    for (const [key, at, value] of children) {
      lines.set([...path, key].join('.'), lineOf(at));
      walk(value, [...path, key]);
    }
  };
  walk(document?.contents, []);
  const isRight = documents.length === 1 && document?.errors.length === 0 && document.warnings.length === 0;
  return { value: isRight ? (document.toJS() as unknown) : undefined, lines, isRight };
}

/** Whether it answered; when it did, as the full reader does. */
function compare(text: string): boolean {
  const lines = new Map<string, number>();
  const plain = readPlain(text, (path, line) => lines.set(path, line));
  if (plain === undefined) return false;
  const whole = readWhole(text);
  assert.ok(whole.isRight, `read what is malformed: ${JSON.stringify(text)}`);
  assert.deepEqual(plain.value, whole.value, JSON.stringify(text));
  assert.deepEqual(lines, whole.lines, JSON.stringify(text));
  return true;
}

const KEYS = [
  'app',
  'matchLabels',
  'k8s.io/x-y_z',
  'true',
  'null',
  'y',
  '80',
  '-',
  'a b',
  '',
  '~',
  '__proto__',
  '<<',
  'ä',
  'a:b',
  '?',
];
const TEXTS = [
  'web',
  '10.0.0.0/8',
  'fd00::/8',
  '::1',
  '2001:db8::1/128',
  '2001:db8::',
  'true',
  'True',
  'NULL',
  'no',
  'yes',
  'on',
  '~',
  '0x1f',
  '0o17',
  '1_000',
  '012',
  '-1',
  '- a',
  '-',
  '1e3',
  '.5',
  '.inf',
  '.nan',
  '2026-01-01',
  '12:30:45',
  'a b',
  ' a',
  'a ',
  'a: b',
  'a:',
  ':a',
  'a #b',
  'a#b',
  '#a',
  '&a',
  '*a',
  '!t',
  '|',
  '>',
  '%a',
  '@a',
  '`a',
  '{',
  '}',
  '[a]',
  'a, b',
  "it's",
  '"',
  "''",
  'a\nb',
  'a\n',
  '\n',
  '\t',
  'ä',
  '🐈',
  '\u2028',
  '\u0085',
  '\\',
  'a\\nb',
  '---',
  '...',
  '--- a',
  '<<',
  '=',
  'null',
  'all()',
  "app == 'a' && has(b)",
  '1.5',
  '+1',
  '0',
  '1.2.3.4',
];
const scalars = fc.oneof(
  { arbitrary: fc.constantFrom<unknown>(...TEXTS), weight: 4 },
  fc.constantFrom<unknown>(true, false, null, 0, 80, -7, 65536, 1.5, 1e21, -0),
  fc.string({ maxLength: 6 }),
);
const values = fc.letrec<{ any: unknown; map: unknown; list: unknown }>((tie) => ({
  any: fc.oneof({ depthSize: 'small', withCrossShrink: true }, scalars, tie('map'), tie('list')),
  map: fc.dictionary(
    fc.oneof(
      { arbitrary: fc.constantFrom('app', 'spec', 'from', 'ports'), weight: 5 },
      fc.constantFrom(...KEYS),
    ),
    tie('any'),
    { maxKeys: 4 },
  ),
  list: fc.array(tie('any'), { maxLength: 3 }),
})).map;

test('whatever stringify writes, in any style', () => {
  let [answered, all] = [0, 0];
  const options = fc.record({
    indent: fc.constantFrom(2, 4),
    indentSeq: fc.boolean(),
    collectionStyle: fc.constantFrom<'any' | 'flow' | 'block'>('any', 'flow', 'block'),
    defaultStringType: fc.constantFrom<'PLAIN' | 'QUOTE_DOUBLE' | 'QUOTE_SINGLE'>(
      'PLAIN',
      'QUOTE_DOUBLE',
      'QUOTE_SINGLE',
    ),
    flowCollectionPadding: fc.boolean(),
  });
  fc.assert(
    fc.property(values, options, fc.constantFrom('', '---\n', '# a\n\n'), (value, style, head) => {
      all += 1;
      if (compare(head + stringify(value, style))) answered += 1;
    }),
    { numRuns: 1500 },
  );
  assert.ok(answered > all / 10, `sure of ${answered} in ${all}`);
});

test('JSON, indented or not', () => {
  let [answered, all] = [0, 0];
  fc.assert(
    fc.property(values, fc.constantFrom(0, 1, 2, '\t'), fc.nat(4), (value, indent, left) => {
      all += 1;
      if (compare(`${' '.repeat(left)}${JSON.stringify(value, null, indent)}`)) answered += 1;
    }),
    { numRuns: 2000 },
  );
  assert.ok(answered > all / 10, `sure of ${answered} in ${all}`);
});

test('texts put together at random, and manifests that were cut and overwritten', () => {
  const pieces = fc.oneof(
    {
      arbitrary: fc.constantFrom(
        'a',
        'b',
        ': ',
        ':',
        '- ',
        '-',
        '\n',
        '\n  ',
        '\n    ',
        '\n- ',
        '\n  - ',
        'a: b',
        'a:\n',
        '{',
        '}',
        '[',
        ']',
        ', ',
        ',',
        '"a"',
        "'b'",
        ' #c',
        '# d\n',
        ' ',
      ),
      weight: 12,
    },
    fc.constantFrom(...TEXTS),
  );
  let answered = 0;
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 14 }), (parts) => {
      if (compare(parts.join(''))) answered += 1;
    }),
    { numRuns: 8000 },
  );
  assert.ok(answered > 200, `sure of ${answered}`);
  const good =
    'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: a # mine\nspec:\n  podSelector: {matchLabels: {app: web}}\n  ingress:\n  - from:\n    - podSelector: {}\n    - ipBlock:\n        cidr: 10.0.0.0/8\n        except: [10.1.0.0/16, "10.2.0.0/16"]\n    ports:\n      - port: 80\n      -   protocol: TCP\n          port: http\n  egress: []\n';
  assert.ok(compare(good));
  const hurt = fc.record({
    at: fc.nat(good.length),
    length: fc.nat(12),
    piece: fc.oneof(pieces, fc.constant('')),
  });
  let sure = 0;
  fc.assert(
    fc.property(hurt, ({ at, length, piece }) => {
      if (compare(good.slice(0, at) + piece + good.slice(at + length))) sure += 1;
    }),
    { numRuns: 1500 },
  );
  assert.ok(sure > 400, `sure of ${sure}`);
});

test('deep nesting is left to others', () => {
  assert.equal(readPlain('['.repeat(10_000)), undefined);
  assert.equal(readPlain(Array.from({ length: 2000 }, (_, n) => `${' '.repeat(n)}a:\n`).join('')), undefined);
  assert.equal(readPlain('- '.repeat(10_000)), undefined);
});
