/**
 * YAML text as documents, each read by itself: what is wrong with one says nothing about another, and a document whose
 * text is the same has not to be read again.
 */
import {
  type Document,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
} from 'yaml';
import { readPlain } from './plain-yaml.ts';

/** A document, or a part of one, as it is written, and the line of its file on which that begins. */
export type Written = { readonly text: string; readonly line: number };

/** A string, or the bytes of one. */
export type Searchable = { readonly length: number; indexOf(text: string, from: number): number };

/** Cuts before each `---` that begins a line: there it is no content (YAML 1.2.2, 9.1.2). `cut` makes the pieces. */
export function* splitDocuments(
  text: Searchable,
  cut: (start: number, end: number) => string,
): Generator<Written> {
  let [from, line, pending] = [0, 1, ''];
  for (let to = 0; to < text.length; from = to) {
    to = nextMarker(text, from, cut);
    pending += cut(from, to);
    // Directives stand before the `---` of their document.
    if (to < text.length && /^%/m.test(pending)) continue;
    yield { text: pending, line };
    line += countLines(pending);
    pending = '';
  }
}

const MARKER = '\n---';

function nextMarker(text: Searchable, from: number, cut: (start: number, end: number) => string): number {
  for (let at = from; ;) {
    at = text.indexOf(MARKER, at);
    if (at === -1) return text.length;
    at += MARKER.length;
    if (/^\s?$/.test(cut(at, Math.min(at + 1, text.length)))) return at - MARKER.length + 1;
  }
}

export function countLines(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count += 1;
  return count;
}

export type ReadDocument = { readonly value: unknown; readonly written: Written };
export type DocumentProblem = { readonly line: number; readonly message: string };
export type ReadPiece = {
  readonly documents: readonly ReadDocument[];
  readonly problems: readonly DocumentProblem[];
};

const OPTIONS = { prettyErrors: false, logLevel: 'error' } as const;
/** How many nodes aliases may make of one. */
const ALIASES = { maxAliasCount: 100 };

/**
 * The documents of a piece: one, none where there are only comments, or several with `...` in between. Objects of a
 * `v1 List` are documents each.
 */
export function readPiece(piece: Written): ReadPiece {
  const plain = readPlain(piece.text);
  if (plain === undefined || isList(plain.value)) return readWhole(piece);
  const text = piece.text.slice(offsetOf(piece.text, plain.line));
  const written = { text, line: piece.line + plain.line };
  return { documents: [{ value: plain.value, written }], problems: [] };
}

function offsetOf(text: string, line: number): number {
  let at = 0;
  for (let left = line; left > 0; left -= 1) at = text.indexOf('\n', at) + 1;
  return at;
}

function readWhole(piece: Written): ReadPiece {
  try {
    const counter = new LineCounter();
    const read = [...parseAllDocuments(piece.text, { ...OPTIONS, lineCounter: counter })].map((document) =>
      readDocument(document, piece, counter),
    );
    return {
      documents: read.flatMap(({ documents }) => documents),
      problems: read.flatMap(({ problems }) => problems),
    };
  } catch (error) {
    // The parser recurses: nesting of thousands of levels ends its stack.
    return { documents: [], problems: [{ line: piece.line, message: `cannot be read: ${String(error)}` }] };
  }
}

function readDocument(document: Document.Parsed, piece: Written, counter: LineCounter): ReadPiece {
  const lineAt = (offset: number): number => piece.line + counter.linePos(offset).line - 1;
  if (document.errors.length > 0) {
    const problems = document.errors.map(({ pos, message }) => ({
      line: lineAt(pos[0]),
      message: (message.split('\n')[0] ?? '').trim(),
    }));
    return { documents: [], problems };
  }
  // Between two `---` there may be nothing.
  if (document.contents === null) return { documents: [], problems: [] };
  const written = partOf(piece, document.contents, counter);
  try {
    const value = document.toJS(ALIASES) as unknown;
    if (value === null) return { documents: [], problems: [] };
    const items =
      isMap(document.contents) && isList(value) ? document.contents.get('items', true) : undefined;
    if (!isSeq(items)) return { documents: [{ value, written }], problems: [] };
    const documents = items.items.map((item) => ({
      value: isNode(item) ? (item.toJS(document, ALIASES) as unknown) : undefined,
      written: isNode(item) ? partOf(piece, item, counter) : written,
    }));
    return { documents, problems: [] };
  } catch (error) {
    // Aliases that lead nowhere or multiply beyond measure.
    return { documents: [], problems: [{ line: written.line, message: String(error) }] };
  }
}

export function isList(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { apiVersion, kind } = value as { readonly apiVersion?: unknown; readonly kind?: unknown };
  return apiVersion === 'v1' && kind === 'List';
}

/** The node alone, in its column, as columns are what YAML reads. */
function partOf({ text, line }: Written, { range }: Node, counter: LineCounter): Written {
  const [start, end] = [range?.[0] ?? 0, range?.[2] ?? 0];
  const at = counter.linePos(start);
  return { text: ' '.repeat(at.col - 1) + text.slice(start, end), line: line + at.line - 1 };
}

/**
 * Lines of all fields by path, joined with dots; '' is the whole. Of text that cannot be read by itself, as it has
 * aliases of what stood before it, there is only that.
 */
export function readLines({ text, line }: Written): ReadonlyMap<string, number> {
  const lines = new Map([['', line]]);
  if (readPlain(text, (path, at) => lines.set(path, line + at)) !== undefined) return lines;
  lines.clear();
  lines.set('', line);
  const counter = new LineCounter();
  const [document] = parseAllDocuments(text, { ...OPTIONS, lineCounter: counter });
  const contents: unknown = document?.contents;
  noteLines(contents, '', (path, offset) => lines.set(path, line + counter.linePos(offset).line - 1));
  return lines;
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
