import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ListReader } from './list-reader.ts';

const object = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue(), { maxKeys: 4 });
const list = fc.record(
  {
    kind: fc.string({ unit: 'grapheme' }),
    metadata: object,
    items: fc.option(fc.array(object, { maxLength: 5 })),
  },
  { requiredKeys: ['metadata'] },
);
/** Quotes, escapes and brackets where they mean nothing. */
const hostile = fc.constantFrom('"', '\\', '\\"', '[{', ']},', 'ü{', '\u{1f600}"');
const texts = fc.tuple(list, fc.array(hostile)).map(([value, marks]) => {
  const items = value.items?.map((each, at) => ({ ...each, [marks[at] ?? 'x']: marks.at(-1 - at) ?? [] }));
  return { ...value, ...(items === undefined ? {} : { items }) };
});

function readIn(text: string, cuts: readonly number[]) {
  const bytes = Buffer.from(text);
  const reader = new ListReader((each) => each);
  const places = cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b);
  let from = 0;
  for (const to of [...places, bytes.length]) {
    reader.take(bytes.subarray(from, to));
    from = to;
  }
  return reader.end();
}

test('a list says the same as a whole, however its text is written and wherever it is cut', () => {
  const seen = { items: 0, cuts: 0 };
  fc.assert(
    fc.property(texts, fc.array(fc.nat()), fc.constantFrom(undefined, 2), (value, cuts, indent) => {
      const { items, ...frame } = readIn(JSON.stringify(value, null, indent), cuts);
      const expected = JSON.parse(JSON.stringify(value)) as typeof value;
      assert.deepEqual({ ...frame, items }, { ...expected, items: expected.items ?? [] });
      seen.items += items.length;
      seen.cuts += cuts.length;
    }),
    { numRuns: 500 },
  );
  assert.ok(seen.items > 100 && seen.cuts > 100);
});

test('a list that was cut off is none', () => {
  const text = JSON.stringify({ metadata: { resourceVersion: '7' }, items: [{ a: '}' }, { b: [1] }] });
  for (let length = 0; length < text.length; length += 1)
    assert.throws(() => readIn(text.slice(0, length), []), SyntaxError, text.slice(0, length));
});
