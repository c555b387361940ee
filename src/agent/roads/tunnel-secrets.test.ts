import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTunnelSecrets, TUNNEL_KEY_FILE } from './tunnel-secrets.ts';
import type { Settings, UdpSettings } from '#model/settings.ts';
import { encodeKey, generateKeyPair, rawPrivate } from '#tunnel/keys.ts';

const settingsOf = (state: string, udp: Partial<UdpSettings>): Settings =>
  ({
    network: { name: 'net' },
    paths: { state },
    road: { udp: { port: 8285, cipher: 'aes-256-gcm', ...udp } },
  }) as unknown as Settings;

test('secrets: none in clear, a key that is made, or a password; read again when the file is another', (t) => {
  const state = mkdtempSync(join(tmpdir(), 'tunnel-secrets-'));
  t.after(() => rmSync(state, { recursive: true }));
  assert.deepEqual(openTunnelSecrets(settingsOf(state, { cipher: 'plain' }))(), {});

  const keys = openTunnelSecrets(settingsOf(state, {}));
  const first = keys();
  const file = join(state, TUNNEL_KEY_FILE);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(first.publicKeys?.length, 1);
  assert.deepEqual(first.text, { mode: 'keys', own: [readFileSync(file, 'utf8').trim()] });
  assert.equal(keys(), first, 'not read again');

  const fresh = generateKeyPair();
  writeFileSync(file, `${encodeKey(rawPrivate(fresh.privateKey))}\n${readFileSync(file, 'utf8')}`);
  assert.deepEqual(keys().publicKeys, [encodeKey(fresh.publicKey), ...(first.publicKeys ?? [])]);

  const word = join(state, 'word');
  const passwords = openTunnelSecrets(settingsOf(state, { passwordFile: word }));
  assert.throws(passwords, { code: 'io', message: /ENOENT/ });
  writeFileSync(word, 'correct horse\n', { mode: 0o600 });
  const { publicKeys, text } = passwords();
  assert.equal(publicKeys, undefined);
  assert.ok(text?.mode === 'password' && text.keys.length === 1 && !text.keys[0]?.includes('horse'));
  chmodSync(word, 0o644);
  assert.throws(passwords, { code: 'io', message: /mode 644/ });
});
