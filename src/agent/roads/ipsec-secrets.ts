/**
 * The cluster's IPsec secrets: a file of lines `NAME SECRET` (base64, 32 bytes or more), which the operator puts on every node,
 * the newest first. No message quotes a secret.
 */
import { hkdfSync } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { Fault, type Problem } from '#model/fault.ts';

/** By `NAME:CHECK`, in the order of the file. */
export type IpsecSecrets = ReadonlyMap<string, Uint8Array>;

const SECRET_BYTES = 32;
const MOST_SECRETS = 8;
const NAME = /^[\w.-]{1,32}$/;
const CHECK_BYTES = 8;
/** Keeps what is derived for one purpose apart from all others (RFC 5869 section 3.2). */
const LABEL = 'tartan ipsec 1';

/** Throws Fault `io` when others can read the file, or with everything that is wrong in it. */
export function readIpsecSecrets(path: string): IpsecSecrets {
  const { text, mode } = readWhole(path);
  if ((mode & 0o077) !== 0) {
    throw new Fault('io', `${path} holds secrets and can be read by others: chmod 600 it`);
  }
  const secrets = new Map<string, Uint8Array>();
  const names = new Set<string>();
  const problems: Problem[] = [];
  const say = (place: string, message: string): number => problems.push({ path: place, message });
  for (const [index, line] of text.split('\n').entries()) {
    const read = readLine(line, names);
    if (typeof read === 'string') say(`${path}:${index + 1}`, read);
    else if (read !== undefined) secrets.set(`${read.name}:${checkOf(read.secret)}`, read.secret);
  }
  if (secrets.size === 0) say(path, 'there is no secret: a line is NAME SECRET');
  if (secrets.size > MOST_SECRETS) say(path, `there are more than ${MOST_SECRETS}`);
  if (problems.length > 0) throw new Fault('io', `${path} cannot be used`, { problems });
  return secrets;
}

/** What the line says, or what is wrong with it; undefined: nothing. Its name is added to the names of lines above. */
function readLine(line: string, above: Set<string>): { name: string; secret: Buffer } | string | undefined {
  const words = line.replace(/#.*/, '').trim().split(/\s+/);
  const [name = '', encoded = ''] = words;
  if (name === '') return undefined;
  const secret = Buffer.from(encoded, 'base64');
  const wrong = problemOf(words, secret) ?? (above.has(name) ? 'a line above has the name' : undefined);
  above.add(name);
  return wrong ?? { name, secret };
}

function readWhole(path: string): { text: string; mode: number } {
  try {
    return { text: readFileSync(path, 'utf8'), mode: statSync(path).mode };
  } catch (cause) {
    throw new Fault('io', `${path}, which holds the IPsec secrets, cannot be read`, { cause });
  }
}

function problemOf(words: readonly string[], secret: Buffer): string | undefined {
  if (words.length !== 2) return 'a line is NAME SECRET';
  if (!NAME.test(words[0] ?? ''))
    return 'a name has at most 32 letters, digits, dots, dashes and underscores';
  if (!/^[\w+/-]+={0,2}$/.test(words[1] ?? '')) return 'the secret is not base64';
  return secret.length < SECRET_BYTES ? `the secret has less than ${SECRET_BYTES} bytes` : undefined;
}

/** Tells secrets apart and tells nothing of them: they are random, so nobody finds one by trying. */
function checkOf(secret: Uint8Array): string {
  return derive(secret, 'check', CHECK_BYTES).toString('hex');
}

/** The key of a name (HKDF-SHA256, RFC 5869). */
export function deriveKey(secret: Uint8Array, name: string, length: number): Buffer {
  return derive(secret, `key ${name}`, length);
}

function derive(secret: Uint8Array, info: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, LABEL, info, length));
}
