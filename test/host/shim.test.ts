/**
 * The CNI executable as a process: its own answers without an agent, and what passes between it and an agent.
 * Needs no root; the executable must have been built (npm run build, or make -C native).
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { decodeMessage, encodeReply } from '../../src/cni/message.ts';

const BUILT = join(import.meta.dirname, '../../dist/tartan-cni');
const skip = existsSync(BUILT) ? false : `${BUILT} is not built: make -C native`;
const CONFIG = '{"cniVersion":"1.0.0","name":"pods","type":"tartan-cni"}';

let directory = '';
let executable = '';
let socket = '';
before(() => {
  if (skip !== false) return;
  directory = mkdtempSync(join(tmpdir(), 'cn-shim-'));
  executable = join(directory, 'tartan-cni');
  socket = join(directory, 'run', 'cni.sock');
  copyFileSync(BUILT, executable);
  writeFileSync(`${executable}.socket`, `${socket}\n`);
});
after(() => {
  if (directory !== '') rmSync(directory, { recursive: true });
});

type Answer = { code: number | null; stdout: string; stderr: string };

/** `input` undefined: standard input stays open and silent; 'closed': there is none. */
function start(verb: string, input: string | undefined, env: Record<string, string> = {}): ChildProcess {
  const variables = { CNI_COMMAND: verb, CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: '/x', ...env };
  const child =
    input === 'closed'
      ? spawn('/bin/sh', ['-c', `exec ${executable} <&-`], { env: variables })
      : spawn(executable, [], { env: variables });
  child.stdin?.on('error', () => {});
  if (input !== undefined) child.stdin?.end(input);
  return child;
}

async function run(
  verb: string,
  input: string | undefined,
  env: Record<string, string> = {},
): Promise<Answer> {
  const child = start(verb, input, env);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  child.stdin?.destroy();
  return { code, stdout, stderr };
}

const error = (answer: Answer) =>
  JSON.parse(answer.stdout) as { code: number; cniVersion: string; details: string };
const spooled = (): string[] => readdirSync(join(directory, 'run', 'spool')).sort();

/** An agent that answers each request with what `reply` says of its bytes. */
async function withAgent<T>(reply: (request: Buffer) => Buffer | string, body: () => Promise<T>): Promise<T> {
  const server: Server = createServer({ allowHalfOpen: true }, (connection) => {
    const parts: Buffer[] = [];
    connection.on('error', () => {});
    connection.on('data', (part) => parts.push(part));
    connection.on('end', () => connection.end(reply(Buffer.concat(parts))));
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  try {
    return await body();
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

test('P8: VERSION without agent: input closed, silent or given', { skip }, async () => {
  for (const [input, expected] of [
    ['closed', '1.1.0'],
    [undefined, '1.1.0'],
    ['{"cniVersion": "0.4.0"}', '0.4.0'],
    ['{"cniVersion":"\\"}', '1.1.0'],
  ] as const) {
    const { code, stdout } = await run('VERSION', input);
    const answer = JSON.parse(stdout) as { cniVersion: string; supportedVersions: string[] };
    assert.equal(code, 0);
    assert.equal(answer.cniVersion, expected);
    assert.equal(answer.supportedVersions.length, 7);
  }
});

test('P9: a blank verb prints the about text on stderr', { skip }, async () => {
  const answer = await run('', '');
  assert.deepEqual([answer.code, answer.stdout], [0, '']);
  assert.match(answer.stderr, /CNI/);
});

test('no agent: 11, STATUS 50, unknown verb 4; unreadable or endless input 5 and 6', { skip }, async () => {
  for (const [verb, code] of [
    ['ADD', 11],
    ['CHECK', 11],
    ['GC', 11],
    ['STATUS', 50],
    ['NIX', 4],
  ] as const) {
    const answer = await run(verb, CONFIG);
    assert.equal(answer.code, 1);
    assert.deepEqual([error(answer).code, error(answer).cniVersion], [code, '1.0.0'], verb);
  }
  assert.equal(error(await run('ADD', 'closed')).code, 5);
  assert.equal(error(await run('ADD', 'x'.repeat(4 * 2 ** 20 + 1))).code, 6);
  assert.equal(error(await run('DEL', CONFIG, { CNI_CONTAINERID: '' })).code, 4);
});

test('no agent: DEL is kept, whole, for its owner only, in order', { skip }, async () => {
  for (const id of ['c1', 'c2']) {
    assert.deepEqual(await run('DEL', CONFIG, { CNI_CONTAINERID: id }), { code: 0, stdout: '', stderr: '' });
  }
  const files = spooled();
  assert.equal(files.length, 2);
  for (const [index, file] of files.entries()) {
    assert.match(file, /^\d{21}-\d+\.del$/);
    const path = join(directory, 'run', 'spool', file);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const { env, stdin } = decodeMessage(readFileSync(path));
    assert.deepEqual([env['CNI_CONTAINERID'], env['CNI_COMMAND'], stdin], [`c${index + 1}`, 'DEL', CONFIG]);
  }
});

test('with an agent: environment and a megabyte there, exit code and a megabyte back', { skip }, async () => {
  const big = 'y'.repeat(2 ** 20);
  let seen = decodeMessage(Buffer.from('TARTAN_PROTOCOL=1\0\0'));
  const reply = (request: Buffer): string => {
    seen = decodeMessage(request);
    return encodeReply(1, big);
  };
  const answer = await withAgent(reply, () =>
    run('ADD', `${CONFIG}${big}`, { CNI_ARGS: 'A=ä;B=', OTHER: '1' }),
  );
  assert.deepEqual([answer.code, answer.stdout.length], [1, big.length + 1]);
  assert.equal(seen.stdin, `${CONFIG}${big}`);
  assert.deepEqual(
    { ...seen.env },
    {
      TARTAN_PROTOCOL: '1',
      TARTAN_ARGV0: 'tartan-cni',
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: 'c1',
      CNI_IFNAME: 'eth0',
      CNI_NETNS: '/x',
      CNI_ARGS: 'A=ä;B=',
    },
  );
});

test('an agent that closes without a word is away; one that answers nonsense, too', { skip }, async () => {
  const before = spooled().length;
  assert.equal(
    error(
      await withAgent(
        () => '',
        () => run('ADD', CONFIG),
      ),
    ).code,
    11,
  );
  assert.equal(
    error(
      await withAgent(
        () => 'x{}',
        () => run('ADD', CONFIG),
      ),
    ).code,
    11,
  );
  assert.equal(
    (
      await withAgent(
        () => '',
        () => run('DEL', CONFIG),
      )
    ).code,
    0,
  );
  assert.equal(spooled().length, before + 1);
});

test('a spool that cannot be written: DEL fails with 11 and may be repeated', { skip }, async () => {
  writeFileSync(`${executable}.socket`, `/proc/nowhere/cni.sock\n`);
  const answer = await run('DEL', CONFIG);
  assert.deepEqual([answer.code, error(answer).code], [1, 11]);
  writeFileSync(`${executable}.socket`, `${socket}\n`);
});
