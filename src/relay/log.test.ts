import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cursor, RelayLog } from './log.ts';
import { type Line, parseLine, patched } from '#stores/relay/lines.ts';
import type { StoreEvent, Stored, Version } from '#stores/store.ts';

/** Believes what a cursor tells, as a reader far away does. */
class Believer {
  readonly objects = new Map<string, { value: unknown; version: Version }>();
  readonly words: string[] = [];
  readonly cursor: Cursor;
  constructor(log: RelayLog, before: Believer['objects'] = new Map()) {
    const known: Record<string, Version> = {};
    for (const [name, { version }] of before) known[name] = version;
    this.cursor = log.read(known);
    this.#before = before;
  }
  readonly #before: Believer['objects'];

  read(bytes: number): void {
    for (const text of this.cursor.take(bytes)) this.#take(parseLine(text.toString()));
  }
  readAll(): void {
    for (let texts = this.cursor.take(4096); texts.length > 0; texts = this.cursor.take(4096))
      for (const text of texts) this.#take(parseLine(text.toString()));
  }
  #take(line: Line): void {
    this.words.push(Object.keys(line)[0] ?? '');
    if ('put' in line) this.objects.set(line.put.name, { value: line.put.value, version: line.put.version });
    else if ('same' in line)
      this.objects.set(line.same, this.#before.get(line.same) ?? assert.fail(line.same));
    else if ('removed' in line) this.objects.delete(line.removed);
    else if ('patch' in line) {
      const { name, from, version } = line.patch;
      const before = this.objects.get(name);
      assert.equal(before?.version, from, `a patch of ${name} for who knows another`);
      this.objects.set(name, { value: patched(before?.value, line.patch), version });
    }
  }
}

const put = (name: string, version: number, value: unknown): StoreEvent => ({
  type: 'put',
  object: { kind: 'Node', name, value, version: String(version) as Version, origin: name } satisfies Stored,
});

const names = fc.constantFrom('a', 'b', 'c', 'd');
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('put'), name: names, at: fc.nat(30), text: fc.string() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('remove'), name: names }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('gap'), kept: fc.array(names) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('read'), who: fc.nat(3), bytes: fc.nat(400) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('begin'), who: fc.nat(3), knows: fc.boolean() }) },
);

test('whoever reads, from whenever on and however slowly, ends in the present state', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const log = new RelayLog();
      const present = new Map<string, { value: unknown; version: Version }>();
      const readers = new Map<number, Believer>();
      let version = 0;
      log.take({ type: 'synced' });
      for (const each of steps as readonly Record<string, unknown>[]) {
        const name = String(each['name']);
        const who = Number(each['who']);
        if (each['do'] === 'put') {
          version += 1;
          const list = Array.from({ length: 30 }, (_, index) => ({ pod: index, text: 'some text of a pod' }));
          list.splice(Number(each['at']), 1, { pod: -1, text: String(each['text']) });
          present.set(name, { value: { list }, version: String(version) as Version });
          log.take(put(name, version, { list }));
        } else if (each['do'] === 'remove') {
          present.delete(name);
          log.take({ type: 'removed', name });
        } else if (each['do'] === 'gap') {
          log.take({ type: 'gap', reason: 'test' });
          const kept = each['kept'] as string[];
          for (const gone of present.keys()) if (!kept.includes(gone)) present.delete(gone);
          for (const [again, object] of present) log.take(put(again, Number(object.version), object.value));
          log.take({ type: 'synced' });
        } else if (each['do'] === 'begin')
          readers.set(who, new Believer(log, each['knows'] === true ? readers.get(who)?.objects : undefined));
        else readers.get(who)?.read(Number(each['bytes']));
      }
      for (const reader of readers.values()) {
        reader.readAll();
        assert.deepEqual(reader.objects, present);
      }
      assert.equal(log.size, present.size);
    }),
    { numRuns: 300 },
  );
});

test('a change of one among many is told as a patch, to who was told of the rest', () => {
  const log = new RelayLog();
  const pods = Array.from({ length: 40 }, (_, index) => ({
    name: `pod-${index}`,
    address: `10.0.0.${index}`,
  }));
  log.take(put('n', 1, { pods }));
  log.take({ type: 'synced' });
  const [early, slow] = [new Believer(log), new Believer(log)];
  early.readAll();
  const value = { pods: pods.toSpliced(20, 1, { name: 'zwölf 🐈', address: '10.1.1.1' }) };
  log.take(put('n', 2, value));
  early.readAll();
  slow.readAll();
  assert.deepEqual(early.words, ['put', 'synced', 'patch']);
  assert.deepEqual(slow.words, ['put', 'synced'], 'it hears the last alone');
  assert.deepEqual(early.objects, slow.objects);
  assert.deepEqual(early.objects.get('n')?.value, value);
});

test('who comes back hears only what is new, and is told what is the same', () => {
  const log = new RelayLog();
  for (let index = 0; index < 5; index += 1) log.take(put(`n${index}`, index + 1, { index }));
  log.take({ type: 'synced' });
  const first = new Believer(log);
  first.readAll();
  log.take(put('n1', 9, { index: 'new' }));
  log.take({ type: 'removed', name: 'n2' });
  const again = new Believer(log, first.objects);
  again.readAll();
  assert.deepEqual(again.words, ['same', 'same', 'same', 'put', 'synced']);
  assert.deepEqual([...again.objects.keys()].sort(), ['n0', 'n1', 'n3', 'n4']);
});

test('a gap is told once, and what was told before it is not told again', () => {
  const log = new RelayLog();
  log.take(put('n', 1, {}));
  log.take({ type: 'synced' });
  const reader = new Believer(log);
  reader.readAll();
  log.take({ type: 'gap', reason: 'cut' });
  reader.readAll();
  log.take(put('n', 1, {}));
  log.take({ type: 'synced' });
  reader.readAll();
  assert.deepEqual(reader.words, ['put', 'synced', 'away', 'away']);
});

test('who is behind by more removals than are remembered is lost, and who has just come is not', () => {
  const log = new RelayLog();
  log.take({ type: 'synced' });
  const slow = log.read({});
  for (let index = 0; index < 1001; index += 1) {
    log.take(put('n', index * 2 + 1, {}));
    log.take({ type: 'removed', name: 'n' });
  }
  assert.ok(slow.isLost);
  assert.ok(!log.read({}).isLost);
});
