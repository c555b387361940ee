/** Flow maps and lists of plain YAML, and JSON, which is one of them (./plain-yaml.ts). */
import { isSureKey, MAX_DEPTH, type Note, plainScalar, unescape, unsure } from './plain-scalar.ts';

export type FlowPlace = { readonly note: Note; readonly path: string; readonly line: number };

/** All of the text is one flow map or list; after it may come a comment. Begins at the place's path and line. */
export function readFlow(text: string, place: FlowPlace): unknown {
  return new FlowReader(text, place).read(place.path);
}

const SPACE = /[ \n]*/y;
const QUOTED = /"(?:[^"\\\n]|\\.)*"/y;
const PLAIN = /[A-Za-z0-9_./-]+/y;
const END = /[ \n]*$| +#[^\n]*\n*$/y;

class FlowReader {
  readonly #text: string;
  readonly #note: Note;
  #at = 0;
  #line: number;
  #depth = 0;

  constructor(text: string, { note, line }: FlowPlace) {
    this.#text = text;
    this.#note = note;
    this.#line = line;
  }
  read(path: string): unknown {
    this.#skipSpace();
    const value = this.#value(path);
    END.lastIndex = this.#at;
    return END.test(this.#text) ? value : unsure();
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }
  #skipSpace(): void {
    const space = this.#take(SPACE) ?? '';
    for (const each of space) if (each === '\n') this.#line += 1;
  }
  #is(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #value(path: string): unknown {
    if ((this.#depth += 1) > MAX_DEPTH) unsure();
    const value = this.#is('{') ? this.#map(path) : this.#is('[') ? this.#list(path) : this.#scalar();
    this.#depth -= 1;
    return value;
  }
  #scalar(): unknown {
    const quoted = this.#take(QUOTED);
    return quoted === undefined ? plainScalar(this.#take(PLAIN) ?? unsure()) : unescape(quoted);
  }
  #map(path: string): object {
    const map: Record<string, unknown> = {};
    this.#items('}', () => {
      const key = this.#key();
      if (Object.hasOwn(map, key)) unsure();
      const inner = path === '' ? key : `${path}.${key}`;
      this.#note(inner, this.#line);
      this.#skipSpace();
      map[key] = this.#value(inner);
    });
    return map;
  }
  #key(): string {
    const quoted = this.#take(QUOTED);
    const key = quoted === undefined ? (this.#take(PLAIN) ?? unsure()) : unescape(quoted);
    const isPlain = quoted === undefined;
    if (!isSureKey(key, !isPlain) || (isPlain && !/^[A-Za-z_]/.test(key)) || !this.#is(':')) unsure();
    // Without quotes, the colon alone would be part of the text.
    if (isPlain && !/[ \n]/.test(this.#text[this.#at] ?? '')) unsure();
    return key;
  }
  #list(path: string): unknown[] {
    const list: unknown[] = [];
    this.#items(']', () => {
      const inner = path === '' ? `${list.length}` : `${path}.${list.length}`;
      this.#note(inner, this.#line);
      list.push(this.#value(inner));
    });
    return list;
  }
  /** Items with commas in between, to the closing bracket. */
  #items(close: string, item: () => void): void {
    this.#skipSpace();
    if (this.#is(close)) return;
    do {
      this.#skipSpace();
      item();
      this.#skipSpace();
    } while (this.#is(','));
    if (!this.#is(close)) unsure();
  }
}
