import { hash } from 'node:crypto';
import { type Document, LineCounter, parseAllDocuments } from 'yaml';
import { STORE_KINDS, type StoreKind, type Version } from './store.ts';

/**
 * Text of object files: YAML documents in the shape of Kubernetes objects. What agents write is JSON, which is YAML
 * too and parses a hundred times faster; operators write what they like.
 *
 *     apiVersion: tartan.dev/v1        version of the format
 *     kind: SubnetClaim
 *     metadata: { name: 10.244.7.0-24, expiresAt: 2030-01-01T00:00:00.000Z }
 *     spec: { node: node-a, subnet: 10.244.7.0/24, reserved: true }
 */
export type FileObject = {
  readonly kind: StoreKind;
  readonly name: string;
  readonly value: unknown;
  readonly version: Version;
  readonly expiresAtMs?: number;
  /** Of the last write by a store; 0 for what an operator wrote. Makes every write's text another one. */
  readonly revision: number;
};

/** `otherVersion`: the object is well, for another release than this one. */
export type FileProblem = { readonly line: number; readonly message: string; readonly otherVersion?: true };
export type FileContent = {
  readonly objects: readonly FileObject[];
  readonly problems: readonly FileProblem[];
};

export const API_VERSION = 'tartan.dev/v1';
/** Larger files are not read. */
export const MAX_FILE_BYTES = 1 << 20;

/** Names become file names: no separators, not hidden, short enough with their ending. */
export function isObjectName(name: string): boolean {
  return /^[A-Za-z0-9:][A-Za-z0-9:._-]{0,243}$/.test(name);
}

export function formatObject(object: Omit<FileObject, 'version'>): string {
  const { kind, name, value, expiresAtMs, revision } = object;
  const expiry = expiresAtMs === undefined ? {} : { expiresAt: new Date(expiresAtMs).toISOString() };
  const whole = { apiVersion: API_VERSION, kind, metadata: { name, ...expiry, revision }, spec: value };
  return `${JSON.stringify(whole, null, 2)}\n`;
}

/** All objects of the text, and all that is wrong with it, at its line. */
export function parseObjects(text: string): FileContent {
  const objects: FileObject[] = [];
  const problems: FileProblem[] = [];
  for (const { raw, line, message } of readDocuments(text)) {
    const wrong = message ?? objectProblem(raw);
    if (wrong === undefined) objects.push(toObject(raw as RawObject));
    else problems.push({ line, message: wrong, ...(isOfOtherVersion(raw) ? { otherVersion: true } : {}) });
  }
  return { objects, problems };
}

type ReadDocument = { readonly raw?: unknown; readonly line: number; readonly message?: string };

function readDocuments(text: string): ReadDocument[] {
  if (text.startsWith('{')) {
    try {
      return [{ raw: JSON.parse(text) as unknown, line: 1 }];
    } catch {
      // Not JSON: as YAML it is either right or wrong at a line that can be told.
    }
  }
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines });
  return [...documents].filter((document) => !isBlank(document)).map((item) => readDocument(item, lines));
}

function isBlank(document: Document.Parsed): boolean {
  return document.errors.length === 0 && document.contents === null;
}

function readDocument(document: Document.Parsed, lines: LineCounter): ReadDocument {
  const [error] = document.errors;
  if (error !== undefined) {
    return { line: lines.linePos(error.pos[0]).line, message: (error.message.split('\n')[0] ?? '').trim() };
  }
  const line = lines.linePos(document.contents?.range[0] ?? document.range[0]).line;
  try {
    return { line, raw: document.toJS() as unknown };
  } catch (error) {
    return { line, message: error instanceof Error ? error.message : String(error) };
  }
}

type RawObject = {
  readonly apiVersion: string;
  readonly kind: StoreKind;
  readonly metadata: {
    readonly name: string;
    readonly expiresAt?: string | number;
    readonly revision?: number;
  };
  readonly spec: object;
};

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function objectProblem(raw: unknown): string | undefined {
  if (!isRecord(raw)) return 'not an object with apiVersion, kind, metadata and spec';
  if (raw['apiVersion'] !== API_VERSION) {
    return `apiVersion is ${JSON.stringify(raw['apiVersion'])}; this program reads ${API_VERSION}`;
  }
  if (!STORE_KINDS.some((kind) => kind === raw['kind'])) {
    return `unknown kind ${JSON.stringify(raw['kind'])}: known are ${STORE_KINDS.join(', ')}`;
  }
  if (!isRecord(raw['spec'])) return 'spec is not an object';
  return metadataProblem(raw['metadata']);
}

function isOfOtherVersion(raw: unknown): boolean {
  if (!isRecord(raw) || typeof raw['apiVersion'] !== 'string') return false;
  return /^tartan\.dev\/v\d/.test(raw['apiVersion']) && raw['apiVersion'] !== API_VERSION;
}

function metadataProblem(metadata: unknown): string | undefined {
  if (!isRecord(metadata)) return 'metadata is not an object';
  const { name, expiresAt } = metadata;
  if (typeof name !== 'string' || !isObjectName(name)) {
    return `metadata.name ${JSON.stringify(name)} is not a name: letters, digits and : . _ -, at most 244`;
  }
  const isTime = typeof expiresAt === 'string' && !Number.isNaN(Date.parse(expiresAt));
  if (expiresAt === undefined || isTime) return undefined;
  return `metadata.expiresAt ${JSON.stringify(expiresAt)} is not a time in ISO 8601`;
}

function toObject({ kind, metadata, spec }: RawObject): FileObject {
  const { name, expiresAt, revision } = metadata;
  return {
    kind,
    name,
    value: spec,
    version: hash('sha256', JSON.stringify([spec, expiresAt, revision])).slice(0, 16) as Version,
    ...(expiresAt === undefined ? {} : { expiresAtMs: Date.parse(String(expiresAt)) }),
    revision: typeof revision === 'number' ? revision : 0,
  };
}
