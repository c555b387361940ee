/** Against the vectors that the implementations of Noise share (made by the Haskell library Cacophony). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { generateKeyPair, keyPairFrom } from './keys.ts';
import { type CipherName, NODE_CIPHERS } from './node-cipher.ts';
import { type HandshakeOptions, NoiseHandshake, type PatternName } from './noise.ts';

type Vector = Readonly<Record<string, string>> & {
  readonly init_psks: readonly string[];
  readonly messages: readonly { readonly payload: string; readonly ciphertext: string }[];
};

const vectors = JSON.parse(readFileSync(join(import.meta.dirname, 'noise-vectors.json'), 'utf8')) as Vector[];
const hex = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'hex');

function sideOf(vector: Vector, initiator: boolean): { cipher: CipherName; handshake: NoiseHandshake } {
  const side = initiator ? 'init' : 'resp';
  const [, pattern = '', , cipherName] = (vector['protocol_name'] ?? '').split('_');
  const cipher = cipherName === 'AESGCM' ? 'aes-256-gcm' : 'chacha20-poly1305';
  const own = vector[`${side}_static`];
  const remote = vector[`${side}_remote_static`];
  const options: HandshakeOptions = {
    pattern: pattern as PatternName,
    cipher,
    initiator,
    prologue: hex(vector[`${side}_prologue`]),
    psk: hex(vector.init_psks[0]),
    ephemeral: keyPairFrom(hex(vector[`${side}_ephemeral`])),
    ...(own === undefined ? {} : { static: keyPairFrom(hex(own)) }),
    ...(remote === undefined ? {} : { remoteStatic: hex(remote) }),
  };
  return { cipher, handshake: new NoiseHandshake(options) };
}

test('the vectors are there: both patterns with both ciphers', () => {
  assert.deepEqual(vectors.map((vector) => vector['protocol_name'] ?? '').toSorted(), [
    'Noise_IKpsk2_25519_AESGCM_SHA256',
    'Noise_IKpsk2_25519_ChaChaPoly_SHA256',
    'Noise_NNpsk0_25519_AESGCM_SHA256',
    'Noise_NNpsk0_25519_ChaChaPoly_SHA256',
  ]);
});

for (const vector of vectors) {
  test(`${vector['protocol_name']}: handshake and transport messages as published`, () => {
    const sides = [sideOf(vector, true), sideOf(vector, false)] as const;
    const [first, second, ...rest] = vector.messages;
    for (const [from, to, message] of [
      [sides[0], sides[1], first],
      [sides[1], sides[0], second],
    ] as const) {
      const written = from.handshake.write(hex(message?.payload));
      assert.equal(written.toString('hex'), message?.ciphertext);
      assert.equal(to.handshake.read(written).toString('hex'), message?.payload);
    }
    for (const { handshake } of sides) assert.equal(handshake.hash.toString('hex'), vector['handshake_hash']);
    const keys = sides.map(({ handshake }) => handshake.split());
    for (const [index, message] of rest.entries()) {
      const [from, to] = index % 2 === 0 ? [keys[0], keys[1]] : [keys[1], keys[0]];
      const counter = Math.floor(index / 2);
      const { seal, open } = NODE_CIPHERS[sides[0].cipher];
      assert.ok(from !== undefined && to !== undefined);
      const sealed = seal({ key: from.send, counter, data: hex(message.payload) });
      assert.equal(sealed.toString('hex'), message.ciphertext);
      const opened = open({ key: to.receive, counter, data: sealed });
      assert.equal(opened?.toString('hex'), message.payload);
    }
  });
}

const IK = {
  pattern: 'IKpsk2',
  cipher: 'aes-256-gcm',
  prologue: Buffer.from('x'),
  psk: Buffer.alloc(32),
} as const;

test('a flipped bit anywhere, a short message and another key are refused', () => {
  const [alice, bob, eve] = [generateKeyPair(), generateKeyPair(), generateKeyPair()];
  const initiate = (to: Uint8Array): Buffer =>
    new NoiseHandshake({ ...IK, initiator: true, static: alice, remoteStatic: to }).write(Buffer.from('hi'));
  const respond = (message: Uint8Array): Buffer =>
    new NoiseHandshake({ ...IK, initiator: false, static: bob }).read(message);
  const message = initiate(bob.publicKey);
  assert.equal(respond(message).toString(), 'hi');
  for (let at = 0; at < message.length; at += 1) {
    const bent = Buffer.from(message);
    bent[at] = (bent[at] ?? 0) ^ 1;
    assert.throws(() => respond(bent), `bit flipped in byte ${at}`);
    assert.throws(() => respond(message.subarray(0, at)), `cut to ${at} bytes`);
  }
  assert.throws(() => respond(initiate(eve.publicKey)));
});

test('a point of low order is refused', () => {
  const bob = generateKeyPair();
  const respond = new NoiseHandshake({ ...IK, initiator: false, static: bob });
  assert.throws(() => respond.read(Buffer.alloc(32 + 48 + 16)));
});
