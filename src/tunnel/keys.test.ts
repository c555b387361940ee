import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  encodeKey,
  generateKeyPair,
  keyFromPassword,
  keyPairFrom,
  openKeyFile,
  parseKey,
  rawPrivate,
  sharedSecret,
} from './keys.ts';

test('X25519 as RFC 7748 section 6.1 has it', () => {
  const hex = (text: string): Buffer => Buffer.from(text, 'hex');
  const alice = keyPairFrom(hex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a'));
  const bob = keyPairFrom(hex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'));
  assert.equal(
    Buffer.from(alice.publicKey).toString('hex'),
    '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
  );
  const shared = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';
  assert.equal(sharedSecret(alice.privateKey, bob.publicKey).toString('hex'), shared);
  assert.equal(sharedSecret(bob.privateKey, alice.publicKey).toString('hex'), shared);
});

test('base64 keys: the canonical text of 32 bytes and nothing else', () => {
  const { publicKey } = generateKeyPair();
  const text = encodeKey(publicKey);
  assert.deepEqual(parseKey(text), Buffer.from(publicKey));
  for (const bad of ['', 'x', text.slice(1), `${text}=`, ` ${text}`, `${text.slice(0, -2)}==`])
    assert.equal(parseKey(bad), undefined, bad);
});

test('a key file: made once and 0600, several keys, refused when others may read it or it holds something else', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tunnel-keys-'));
  try {
    const path = join(folder, 'key');
    const publicKeys = (): string[] => openKeyFile(path).map(({ publicKey }) => encodeKey(publicKey));
    const [made = ''] = publicKeys();
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(publicKeys(), [made]);
    const other = generateKeyPair();
    const line = encodeKey(rawPrivate(other.privateKey));
    writeFileSync(path, `${line}\n\n${readFileSync(path, 'utf8')}`);
    assert.deepEqual(publicKeys(), [encodeKey(other.publicKey), made], 'the newest first');
    chmodSync(path, 0o640);
    assert.throws(publicKeys, /mode 640/);
    chmodSync(path, 0o600);
    writeFileSync(path, `${line}\nsecret words\n`);
    assert.throws(
      publicKeys,
      (error: Error) => /line 2/.test(error.message) && !error.message.includes('words'),
    );
    writeFileSync(path, '\n');
    assert.throws(publicKeys, /is empty/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a password is one key per network', () => {
  const key = keyFromPassword('correct horse', 'net1');
  assert.equal(key.length, 32);
  assert.deepEqual(keyFromPassword('correct horse', 'net1'), key);
  assert.notDeepEqual(keyFromPassword('correct horse', 'net2'), key);
  assert.notDeepEqual(keyFromPassword('correct horsf', 'net1'), key);
});
