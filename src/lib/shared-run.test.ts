import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedRun } from './shared-run.ts';

test('what is asked for while a run is under way shares the next one', async () => {
  const runs: string[][] = [];
  let end = Promise.withResolvers<void>();
  const shared = new SharedRun<string>((items) => {
    runs.push([...items]);
    return end.promise;
  });
  const first = shared.ask(['a']);
  await new Promise((resolve) => setImmediate(resolve));
  const second = shared.ask(['b']);
  const third = shared.ask(['c', 'b']);
  assert.equal(second, third);
  assert.deepEqual(runs, [['a']]);
  end.resolve();
  end = Promise.withResolvers();
  await first;
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(runs, [['a'], ['b', 'c']]);
  end.resolve();
  await second;
});

test('a run that fails fails for those who asked, and not for the next', async () => {
  let fails = true;
  const shared = new SharedRun<string>(() => (fails ? Promise.reject(new Error('no')) : Promise.resolve()));
  await assert.rejects(shared.ask(['a']), /no/);
  fails = false;
  await shared.ask(['b']);
  await shared.ended();
});

test('a run takes all that came while it gathered', async () => {
  const runs: string[][] = [];
  const counts: number[] = [];
  const gathered = Promise.withResolvers<void>();
  const gather = async (waiting: () => number): Promise<void> => {
    counts.push(waiting());
    await gathered.promise;
    counts.push(waiting());
  };
  const shared = new SharedRun<string>(async (items) => void runs.push([...items]), gather);
  const first = shared.ask(['a']);
  await new Promise((resolve) => setImmediate(resolve));
  const second = shared.ask(['b']);
  gathered.resolve();
  await Promise.all([first, second]);
  assert.deepEqual([runs, counts], [[['a', 'b']], [1, 2]]);
});
