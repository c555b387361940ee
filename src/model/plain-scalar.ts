/** Scalars of plain YAML, as far as they can be told without a doubt (./plain-yaml.ts). */

/** Told of each field and entry: its path, joined with dots, and the line it stands on, counted from 0. */
export type Note = (path: string, line: number) => void;

export const MAX_DEPTH = 50;
const MAX_KEY = 200;

/** Thrown where another reader has to be asked; made once, as its trace is of no use. */
export const UNSURE = new Error('unsure');

export function unsure(): never {
  throw UNSURE;
}

/** Other spellings of these are left to those who know them. */
const WORDS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
]);
const WORD = /^(?:true|false|null)$/i;
const TEXT = /^[A-Za-z_/][ -~]*$/;
/** Would begin a value or a comment. */
const INDICATOR = /:(?: |$)| #/;
const INTEGER = /^(?:0|-?[1-9]\d{0,14})$/;
const ADDRESS = /^(?:\d{1,3}(?:\.\d{1,3}){3}(?:\/\d{1,3})?|[\da-f]+:[\da-f:]*\/\d{1,3})$/;

/** A scalar without quotes, and perhaps a comment after it. */
export function plainScalar(written: string): unknown {
  const comment = written.indexOf(' #');
  const text = comment === -1 ? written : written.slice(0, comment).replace(/ +$/, '');
  if (INTEGER.test(text)) return Number(text);
  if (WORDS.has(text)) return WORDS.get(text);
  const isText = (TEXT.test(text) && !INDICATOR.test(text) && !WORD.test(text)) || ADDRESS.test(text);
  return isText ? text : unsure();
}

const QUOTED = /^(?:"([^"\\]*)"|("(?:[^"\\]|\\.)*")|'((?:[^']|'')*)')(?: +#.*)?$/;

/** A scalar in quotes, and perhaps a comment after it. */
export function quotedScalar(written: string): string {
  const [, simple, escaped, single] = QUOTED.exec(written) ?? unsure();
  if (simple !== undefined) return simple;
  return escaped === undefined ? (single ?? '').replaceAll("''", "'") : unescape(escaped);
}

/** Escapes that JSON has mean the same in YAML. */
export function unescape(quoted: string): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return unsure();
  }
}

/** A key that is this text and nothing else, and no trap. */
export function isSureKey(key: string, isQuoted: boolean): boolean {
  return key !== '' && key.length <= MAX_KEY && key !== '__proto__' && (isQuoted || !WORD.test(key));
}
