import { hash } from 'node:crypto';
import { share } from '#lib/share.ts';
import { type ReadDocument, type ReadPiece, readPiece, type Written } from '#model/document.ts';
import { splitObjects } from '#model/list-document.ts';
import type { Manifest } from '#model/manifest.ts';
import { STATE_KINDS, type StateKind, type StoreKind, type Version } from './store.ts';

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
  /** On which it begins in its file. */
  readonly line: number;
};

/** `otherVersion`: the object is well, for another release than this one. */
export type FileProblem = {
  readonly line: number;
  readonly message: string;
  readonly otherVersion?: true;
  /** Whose objects this is about, where that is known. */
  readonly kind?: StoreKind;
};
export type FileContent = {
  readonly objects: readonly FileObject[];
  readonly problems: readonly FileProblem[];
};

export const API_VERSION = 'tartan.dev/v1';
/** Larger files are not read. */
export const MAX_FILE_BYTES = 1 << 20;

/** Names become file names: no separators, not hidden, short enough with their ending. */
export function isObjectName(name: string): boolean {
  return name.length <= 244 && /^[A-Za-z0-9:][A-Za-z0-9:._-]*$/.test(name);
}

export function formatObject(object: Omit<FileObject, 'version' | 'line'>): string {
  const { kind, name, value, expiresAtMs, revision } = object;
  const expiry = expiresAtMs === undefined ? {} : { expiresAt: new Date(expiresAtMs).toISOString() };
  const whole = { apiVersion: API_VERSION, kind, metadata: { name, ...expiry, revision }, spec: value };
  return `${JSON.stringify(whole, null, 2)}\n`;
}

/** All objects of the text, and all that is wrong with it, at its line. `digest`: versionOf(text), if it is known. */
export function parseObjects(text: string, digest?: Version): FileContent {
  const json = readJson(text);
  if (json !== undefined) {
    const read = toObject(json, digest);
    return 'version' in read ? { objects: [read], problems: [] } : { objects: [], problems: [read] };
  }
  const pieces = Array.from(splitText(text), readPiece);
  return joinContents(pieces.map((piece) => contentOf(piece, (document) => toObject(document))));
}

/** The one object of a file of state, which is where it belongs. */
export function parseState(
  text: string,
  kind: StateKind | undefined,
  { fileName, digest }: { readonly fileName: string; readonly digest?: Version },
): FileContent {
  if (text.length > MAX_FILE_BYTES) {
    return { objects: [], problems: [{ line: 1, message: `larger than ${MAX_FILE_BYTES} bytes` }] };
  }
  const content = parseObjects(text, digest);
  const isMisplaced = (object: FileObject): boolean =>
    object.kind !== kind || `${object.name}.yaml` !== fileName;
  if (!content.objects.some(isMisplaced)) return content;
  const message = `kind and metadata.name are not those of ${kind}/${fileName}`;
  return { objects: [], problems: [...content.problems, { line: 1, message }] };
}

/** These now, and of those before what is not among them. */
export function mergeObjects(before: readonly FileObject[], now: readonly FileObject[]): FileObject[] {
  const names = new Set(now.map(keyOf));
  return [...now, ...before.filter((object) => !names.has(keyOf(object)))];
}

/** Values mostly come again as they were: what did is the object that it was. */
export function shareValues(before: readonly FileObject[] | undefined, content: FileContent): FileContent {
  if (before === undefined) return content;
  const values = new Map(before.map((object) => [keyOf(object), object.value]));
  const objects = content.objects.map((object) => ({
    ...object,
    value: share(values.get(keyOf(object)), object.value),
  }));
  return { ...content, objects };
}

export function keyOf({ kind, name }: Pick<FileObject, 'kind' | 'name'>): string {
  return `${kind} ${name}`;
}

function splitText(text: string): Iterable<Written> {
  return splitObjects(text, (start, end) => text.slice(start, end));
}

/** What agents write, of whom there may be thousands. What is not JSON is as YAML right, or wrong at a line. */
function readJson(text: string): ReadDocument | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    return { value: JSON.parse(text) as unknown, written: { text, line: 1 } };
  } catch {
    return undefined;
  }
}

/** The same of what operators write: objects of other programs are among it, handed on as they are. */
export function parseOperators(source: string, text: string): FileContent {
  return joinContents(Array.from(splitText(text), (piece) => readOperators(source, piece)));
}

/** Of a piece of the text. */
export function readOperators(source: string, piece: Written): FileContent {
  return contentOf(readPiece(piece), (document) =>
    isOurs(document.value) ? toObject(document) : toManifest(source, document),
  );
}

