import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openWireguardKey, WIREGUARD_KEY_FILE } from './wireguard-key.ts';

test('the key is made once, readable by its owner alone, and another file is another key', (t) => {
  const state = mkdtempSync(join(tmpdir(), 'pl-key-'));
  t.after(() => rmSync(state, { recursive: true }));
  const file = join(state, WIREGUARD_KEY_FILE);
  const made = openWireguardKey(state);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(openWireguardKey(state), made);

  const pair = generateKeyPairSync('x25519');
  const { d = '', x = '' } = pair.privateKey.export({ format: 'jwk' });
  writeFileSync(file, `${Buffer.from(d, 'base64url').toString('base64')}\n`);
  assert.equal(openWireguardKey(state).publicKey, Buffer.from(x, 'base64url').toString('base64'));

  chmodSync(file, 0o640);
  assert.throws(() => openWireguardKey(state), { code: 'io', message: /can be read by others/ });
  chmodSync(file, 0o600);
  writeFileSync(file, 'short\n');
  assert.throws(() => openWireguardKey(state), { code: 'io', message: /holds no WireGuard key/ });
});
