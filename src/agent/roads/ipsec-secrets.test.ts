import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { deriveKey, readIpsecSecrets } from './ipsec-secrets.ts';
import { Fault } from '#model/fault.ts';

const A = Buffer.alloc(32, 1).toString('base64');
const B = Buffer.alloc(48, 2).toString('base64');

function inFile(text: string, work: (path: string) => void, mode = 0o600): void {
  const directory = mkdtempSync(join(tmpdir(), 'tartan-ipsec-'));
  const path = join(directory, 'ipsec.secrets');
  try {
    writeFileSync(path, text);
    chmodSync(path, mode);
    work(path);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function faultOf(text: string, mode?: number): string {
  let told = '';
  inFile(
    text,
    (path) => {
      assert.throws(
        () => readIpsecSecrets(path),
        (error: unknown) => {
          assert.ok(error instanceof Fault && error.code === 'io');
          told = [error.message, ...error.problems.map((each) => `${each.path} ${each.message}`)].join('\n');
          assert.ok(!told.includes(A.slice(0, 20)), 'no secret is quoted');
          return true;
        },
      );
    },
    mode,
  );
  return told;
}

test('secrets are told apart by name and content, in the order of the file', () => {
  inFile(`# of the cluster\n\n2026-11 ${A} # newest\n2026-10  ${B}\n`, (path) => {
    const [one = '', two = ''] = readIpsecSecrets(path).keys();
    assert.match(one, /^2026-11:[0-9a-f]{16}$/);
    assert.match(two, /^2026-10:[0-9a-f]{16}$/);
    assert.notEqual(one.split(':')[1], two.split(':')[1]);
  });
});

test('everything that is wrong is told, at its line', () => {
  const told = faultOf(`a ${A}\na ${B}\nb ${A} more\nc YWJj\nd ${'*'.repeat(50)}\n${'n'.repeat(33)} ${A}\n`);
  for (const line of [2, 3, 4, 5, 6]) assert.match(told, new RegExp(`secrets:${line} `));
  assert.match(faultOf('# none\n'), /there is no secret/);
  assert.match(faultOf(`a ${A}\n`, 0o640), /can be read by others/);
});

test('a key is of its name and its secret alone', () => {
  const key = (secret: number, name: string) => deriveKey(Buffer.alloc(32, secret), name, 36).toString('hex');
  assert.equal(key(1, 'a b'), key(1, 'a b'));
  assert.equal(new Set([key(1, 'a b'), key(1, 'b a'), key(2, 'a b')]).size, 3);
});
