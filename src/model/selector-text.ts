/**
 * The language of Calico's selectors (libcalico-go/lib/selector): texts such as `app == 'web' && tier not in {'a', 'b'}`.
 * Here is its grammar alone; policy/frontends/calico-labels.ts says whose labels the names are.
 *
 *     or = and { "||" and }     and = operand { "&&" operand }     operand = { "!" } primary
 *     primary = "(" or ")" | "all()" | "has(" label ")" | label test
 *     test = ("==" | "!=" | "contains" | "starts with" | "ends with") string | ("in" | "not in") "{" [ strings ] "}"
 *
 * Nothing but blanks means all(). Strings are in ' or ", without escapes. What is read has scope `own` everywhere.
 */
import { EVERYTHING, type Selector } from './policy.ts';

/** As the API has it. */
export const MAX_SELECTOR = 1024;

/** Columns count characters from 1. */
export type SelectorProblem = { readonly column: number; readonly message: string };

/** The selector as it was written, neither sorted nor simplified: `all()` is still where it stood. */
export function parseSelector(text: string): Selector | SelectorProblem {
  if (text.length > MAX_SELECTOR) {
    return { column: MAX_SELECTOR + 1, message: `must have at most ${MAX_SELECTOR} characters` };
  }
  try {
    return parseWhole({ tokens: readTokens(text), at: 0 });
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error;
    return { column: error.column, message: error.message };
  }
}

export function isSelectorProblem(found: Selector | SelectorProblem): found is SelectorProblem {
  return 'column' in found;
}

/** `global()`, which only namespaceSelectors of rules may say, and nothing beside it. */
export function isGlobal(text: string): boolean {
  return /^[ \t]*global\([ \t]*\)[ \t]*$/.test(text);
}

class SelectorError extends Error {
  readonly column: number;

  constructor(column: number, message: string) {
    super(message);
    this.name = 'SelectorError';
    this.column = column;
  }
}

const SIGNS = ['==', '!=', '!', '&&', '||', '(', ')', '{', '}', ','] as const;
const WORDS = ['contains', 'starts with', 'ends with', 'not in', 'in'] as const;
type Kind = (typeof SIGNS)[number] | (typeof WORDS)[number] | 'string' | 'label' | 'has' | 'all' | 'end';
/** `text`: value of a string, name of a label; otherwise as it stands. */
type Token = { readonly kind: Kind; readonly text: string; readonly column: number };
type Pattern = { readonly kind: Kind; readonly pattern: RegExp };

const LABEL = String.raw`[A-Za-z0-9_./-]{1,512}`;
const BLANKS = /[ \t]*/y;

function pattern(kind: Kind, source: string): Pattern {
  return { kind, pattern: new RegExp(source, 'y') };
}

const PATTERNS: readonly Pattern[] = [
  pattern('string', `'([^']*)'|"([^"]*)"`),
  ...SIGNS.map((sign) => pattern(sign, sign.replaceAll(/[|(){}]/g, String.raw`\$&`))),
  pattern('has', String.raw`has\([ \t]*(${LABEL})[ \t]*\)`),
  pattern('all', String.raw`all\([ \t]*\)`),
  pattern('label', `(${LABEL})`),
];
/** Where an operator may stand, its words are no labels; blanks need not surround them. */
const AFTER_LABEL: readonly Pattern[] = [
  ...PATTERNS.filter(({ kind }) => !['has', 'all', 'label'].includes(kind)),
  ...WORDS.map((words) => pattern(words, words.replace(' ', String.raw`[ \t]*`))),
];

function readTokens(text: string): Token[] {
  const tokens: Token[] = [];
  for (let at = skipBlanks(text, 0); at < text.length;) {
    const { token, end } = readToken(text, at, tokens.at(-1));
    tokens.push(token);
    at = skipBlanks(text, end);
  }
  return [...tokens, { kind: 'end', text: 'the end', column: text.length + 1 }];
}

function skipBlanks(text: string, at: number): number {
  BLANKS.lastIndex = at;
  BLANKS.exec(text);
  return BLANKS.lastIndex;
}

function readToken(text: string, at: number, last: Token | undefined): { token: Token; end: number } {
  for (const { kind, pattern } of last?.kind === 'label' ? AFTER_LABEL : PATTERNS) {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found === null) continue;
    const token = { kind, text: found[1] ?? found[2] ?? found[0], column: at + 1 };
    return { token, end: pattern.lastIndex };
  }
  throw new SelectorError(at + 1, whyNoToken(text, at, last));
}

