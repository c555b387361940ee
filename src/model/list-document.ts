/**
 * A `v1 List` as `kubectl get -o yaml` or `-o json` writes it, cut into its objects before anything is read: each is read
 * by itself then, and what is wrong with one says nothing about another. Lists that are written otherwise are left whole.
 */
import { countLines, isList, splitDocuments, type Searchable, type Written } from './document.ts';
import { readPlain } from './plain-yaml.ts';

/** The documents of the text, and of lists the objects in them. */
export function* splitObjects(
  text: Searchable,
  cut: (start: number, end: number) => string,
): Generator<Written> {
  for (const document of splitDocuments(text, cut)) yield* splitList(document) ?? [document];
}

/** Where the objects are, and what one of them begins with, at the beginning of a line. */
type Layout = {
  readonly start: number;
  readonly end: number;
  readonly marker: string;
  /** All but the objects. */
  readonly around: string;
  /** An object as a document of its own, in its columns. */
  readonly trim: (text: string) => string;
};

function splitList(document: Written): Generator<Written> | undefined {
  const layout = layoutOfBlock(document.text) ?? layoutOfJson(document.text);
  const around = layout === undefined ? undefined : readPlain(layout.around)?.value;
  const isEmpty = isList(around) && (around as { readonly items?: unknown[] }).items?.length === 0;
  return layout !== undefined && isEmpty ? cutItems(document, layout) : undefined;
}

function* cutItems({ text, line }: Written, { start, end, marker, trim }: Layout): Generator<Written> {
  let itemLine = line + countLines(text.slice(0, start));
  for (let at = start; at < end;) {
    const next = text.indexOf(`\n${marker}`, at) + 1;
    const item = text.slice(at, next === 0 || next > end ? end : next);
    yield { text: trim(item), line: itemLine };
    itemLine += countLines(item);
    at += item.length;
  }
}

/** Objects begin with a dash in one column; nothing in them is in this column or left of it. */
function layoutOfBlock(text: string): Layout | undefined {
  const head = /^items:(?= *\n( *)- )/m.exec(text);
  // Anchors and aliases reach from one object to another.
  if (head === null || /[:\-,[{] +[&*][A-Za-z_]/.test(text)) return undefined;
  const [until, indent = ''] = [head.index + head[0].length, head[1]];
  const start = text.indexOf('\n', until) + 1;
  const other = new RegExp(indent === '' ? '^[^\\s#-]' : `^ {0,${indent.length - 1}}[^\\s#]`, 'gm');
  other.lastIndex = start;
  const end = other.exec(text)?.index ?? text.length;
  const marker = `${indent}- `;
  const around = `${text.slice(0, until)} []\n${text.slice(end)}`;
  return { start, end, marker, around, trim: (item) => `${indent}  ${item.slice(marker.length)}` };
}

/** Indented JSON: objects begin and end in one column. */
function layoutOfJson(text: string): Layout | undefined {
  const head = /^( +)"items": \[\n(?=( +)\{\n)/m.exec(text);
  if (head === null) return undefined;
  const [found, outer = '', inner = ''] = head;
  const start = head.index + found.length;
  const end = text.indexOf(`\n${outer}]`, start) + 1;
  const around = text.slice(0, start) + text.slice(end);
  return { start, end, marker: `${inner}{`, around, trim: (item) => `${item.replace(/,\s*$/, '')}\n` };
}
