/**
 * This node's WireGuard key: made here, kept in the state directory (0600), and never told. It has the form of
 * `wg genkey`; another file in its place, or none, and a restart of the agent are its rotation.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileDurably } from '../node-file.ts';
import { Fault } from '#model/fault.ts';

export type WireguardKey = {
  /** Base64, as peers know it. */
  readonly publicKey: string;
  readonly privateKey: Uint8Array;
};

export const WIREGUARD_KEY_FILE = 'wireguard.key';
const KEY_BYTES = 32;
/** What stands before the 32 bytes in PKCS #8 (RFC 8410 section 7). */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** Makes the key where there is none. Throws Fault `io` when the file can be read by others or holds no key. */
export function openWireguardKey(state: string): WireguardKey {
  const path = join(state, WIREGUARD_KEY_FILE);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    const { d = '' } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
    writeFileDurably(path, `${Buffer.from(d, 'base64url').toString('base64')}\n`);
  } else if ((stat.mode & 0o077) !== 0) {
    throw new Fault(
      'io',
      `${path} holds a private key and can be read by others: chmod 600 it, or remove it`,
    );
  }
  const privateKey = Buffer.from(readFileSync(path, 'utf8').trim(), 'base64');
  if (privateKey.length !== KEY_BYTES) throw new Fault('io', `${path} holds no WireGuard key: remove it`);
  return { privateKey, publicKey: publicKeyOf(privateKey) };
}

function publicKeyOf(privateKey: Uint8Array): string {
  const der = Buffer.concat([PKCS8, privateKey]);
  const key = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
  const { x = '' } = key.export({ format: 'jwk' });
  return Buffer.from(x, 'base64url').toString('base64');
}
