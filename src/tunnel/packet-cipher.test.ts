/** The fast cipher against node:crypto, in both directions; a bit flipped anywhere is found. */
import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { Memory } from './memory.ts';
import type { CipherName } from './node-cipher.ts';
import { packetCiphers, plainCiphers } from './packet-cipher.ts';

const CIPHERS: readonly CipherName[] = ['aes-256-gcm', 'chacha20-poly1305'];
const memory = new Memory(1 << 15);
const [from, to] = [memory.reserve(1 << 13), memory.reserve(1 << 13)];

for (const name of CIPHERS) {
  const [fast, slow] = [packetCiphers(name), plainCiphers(name)];

  test(`${name}: this Node exports OpenSSL, so the fast one is under test`, () => {
    const key = Buffer.alloc(32);
    assert.notEqual(fast.sealer(memory, key).constructor, slow.sealer(memory, key).constructor);
  });

  test(`${name}: property: what one seals in parts, the other opens; never what was bent`, () => {
    const key = randomFillSync(Buffer.alloc(32));
    const sealers = [fast.sealer(memory, key), slow.sealer(memory, key)];
    const openers = [slow.opener(memory, key), fast.opener(memory, key)];
    const size = fc.integer({ min: 0, max: 2000 });
    const counters = fc.oneof(
      fc.integer({ min: 0, max: 2 ** 32 }),
      fc.constantFrom(2 ** 32 - 1, 2 ** 40 + 7),
    );
    fc.assert(
      fc.property(counters, size, size, fc.nat(), (counter, first, second, flip) => {
        const total = first + second;
        const clear = Buffer.from(randomFillSync(memory.bytes.subarray(from, from + total)));
        for (const [index, sealer] of sealers.entries()) {
          clear.copy(memory.bytes, from);
          sealer.begin(counter);
          sealer.add(to, from, first);
          sealer.add(to + first, from + first, second);
          sealer.end(to + total);
          const sealed = Buffer.from(memory.bytes.subarray(to, to + total + 16));
          const opener = openers[index];
          assert.ok(opener?.open(counter, to, total));
          assert.deepEqual(memory.bytes.subarray(to, to + total), clear);
          const again = (change: (copy: Buffer) => void, at = counter): boolean | undefined => {
            const copy = Buffer.from(sealed);
            change(copy);
            copy.copy(memory.bytes, to);
            return opener?.open(at, to, total);
          };
          const bit = flip % (sealed.length * 8);
          assert.equal(
            again((copy) => (copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7)))),
            false,
          );
          assert.equal(
            again(() => {}, counter + 1),
            false,
          );
          assert.equal(
            again(() => {}),
            true,
            'a refused message does not spoil the context',
          );
        }
      }),
      { numRuns: 60 },
    );
    for (const cipher of [...sealers, ...openers]) cipher.close();
  });
}
