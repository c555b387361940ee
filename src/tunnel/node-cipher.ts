/**
 * The two AEADs of the tunnel through node:crypto, a message a call: for handshakes, and the slow twin of
 * `packet-cipher.ts`. Nonces are those of Noise (revision 34, section 12): 32 zero bits and the counter, in big-endian for
 * AES-GCM, in little-endian for ChaCha20-Poly1305.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';

export type CipherName = 'aes-256-gcm' | 'chacha20-poly1305';

export type Sealing = {
  readonly key: Uint8Array;
  /** Below 2^53. */
  readonly counter: number;
  readonly data: Uint8Array;
  readonly associated?: Uint8Array;
};

const TAG_BYTES = 16;
const NONE = new Uint8Array();

/** 12 bytes. */
export function nonceOf(cipher: CipherName, counter: number): Buffer {
  const nonce = Buffer.alloc(12);
  if (cipher === 'aes-256-gcm') nonce.writeBigUInt64BE(BigInt(counter), 4);
  else nonce.writeBigUInt64LE(BigInt(counter), 4);
  return nonce;
}

type Cipher = {
  /** The ciphertext with its tag. */
  readonly seal: (what: Sealing) => Buffer;
  /** The plaintext, or undefined when the tag is wrong. */
  readonly open: (what: Sealing) => Buffer | undefined;
};

function cipherNamed(name: CipherName): Cipher {
  // The types of node:crypto tell GCM's options from ChaCha's, which are the same.
  const algorithm = name as 'aes-256-gcm';
  const options = { authTagLength: TAG_BYTES };
  return {
    seal: ({ key, counter, data, associated = NONE }) => {
      const cipher = createCipheriv(algorithm, key, nonceOf(name, counter), options);
      cipher.setAAD(associated, { plaintextLength: data.length });
      return Buffer.concat([cipher.update(data), cipher.final(), cipher.getAuthTag()]);
    },
    open: ({ key, counter, data, associated = NONE }) => {
      const size = data.length - TAG_BYTES;
      if (size < 0) return undefined;
      const decipher = createDecipheriv(algorithm, key, nonceOf(name, counter), options);
      decipher.setAAD(associated, { plaintextLength: size });
      decipher.setAuthTag(data.subarray(size));
      const plain = decipher.update(data.subarray(0, size));
      try {
        return Buffer.concat([plain, decipher.final()]);
      } catch {
        return undefined;
      }
    },
  };
}

export const NODE_CIPHERS: Readonly<Record<CipherName, Cipher>> = {
  'aes-256-gcm': cipherNamed('aes-256-gcm'),
  'chacha20-poly1305': cipherNamed('chacha20-poly1305'),
};
