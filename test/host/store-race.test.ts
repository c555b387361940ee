/** Several processes at one directory store: compare-and-swap loses nothing, also when holders of the lock are killed. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDirectoryStore } from '../../src/stores/directory.ts';

const WRITER = `
  import { openDirectoryStore } from '#stores/directory.ts';
  const store = openDirectoryStore(process.argv[1]);
  for (let done = 0; done < Number(process.argv[2]); ) {
    const read = await store.get('Node', 'counter');
    try {
      await store.put('Node', 'counter', { n: read.value.n + 1 }, { expect: read.version });
      done += 1;
      process.stdout.write('.');
    } catch (error) {
      if (error.code !== 'store-conflict') throw error;
    }
  }
  process.exit(0);
`;

function startWriter(
  path: string,
  times: number,
): { child: ChildProcess; done: Promise<number>; count(): number } {
  const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER, path, String(times)], {
    cwd: join(import.meta.dirname, '../..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let count = 0;
  child.stdout.on('data', (chunk: Buffer) => (count += chunk.length));
  const done = new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? -1)));
  return { child, done, count: () => count };
}

async function counterOf(path: string): Promise<number> {
  const store = openDirectoryStore(path);
  const read = await store.get('Node', 'counter');
  store.close();
  assert.ok(read !== undefined);
  return (read.value as { n: number }).n;
}

async function prepare(t: { after(undo: () => void): void }): Promise<string> {
  const path = mkdtempSync(join(tmpdir(), 'tartan-race-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  const store = openDirectoryStore(path);
  await store.put('Node', 'counter', { n: 0 }, { expect: 'absent' });
  store.close();
  return path;
}

test('four processes, 40 increments each: 160', async (t) => {
  const path = await prepare(t);
  const writers = Array.from({ length: 4 }, () => startWriter(path, 40));
  assert.deepEqual(await Promise.all(writers.map(({ done }) => done)), [0, 0, 0, 0]);
  assert.equal(await counterOf(path), 160);
});

test('writers killed at any moment leave a lock that the others get, and no half-written object', async (t) => {
  const path = await prepare(t);
  let killed = 0;
  const steady = startWriter(path, 60);
  for (let round = 0; round < 6; round += 1) {
    const victim = startWriter(path, 1_000_000);
    while (victim.count() < 2) await sleep(5);
    await sleep(Math.random() * 30);
    victim.child.kill('SIGKILL');
    await victim.done;
    killed += victim.count();
  }
  assert.equal(await steady.done, 0);
  const total = await counterOf(path);
  // A victim may have written once more than it could tell.
  assert.ok(total >= 60 + killed && total <= 60 + killed + 6, `${total} for 60 and ${killed}`);
});
