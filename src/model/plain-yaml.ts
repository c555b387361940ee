/**
 * A quick reader of plain YAML: block maps and lists, flow ones on one line, scalars that nobody could take for
 * something else; and of JSON. Manifests are hardly ever more. It is unsure of whatever else there is (anchors, tags,
 * text over several lines, odd indentation, repeated keys and everything malformed), and the full parser is asked then:
 * where this one answers, both answer the same. It takes a tenth of the time, for those who have 10,000 manifests.
 */
import { readFlow } from './plain-flow.ts';
import {
  isSureKey,
  MAX_DEPTH,
  type Note,
  plainScalar,
  quotedScalar,
  unsure,
  UNSURE,
} from './plain-scalar.ts';

export type PlainDocument = { readonly value: object; readonly line: number };

/** The one document of the text, and the line on which it begins, counted from 0; undefined when unsure. */
export function readPlain(text: string, note: Note = () => {}): PlainDocument | undefined {
  if (/[^\n -~\u00a0-\uffff]|^(?:%|\.\.\.)/m.test(text)) return undefined;
  try {
    return readDocument(text, note);
  } catch (error) {
    if (error === UNSURE) return undefined;
    throw error;
  }
}

type Line = { readonly indent: number; readonly text: string; readonly number: number };

function readDocument(text: string, note: Note): PlainDocument {
  const lines = linesOf(text);
  if (lines[0]?.text === '---' && lines[0].indent === 0) lines.shift();
  const [first] = lines;
  if (first === undefined) return unsure();
  if (!/^[[{]/.test(first.text)) return { value: new BlockReader(lines, note).read(), line: first.number };
  const rest = text.split('\n').slice(first.number).join('\n');
  return { value: readFlow(rest, { note, path: '', line: first.number }) as object, line: first.number };
}

/** Those with something on them. */
function linesOf(text: string): Line[] {
  const lines: Line[] = [];
  for (const [number, line] of text.split('\n').entries()) {
    let [indent, end] = [0, line.length];
    while (line[indent] === ' ') indent += 1;
    while (end > indent && line[end - 1] === ' ') end -= 1;
    if (indent < end && line[indent] !== '#') lines.push({ indent, text: line.slice(indent, end), number });
  }
  return lines;
}

const KEY = /^([A-Za-z_][\w./-]*|"[\w ./-]*"|'[\w ./-]*'):(?: +(.*))?$/;

class BlockReader {
  readonly #lines: Line[];
  readonly #note: Note;
  #at = 0;
  #depth = 0;

  constructor(lines: Line[], note: Note) {
    this.#lines = lines;
    this.#note = note;
  }
  read(): object {
    const value = this.#block('');
    return this.#at === this.#lines.length ? value : unsure();
  }

  #line(): Line | undefined {
    return this.#lines[this.#at];
  }
  /** What begins on the present line, with all lines that are indented as it is. */
  #block(path: string): object {
    const line = this.#line() ?? unsure();
    if ((this.#depth += 1) > MAX_DEPTH) unsure();
    const value = isEntry(line) ? this.#list(path, line.indent) : this.#map(path, line.indent);
    this.#depth -= 1;
    return value;
  }
  #map(path: string, indent: number): object {
    const map: Record<string, unknown> = {};
    for (let line = this.#line(); line?.indent === indent; line = this.#line()) {
      const [, written, rest = ''] = KEY.exec(line.text) ?? unsure();
      const key = keyOf(written ?? '');
      if (Object.hasOwn(map, key)) unsure();
      const inner = path === '' ? key : `${path}.${key}`;
      this.#note(inner, line.number);
      this.#at += 1;
      map[key] = this.#value(inner, line, rest);
    }
    return map;
  }
  /** What stands after a key, or below it. */
  #value(path: string, { indent, number }: Line, rest: string): unknown {
    if (rest !== '' && !rest.startsWith('#')) return this.#inline(path, { indent, number, text: rest });
    const next = this.#line();
    if (next === undefined || next.indent < indent) return null;
    if (next.indent > indent) return this.#block(path);
    return isEntry(next) ? this.#list(path, indent) : null;
  }
  #list(path: string, indent: number): unknown[] {
    const list: unknown[] = [];
    for (let line = this.#line(); line?.indent === indent && isEntry(line); line = this.#line()) {
      list.push(this.#entry(path === '' ? `${list.length}` : `${path}.${list.length}`, line));
    }
    return list;
  }
  #entry(path: string, { indent, text, number }: Line): unknown {
    const after = /^- *(.*)$/.exec(text)?.[1] ?? unsure();
    const inner = { indent: indent + text.length - after.length, text: after, number };
    if (after === '') {
      this.#at += 1;
      const next = this.#line();
      if (next === undefined || next.indent <= indent) return unsure();
      this.#note(path, next.number);
      return this.#block(path);
    }
    this.#note(path, number);
    if (isEntry(inner) || KEY.test(after)) {
      this.#lines[this.#at] = inner;
      return this.#block(path);
    }
    this.#at += 1;
    return this.#inline(path, { ...inner, indent });
  }
  /** A scalar or a flow on one line; what is indented more would belong to it. */
  #inline(path: string, { indent, text, number }: Line): unknown {
    if ((this.#line()?.indent ?? 0) > indent) unsure();
    const first = text[0];
    if (first === '{' || first === '[') return readFlow(text, { note: this.#note, path, line: number });
    return first === '"' || first === "'" ? quotedScalar(text) : plainScalar(text);
  }
}

function isEntry(line: Line | undefined): boolean {
  return line !== undefined && (line.text === '-' || line.text.startsWith('- '));
}

function keyOf(written: string): string {
  const isQuoted = written.startsWith('"') || written.startsWith("'");
  const key = isQuoted ? written.slice(1, -1) : written;
  return isSureKey(key, isQuoted) ? key : unsure();
}