function whyNoToken(text: string, at: number, last: Token | undefined): string {
  const rest = text.slice(at);
  const [sign = ''] = rest;
  if (sign === "'" || sign === '"') return `the text that begins here has no ${sign} at its end`;
  if (sign === '\n' || sign === '\r') return 'a selector must be one line; in YAML, fold it with >-';
  if (last?.kind === 'label') return `after the label ${last.text} there must be ${OPERATORS}`;
  if (['=', '&', '|'].includes(sign)) return `must be ${sign}${sign}`;
  return `${JSON.stringify(sign)} has no meaning here`;
}

const OPERATORS = '==, !=, in, not in, contains, starts with or ends with';

type Reader = { readonly tokens: readonly Token[]; at: number };

function peek({ tokens, at }: Reader): Token {
  return tokens[at] ?? { kind: 'end', text: 'the end', column: 1 };
}

function take(reader: Reader): Token {
  const token = peek(reader);
  reader.at += 1;
  return token;
}

function expect(reader: Reader, kind: Kind, what: string): Token {
  const token = take(reader);
  if (token.kind !== kind) throw new SelectorError(token.column, `must be ${what}, not ${token.text}`);
  return token;
}

function parseWhole(reader: Reader): Selector {
  if (peek(reader).kind === 'end') return EVERYTHING;
  const whole = parseOr(reader);
  expect(reader, 'end', '&& or || or the end');
  return whole;
}

function parseOr(reader: Reader): Selector {
  return parseJoined(reader, '||', 'or', (inner) => parseJoined(inner, '&&', 'and', parseOperand));
}

function parseJoined(
  reader: Reader,
  sign: '||' | '&&',
  op: 'or' | 'and',
  parsePart: (reader: Reader) => Selector,
): Selector {
  const first = parsePart(reader);
  const of = [first];
  while (peek(reader).kind === sign) {
    take(reader);
    of.push(parsePart(reader));
  }
  return of.length === 1 ? first : { op, of };
}

function parseOperand(reader: Reader): Selector {
  let isNegated = false;
  while (peek(reader).kind === '!') {
    take(reader);
    isNegated = !isNegated;
  }
  const primary = parsePrimary(reader);
  return isNegated ? { op: 'not', of: primary } : primary;
}

function parsePrimary(reader: Reader): Selector {
  const token = take(reader);
  if (token.kind === 'all') return EVERYTHING;
  if (token.kind === 'has') return { op: 'has', scope: 'own', key: token.text };
  if (token.kind === 'label') return parseTest(reader, token.text);
  if (token.kind !== '(') throw new SelectorError(token.column, whyNoPrimary(token));
  const inner = parseOr(reader);
  expect(reader, ')', ') or && or ||');
  return inner;
}

function whyNoPrimary({ kind, text }: Token): string {
  if (kind === 'string') return `must be a label without quotes, not the text ${JSON.stringify(text)}`;
  return `must be a label, has(label), all(), ! or (, not ${text}`;
}

function parseTest(reader: Reader, key: string): Selector {
  const { kind, text, column } = take(reader);
  const label = { scope: 'own', key } as const;
  const value = (): string => expect(reader, 'string', 'a text in quotes').text;
  switch (kind) {
    case '==':
      return { op: 'in', ...label, values: [value()] };
    case '!=':
      return { op: 'not', of: { op: 'in', ...label, values: [value()] } };
    case 'in':
      return { op: 'in', ...label, values: parseSet(reader) };
    case 'not in':
      return { op: 'not', of: { op: 'in', ...label, values: parseSet(reader) } };
    case 'contains':
      return { op: 'contains', ...label, value: value() };
    case 'starts with':
      return { op: 'starts', ...label, value: value() };
    case 'ends with':
      return { op: 'ends', ...label, value: value() };
    default:
      throw new SelectorError(column, whyNoTest(key, text));
  }
}

function whyNoTest(key: string, found: string): string {
  if (key === 'global') return 'global() must stand alone, in the namespaceSelector of a rule';
  return `after the label ${key} there must be ${OPERATORS}, not ${found}`;
}

/** Ascending, each once. A comma may follow the last. */
function parseSet(reader: Reader): string[] {
  expect(reader, '{', '{ and texts in quotes');
  const values = new Set<string>();
  while (peek(reader).kind === 'string') {
    values.add(take(reader).text);
    if (peek(reader).kind !== ',') break;
    take(reader);
  }
  expect(reader, '}', 'a text in quotes or }');
  return [...values].sort();
}
