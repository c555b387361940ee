/** Objects as they were written: YAML text or an API server's JSON, with the line of every field where lines exist. */
import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import type { Problem } from './fault.ts';
import type { Origin } from './policy.ts';

export type Path = readonly PropertyKey[];

export type Manifest = {
  /** File or store key. */
  readonly source: string;
  readonly value: unknown;
  /** Lines by path, joined with dots; '' is the object itself. */
  readonly lines: ReadonlyMap<string, number>;
};

/** Longer texts are not read: no policy comes near. */
export const MAX_TEXT = 1 << 20;

/** Every document of the text that is YAML; the others are problems, each at its line. */
export function readManifests(
  source: string,
  text: string,
): { readonly manifests: readonly Manifest[]; readonly problems: readonly Problem[] } {
  const nothing = (message: string) => ({ manifests: [], problems: [{ path: source, message }] });
  if (text.length > MAX_TEXT) return nothing(`is longer than ${MAX_TEXT} characters`);
  try {
    return readDocuments(source, text);
  } catch (error) {
    // The parser recurses: nesting of thousands of levels ends its stack.
    return nothing(`cannot be read: ${String(error)}`);
  }
}

function readDocuments(source: string, text: string): ReturnType<typeof readManifests> {
  const counter = new LineCounter();
  const documents = [
    ...parseAllDocuments(text, { lineCounter: counter, prettyErrors: false, logLevel: 'error' }),
  ];
  const read = documents.map((document) => readDocument(source, document, counter));
  const manifests = read.flatMap(({ manifest }) => manifest ?? []);
  return {
    // Between two `---` there may be nothing.
    manifests: manifests.filter(({ value }) => value !== null),
    problems: read.flatMap(({ problems }) => problems),
  };
}

/** An object that was not written as text. */
export function manifestOf(source: string, value: unknown): Manifest {
  return { source, value, lines: new Map() };
}

/** Where the field stands, or the nearest one around it that was written. */
export function originOf({ source, lines }: Manifest, path: Path): Origin {
  for (let length = path.length; length >= 0; length -= 1) {
    const line = lines.get(path.slice(0, length).join('.'));
    if (line !== undefined) return { source, line, path: path.join('.') };
  }
  return { source, path: path.join('.') };
}

type ReadDocument = { readonly manifest?: Manifest; readonly problems: readonly Problem[] };

function readDocument(source: string, document: Document.Parsed, counter: LineCounter): ReadDocument {
  const lineAt = (offset: number): number => counter.linePos(offset).line;
  if (document.errors.length > 0) {
    const problems = document.errors.map(({ pos, message }) => ({
      path: `${source}:${lineAt(pos[0])}`,
      message: (message.split('\n')[0] ?? '').trim(),
    }));
    return { problems };
  }
  const start = lineAt(document.contents?.range[0] ?? 0);
  const lines = new Map([['', start]]);
  noteLines(document.contents, '', (path, offset) => lines.set(path, lineAt(offset)));
  try {
    return { manifest: { source, value: document.toJS({ maxAliasCount: 100 }), lines }, problems: [] };
  } catch (error) {
    // Aliases that lead nowhere or multiply beyond measure.
    return { problems: [{ path: `${source}:${start}`, message: String(error) }] };
  }
}

type Note = (path: string, offset: number) => void;

function noteLines(node: unknown, base: string, note: Note): void {
  const child = (key: string | number): string => (base === '' ? `${key}` : `${base}.${key}`);
  const children = isMap(node) ? node.items.map(fieldOf) : isSeq(node) ? node.items.map(entryOf) : [];
  for (const { key, offset, value } of children) {
    note(child(key), offset);
    noteLines(value, child(key), note);
  }
}

type Child = { readonly key: string | number; readonly offset: number; readonly value: unknown };

function fieldOf({ key, value }: { readonly key: unknown; readonly value: unknown }): Child {
  return isScalar(key)
    ? { key: String(key.value), offset: key.range?.[0] ?? 0, value }
    : { key: '?', offset: 0, value };
}

function entryOf(value: unknown, key: number): Child {
  return { key, offset: isNode(value) ? (value.range?.[0] ?? 0) : 0, value };
}
