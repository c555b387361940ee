import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { redact } from './redact.ts';

test('no secret survives, in whatever syntax it stands', () => {
  const secret = fc.stringMatching(/^[A-Za-z0-9]{8,40}$/);
  const syntax = fc.constantFrom(
    (s: string) => `password: ${s}\nnext: 1`,
    (s: string) => JSON.stringify({ deep: { bgpPassword: s, other: 1 } }),
    (s: string) => `TOKEN=${s} x`,
    (s: string) => `psk = '${s}'`,
    (s: string) => `Authorization: Bearer ${s}`,
    (s: string) => `private_key: "${s}"`,
    (s: string) => `-----BEGIN EC PRIVATE KEY-----\n${s}\n-----END EC PRIVATE KEY-----`,
  );
  fc.assert(
    fc.property(secret, syntax, (secret, write) => {
      fc.pre(
        !['password', 'PRIVATE', 'redacted', 'Authorization', 'private'].some((word) =>
          word.includes(secret),
        ),
      );
      assert.ok(!redact(write(secret)).includes(secret));
    }),
  );
});

test('JSON stays JSON, and what is not secret stays as it is', () => {
  const told = { node: 'a', mac: '02:00:00:00:00:01', route: '10.0.0.0/24 via 10.1.1.1', token: 'x"y' };
  assert.deepEqual(JSON.parse(redact(JSON.stringify(told))), { ...told, token: '[redacted]' });
  const plain = 'default via 192.168.1.1 dev eth0 proto dhcp metric 100';
  assert.equal(redact(plain), plain);
  const key = Buffer.alloc(32, 7).toString('base64');
  assert.equal(redact(`peer: ${key} allowed`), 'peer: [redacted key] allowed');
});
