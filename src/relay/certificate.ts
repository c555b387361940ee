/**
 * A certificate that this process makes for itself and that nobody signs: who reads it from the store trusts it and no
 * other. It lasts as long as the process; its time says nothing, so that no clock can be wrong about it.
 */
import { generateKeyPairSync, sign } from 'node:crypto';
import { SERVER_NAME } from '#stores/relay/lines.ts';

/** PEM. */
export type Credentials = { readonly key: string; readonly cert: string };

/** ITU-T X.690 (DER). */
const TAG = {
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  oid: 0x06,
  text: 0x0c,
  time: 0x18,
  sequence: 0x30,
  set: 0x31,
  dnsName: 0x82,
  version: 0xa0,
  extensions: 0xa3,
} as const;

/** 1.2.840.10045.4.3.2, ecdsa-with-SHA256 (RFC 5758); 2.5.4.3, common name; 2.5.29.17, subject's other names. */
const ECDSA_SHA256 = Buffer.from('2a8648ce3d040302', 'hex');
const COMMON_NAME = Buffer.from('550403', 'hex');
const OTHER_NAMES = Buffer.from('551d11', 'hex');
/** RFC 5280, 4.1.2.5: the second says that there is no end. */
const ALWAYS = ['20000101000000Z', '99991231235959Z'];

/** RFC 5280, 4.1. */
export function makeCredentials(): Credentials {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const algorithm = sequence(der(TAG.oid, ECDSA_SHA256));
  const name = sequence(der(TAG.set, sequence(der(TAG.oid, COMMON_NAME), der(TAG.text, SERVER_NAME))));
  const names = sequence(der(TAG.oid, OTHER_NAMES), der(TAG.octets, sequence(der(TAG.dnsName, SERVER_NAME))));
  const body = sequence(
    der(TAG.version, der(TAG.integer, Buffer.from([2]))),
    der(TAG.integer, Buffer.from([1])),
    algorithm,
    name,
    sequence(...ALWAYS.map((time) => der(TAG.time, time))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(TAG.extensions, sequence(names)),
  );
  const signature = der(TAG.bits, Buffer.from([0]), sign('sha256', body, privateKey));
  const lines =
    sequence(body, algorithm, signature)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n'),
  };
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(TAG.sequence, ...parts);
}

function der(tag: number, ...parts: readonly (Buffer | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
  const long = body.length < 0x100 ? [0x81] : [0x82, body.length >> 8];
  const length = [...(body.length < 0x80 ? [] : long), body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}