/** Of the pieces of one text: of two objects with one name the first counts. */
export function joinContents(contents: readonly FileContent[]): FileContent {
  const objects = new Map<string, FileObject>();
  const problems = contents.flatMap(({ problems }) => problems);
  for (const object of contents.flatMap(({ objects }) => objects)) {
    const key = keyOf(object);
    const first = objects.get(key);
    if (first === undefined) objects.set(key, object);
    else problems.push(repetition(object, `on line ${first.line}`));
  }
  return { objects: [...objects.values()], problems };
}

/** The object does not count, as there is one of its name elsewhere. */
export function repetition({ kind, name, line }: FileObject, where: string): FileProblem {
  return {
    kind,
    line,
    message: `${kind === 'Manifest' ? '' : `${kind} `}${name} is there already, ${where}`,
  };
}

function contentOf(
  { documents, problems }: ReadPiece,
  read: (document: ReadDocument) => FileObject | FileProblem,
): FileContent {
  const found = documents.map(read);
  return {
    objects: found.filter((each) => 'version' in each),
    problems: [...problems, ...found.filter((each) => 'message' in each)],
  };
}

type RawObject = {
  readonly apiVersion: string;
  readonly kind: StateKind;
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

/** What the operator wrote for this program, well or not. */
function isOurs(raw: unknown): boolean {
  return (
    isRecord(raw) && typeof raw['apiVersion'] === 'string' && raw['apiVersion'].startsWith('tartan.dev/')
  );
}

function toObject(
  { value: raw, written: { line, text } }: ReadDocument,
  version?: Version,
): FileObject | FileProblem {
  const message = objectProblem(raw);
  if (message !== undefined)
    return { line, message, ...(isOfOtherVersion(raw) ? { otherVersion: true } : {}) };
  const { kind, metadata, spec } = raw as RawObject;
  const { name, expiresAt, revision } = metadata;
  return {
    kind,
    name,
    value: spec,
    version: version ?? versionOf(text),
    ...(expiresAt === undefined ? {} : { expiresAtMs: Date.parse(String(expiresAt)) }),
    revision: typeof revision === 'number' ? revision : 0,
    line,
  };
}

/** What tells one text from another. */
export function versionOf(text: string): Version {
  return hash('sha256', text, 'base64url') as Version;
}

/** What its fields mean is not asked here, nor whether there is such a kind. */
function toManifest(source: string, { value, written }: ReadDocument): FileObject | FileProblem {
  const name = manifestName(value);
  if (name === undefined) return { kind: 'Manifest', line: written.line, message: NO_MANIFEST };
  return manifestObject(name, { source, value, written });
}

export function manifestObject(name: string, manifest: Manifest): FileObject {
  const { line, text } = manifest.written ?? { line: 1, text: JSON.stringify(manifest.value) };
  // Where it stands belongs to it: who cites a line is told when it moves.
  return {
    kind: 'Manifest',
    name,
    value: manifest,
    version: versionOf(`${line} ${text}`),
    revision: 0,
    line,
  };
}

const NO_MANIFEST =
  'not an object with apiVersion (GROUP/VERSION), kind, metadata.name and perhaps metadata.namespace';

/**
 * `apiVersion/kind/[namespace/]name`, which no two objects share: versions are written small, kinds begin with a
 * capital. Whoever knows the kind knows what a missing namespace means; until then it is missing.
 */
export function manifestName(value: unknown): string | undefined {
  if (!isRecord(value) || !isRecord(value['metadata'])) return undefined;
  const { apiVersion, kind } = value;
  const { name, namespace } = value['metadata'];
  const isNamed =
    isMatch(apiVersion, /^(?:[a-z0-9.-]+\/)?[a-z0-9]+$/) && isMatch(kind, /^[A-Z][A-Za-z0-9]*$/);
  if (!isNamed || !isMatch(name, PART)) return undefined;
  if (namespace === undefined || namespace === null) return `${apiVersion}/${kind}/${name}`;
  return isMatch(namespace, PART) ? `${apiVersion}/${kind}/${namespace}/${name}` : undefined;
}

const PART = /^[^/\s]{1,253}$/;

function isMatch(value: unknown, pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value);
}

function objectProblem(raw: unknown): string | undefined {
  if (!isRecord(raw)) return 'not an object with apiVersion, kind, metadata and spec';
  if (raw['apiVersion'] !== API_VERSION) {
    return `apiVersion is ${JSON.stringify(raw['apiVersion'])}; this program reads ${API_VERSION}`;
  }
  if (!STATE_KINDS.some((kind) => kind === raw['kind'])) {
    return `unknown kind ${JSON.stringify(raw['kind'])}: known are ${STATE_KINDS.join(', ')}`;
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
