import { manifestOf } from '#model/manifest.ts';
import { API_VERSION, manifestName, parseState } from '../object-file.ts';
import type { StateKind, Stored, StoreKind, Version } from '../store.ts';
import { decodeText, type KeyValue } from './messages.ts';

/**
 * Keys and values of a cluster in etcd. Several share one etcd by their prefixes.
 *
 *     PREFIX/KIND/NAME      what agents write: the object that the directory store has in a file, as JSON on one line
 *     PREFIX/Manifest/NAME  the operator's: the object as Kubernetes has it, as JSON
 *     PREFIX/identity       made once; gone or another, and the data are not those that were there before
 */
export function keyPrefix(prefix: string, kind: StoreKind): string {
  return `${prefix}/${kind}/`;
}

export function identityKey(prefix: string): string {
  return `${prefix}/identity`;
}

export type Written = {
  readonly kind: StateKind;
  readonly name: string;
  readonly value: unknown;
  readonly expiresAtMs?: number;
  /** Of one write: says whether what is there is from it. */
  readonly write: string;
};

export function formatState({ kind, name, value, expiresAtMs, write }: Written): string {
  const expiry = expiresAtMs === undefined ? {} : { expiresAt: new Date(expiresAtMs).toISOString() };
  return JSON.stringify({ apiVersion: API_VERSION, kind, metadata: { name, ...expiry, write }, spec: value });
}

/** The write that a value is from. */
export function writeOf(kv: KeyValue | undefined): string | undefined {
  if (kv === undefined) return undefined;
  const read = parseJson(decodeText(kv.value ?? '')) as { metadata?: { write?: string } } | undefined;
  return read?.metadata?.write;
}

export type Unreadable = { readonly name: string; readonly origin: string; readonly message: string };

/** An object of the kind whose keys begin with `below`. */
export function readObject(kind: StoreKind, below: string, kv: KeyValue): Stored | Unreadable {
  const origin = decodeText(kv.key);
  const name = origin.slice(below.length);
  const text = decodeText(kv.value ?? '');
  const read = kind === 'Manifest' ? readManifest(name, origin, text) : readState(kind, name, text);
  if ('message' in read) return { name, origin, message: read.message };
  return { kind, name, ...read, version: kv.mod_revision as Version, origin };
}

type Read = Pick<Stored, 'value' | 'expiresAtMs'> | { readonly message: string };

function readState(kind: StateKind, name: string, text: string): Read {
  const { objects, problems } = parseState(text, kind, { fileName: `${name}.yaml` });
  const [object] = objects;
  if (object === undefined) return { message: problems[0]?.message ?? 'holds no object' };
  const { value, expiresAtMs } = object;
  return { value, ...(expiresAtMs === undefined ? {} : { expiresAtMs }) };
}

function readManifest(name: string, origin: string, text: string): Read {
  const value = parseJson(text);
  if (manifestName(value) !== name) return { message: `is not the object ${name} as JSON` };
  return { value: manifestOf(origin, value) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
