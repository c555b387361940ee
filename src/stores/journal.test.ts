import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { openJournal } from './journal.ts';

function scratch(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'tartan-journal-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}
const plain = { sync: 'none', version: 1 } as const;

test('cut at every byte: what was written whole is there, nothing is invented, and appending goes on', (t) => {
  const path = join(scratch(t), 'journal');
  const records = ['a', { b: 'zwölf 🐈\n\u2028' }, [1, null], '', { long: 'x'.repeat(70) }];
  const { journal } = openJournal<unknown>(path, plain);
  const ends = records.map((record) => {
    journal.append(record);
    return statSync(path).size;
  });
  journal.close();
  const bytes = readFileSync(path);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    writeFileSync(path, bytes.subarray(0, cut));
    const whole = records.filter((_, index) => (ends[index] ?? 0) <= cut);
    const first = openJournal<unknown>(path, plain);
    assert.deepEqual([first.records, first.problems], [whole, []], `cut at ${cut}`);
    first.journal.append('next');
    first.journal.close();
    const second = openJournal<unknown>(path, plain);
    assert.deepEqual(second.records, [...whole, 'next'], `cut at ${cut}, then appended`);
    second.journal.close();
  }
});

test('a damaged byte costs at most its record, is reported, and invents nothing', (t) => {
  const path = join(scratch(t), 'journal');
  const { journal } = openJournal<number[]>(path, plain);
  const records = [[1, 2, 3], [44], [5, 6]];
  for (const record of records) journal.append(record);
  journal.close();
  const bytes = readFileSync(path);
  const start = bytes.indexOf(0x0a) + 1;
  const place = fc.tuple(fc.integer({ min: start, max: bytes.length - 2 }), fc.integer({ min: 1, max: 255 }));
  fc.assert(
    fc.property(place, ([at, flip]) => {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ flip;
      writeFileSync(path, damaged);
      const opened = openJournal<number[]>(path, plain);
      opened.journal.close();
      const texts = new Set(records.map((record) => JSON.stringify(record)));
      assert.ok(opened.records.every((record) => texts.has(JSON.stringify(record))));
      assert.ok(opened.problems.length > 0);
      // A newline that was lost makes one line of two records.
      assert.ok(opened.records.length >= (bytes[at] === 0x0a ? 1 : 2));
      assert.match(opened.problems[0]?.path ?? '', /journal:[234]$/);
    }),
    { numRuns: 150 },
  );
});

test('compaction replaces all and leaves no other file', (t) => {
  const directory = scratch(t);
  const path = join(directory, 'journal');
  const { journal } = openJournal<number>(path, { sync: 'data', version: 1 });
  for (let n = 0; n < 50; n += 1) journal.append(n);
  journal.compact([7, 8]);
  assert.equal(journal.length, 2);
  journal.append(9);
  journal.close();
  assert.deepEqual(readdirSync(directory), ['journal']);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(openJournal<number>(path, plain).records, [7, 8, 9]);
});

test('the version before is read and rewritten; others are refused and left alone', (t) => {
  const path = join(scratch(t), 'journal');
  const old = openJournal<number>(path, plain).journal;
  old.append(1);
  old.append(2);
  old.close();
  const next = { sync: 'none', version: 2, upgrade: (n: unknown) => ({ n }) } as const;
  assert.deepEqual(openJournal(path, next).records, [{ n: 1 }, { n: 2 }]);
  assert.deepEqual(openJournal(path, { ...next, upgrade: () => assert.fail() }).records, [
    { n: 1 },
    { n: 2 },
  ]);
  const before = readFileSync(path);
  assert.throws(() => openJournal(path, plain), {
    code: 'io',
    message: /of version 2; this program reads version 1$/,
  });
  assert.deepEqual(readFileSync(path), before);
  writeFileSync(path, 'something else that is long enough\n');
  assert.throws(() => openJournal(path, plain), { code: 'io', message: /is no journal/ });
});
