import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runDelegate } from './delegate.ts';
import { Fault } from '#model/fault.ts';

async function withPlugin(script: string, body: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'cf-delegate-'));
  try {
    const file = join(directory, 'ipam');
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const call = (directory: string, more: { timeoutMs?: number; stdin?: string } = {}) =>
  runDelegate({
    type: 'ipam',
    env: { CNI_PATH: `relative:/nonexistent:${directory}`, CNI_COMMAND: 'ADD' },
    stdin: '{}',
    ...more,
  });

async function failureOf(running: Promise<string>): Promise<Fault> {
  const error: unknown = await running.then(
    (stdout) => assert.fail(`it succeeded: ${stdout}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Fault, String(error));
  return error;
}

test('the plugin gets the request on standard input and its environment, nothing of ours', () =>
  withPlugin('cat; echo " $CNI_COMMAND $HOME"', async (directory) => {
    assert.equal(await call(directory, { stdin: '{"a":1}' }), '{"a":1} ADD \n');
  }));

test('an error of the plugin keeps number and message; a failure without one has ours', async () => {
  const error = '{"code":123,"msg":"no lease","details":"asked twice"}';
  await withPlugin(`echo '${error}'; exit 1`, async (directory) => {
    const { cni, message } = await failureOf(call(directory));
    assert.deepEqual([cni, message], [123, 'ipam: no lease; asked twice']);
  });
  await withPlugin('echo no JSON; exit 7', async (directory) => {
    const { cni, message } = await failureOf(call(directory));
    assert.deepEqual([cni, message], [105, 'ipam: exit code 7']);
  });
  for (const code of ['"x"', '0', '-4', '1.5', 'null'])
    await withPlugin(`echo '{"code":${code},"msg":"m"}'; exit 1`, async (directory) => {
      assert.equal((await failureOf(call(directory))).cni, 105, code);
    });
});

test('a plugin that hangs is killed with its children, and said so', () =>
  withPlugin('sleep 1000 & echo $! >"$0.child"; wait', async (directory) => {
    const pidFile = join(directory, 'ipam.child');
    const { code, message } = await failureOf(call(directory, { timeoutMs: 1500 }));
    assert.equal(code, 'delegate');
    assert.match(message, /^ipam did not answer within 1\.5 s/);
    const status = `/proc/${readFileSync(pidFile, 'utf8').trim()}/status`;
    const runs = (): boolean => existsSync(status) && !/^State:\s+Z/m.test(readFileSync(status, 'utf8'));
    for (let tries = 0; runs(); tries += 1) {
      assert.ok(tries < 500, 'the child of the plugin lives on');
      await sleep(10);
    }
  }));
