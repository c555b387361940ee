/**
 * Keys of the tunnel: X25519 pairs as raw bytes and base64 (the form of `wg genkey`), and what is made of a password.
 * A private key stays a KeyObject: it is never printed, and leaves this process only into a file, mode 0600, or by `rawPrivate`.
 */
import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  scryptSync,
} from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';

export type KeyPair = { readonly privateKey: KeyObject; readonly publicKey: Uint8Array };

/** RFC 8410: the DER around the 32 bytes. */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex');
const SPKI = Buffer.from('302a300506032b656e032100', 'hex');

const rawPublic = (key: KeyObject): Uint8Array =>
  key.export({ type: 'spki', format: 'der' }).subarray(SPKI.length);

export function generateKeyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  return { privateKey, publicKey: rawPublic(publicKey) };
}

/** From 32 raw bytes; throws TypeError on any other length. */
export function keyPairFrom(raw: Uint8Array): KeyPair {
  if (raw.length !== 32) throw new TypeError(`a private key has 32 bytes, not ${raw.length}`);
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8, raw]), format: 'der', type: 'pkcs8' });
  return { privateKey, publicKey: rawPublic(createPublicKey(privateKey)) };
}

/** Throws when the public key is a point of low order: the secret would be known to everybody (RFC 7748 section 6.1). */
export function sharedSecret(privateKey: KeyObject, publicKey: Uint8Array): Buffer {
  const key = createPublicKey({ key: Buffer.concat([SPKI, publicKey]), format: 'der', type: 'spki' });
  return diffieHellman({ privateKey, publicKey: key });
}

export function encodeKey(publicKey: Uint8Array): string {
  return Buffer.from(publicKey).toString('base64');
}

/** The 32 bytes of a base64 key, or undefined when the text is none. */
export function parseKey(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === 32 && bytes.toString('base64') === text ? bytes : undefined;
}

/** RFC 7914 parameters: 32 MB and about 100 ms, once per password. */
const SCRYPT = { N: 1 << 15, r: 8, p: 1, maxmem: 64 << 20 } as const;

/**
 * The pre-shared key that a password stands for. The network's name is the salt, so that one password in two networks
 * is two keys and no table of common passwords serves for both.
 */
export function keyFromPassword(password: string, network: string): Buffer {
  const stretched = scryptSync(password, `tartan tunnel ${network}`, 32, SCRYPT);
  return Buffer.from(hkdfSync('sha256', stretched, '', 'tartan tunnel psk', 32));
}

/**
 * The private keys of a file, base64, one a line, the newest first; a new file with one key where there is none. Throws
 * an Error that never holds a key; others must not be able to read the file.
 */
export function openKeyFile(path: string): KeyPair[] {
  try {
    return readSecretLines(path).map((line, index) => {
      const raw = parseKey(line);
      if (raw === undefined) throw new Error(`${path}: line ${index + 1} is no base64 key of 32 bytes`);
      return keyPairFrom(raw);
    });
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOENT') throw error;
  }
  const pair = generateKeyPair();
  writeFileSync(path, `${encodeKey(rawPrivate(pair.privateKey))}\n`, {
    mode: 0o600,
    flag: 'wx',
    flush: true,
  });
  return [pair];
}

/** Lines that hold something, of a file with at least one that nobody else can read. */
export function readSecretLines(path: string): string[] {
  const fd = openSync(path, 'r');
  try {
    const mode = fstatSync(fd).mode & 0o777;
    if ((mode & 0o077) !== 0)
      throw new Error(`${path} holds secrets and has mode ${mode.toString(8)}: make it 600`);
    const lines = readFileSync(fd, 'utf8')
      .split('\n')
      .map((line) => line.trim());
    const full = lines.filter((line) => line !== '');
    if (full.length === 0) throw new Error(`${path} is empty`);
    return full;
  } finally {
    closeSync(fd);
  }
}

/** The 32 bytes, for who hands them to the tunnel's process. */
export function rawPrivate(key: KeyObject): Uint8Array {
  return key.export({ type: 'pkcs8', format: 'der' }).subarray(PKCS8.length);
}
