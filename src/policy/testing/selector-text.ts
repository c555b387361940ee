/**
 * Calico's selectors for tests: random ones, their texts, and a second opinion on which labels they match, which rewrites
 * the text until nothing but T or F is left of it. It shares no code with the room.
 */
import fc from 'fast-check';

type Labels = Readonly<Record<string, string>>;

/** As a grammar: what can be written, with the brackets and blanks left to the printer. */
export type Written =
  | { readonly op: 'all' }
  | { readonly op: 'has'; readonly key: string }
  | {
      readonly op: '==' | '!=' | 'contains' | 'starts with' | 'ends with';
      readonly key: string;
      readonly value: string;
    }
  | { readonly op: 'in' | 'not in'; readonly key: string; readonly values: readonly string[] }
  | { readonly op: '!'; readonly of: Written }
  | { readonly op: '&&' | '||'; readonly of: readonly Written[] };

/** Everything that is in brackets needs them not, but may have them. */
const BINDS: Readonly<Record<string, number>> = { '||': 1, '&&': 2 };

/** `style`: digits that choose quotes, blanks and brackets that are not needed. */
export function printSelector(written: Written, style: readonly number[] = [0]): string {
  let at = 0;
  const choose = (): number => style[at++ % style.length] ?? 0;
  const blank = (): string => ['', ' ', '\t ', ''][choose() % 4] ?? '';
  const quote = (value: string): string => {
    const mark = value.includes("'") || (choose() % 2 === 1 && !value.includes('"')) ? '"' : "'";
    return mark + value + mark;
  };
  const set = (values: readonly string[]): string => {
    const comma = values.length > 0 && choose() % 3 === 2 ? ',' : '';
    return `{${blank()}${values.map(quote).join(`${blank()},${blank()}`)}${comma}${blank()}}`;
  };
  const words = (text: string): string => text.replace(' ', choose() % 2 === 0 ? ' ' : '  ');
  const print = (each: Written, outer: number): string => {
    const inner = printBare(each, print, { blank, quote, set, words });
    return (BINDS[each.op] ?? 3) <= outer || choose() % 7 === 6 ? `(${blank()}${inner}${blank()})` : inner;
  };
  return blank() + print(written, 0) + blank();
}

type Styles = {
  readonly blank: () => string;
  readonly quote: (value: string) => string;
  readonly set: (values: readonly string[]) => string;
  readonly words: (text: string) => string;
};

function printBare(
  each: Written,
  print: (each: Written, outer: number) => string,
  { blank, quote, set, words }: Styles,
): string {
  switch (each.op) {
    case 'all':
      return `all(${blank()})`;
    case 'has':
      return `has(${blank()}${each.key}${blank()})`;
    case '!':
      return `!${blank()}${print(each.of, 2)}`;
    case '&&':
    case '||':
      return each.of.map((inner) => print(inner, BINDS[each.op] ?? 0)).join(`${blank()}${each.op}${blank()}`);
    case 'in':
    case 'not in':
      return `${each.key} ${words(each.op)}${blank()}${set(each.values)}`;
    default:
      return `${each.key} ${words(each.op)}${blank()}${quote(each.value)}`;
  }
}

const ATOM =
  /has\(\s*([\w./-]+)\s*\)|([\w./-]+)\s*(==|!=|contains|starts\s*with|ends\s*with|not\s*in|in)\s*('[^']*'|"[^"]*"|\{[^}]*\})/g;

/** `all`: what all() says here. */
export function rewrite(text: string, labels: Labels, all = true): boolean {
  const letter = (truth: boolean): string => (truth ? 'T' : 'F');
  let rest = text.trim() === '' ? letter(true) : text.replaceAll(/all\(\s*\)/g, letter(all));
  rest = rest.replaceAll(ATOM, (...[, has, ...parts]: (string | undefined)[]) =>
    letter(has === undefined ? test(labels, parts) : has in labels),
  );
  rest = rest.replaceAll(/\s/g, '');
  for (let before = ''; before !== rest;) {
    before = rest;
    rest = rest
      .replaceAll('!T', 'F')
      .replaceAll('!F', 'T')
      .replaceAll(/\(([TF])\)/g, '$1');
    rest = rest.replace(/(?<!!)([TF])&&([TF])/, (_, a, b) => letter(a === 'T' && b === 'T'));
    if (!/&&|!/.test(rest.replaceAll(/\([^()]*\)/g, ''))) rest = rest.replace(/^([TF])\|\|([TF])/, either);
    rest = rest.replaceAll(/\(([TF](?:\|\|[TF])+)\)/g, (_, inner: string) => letter(inner.includes('T')));
  }
  if (rest !== 'T' && rest !== 'F') throw new Error(`cannot read ${JSON.stringify(text)}: ${rest}`);
  return rest === 'T';
}

function either(_: string, a: string, b: string): string {
  return a === 'T' || b === 'T' ? 'T' : 'F';
}

function test(
  labels: Labels,
  [key = '', words = '', written = '']: readonly (string | undefined)[],
): boolean {
  const label = labels[key];
  const values = [...written.matchAll(/'([^']*)'|"([^"]*)"/g)].map(([, a, b]) => a ?? b ?? '');
  const isThere = label !== undefined;
  const isIn = isThere && values.includes(label);
  const found = `${label}\n`.indexOf(`${values[0]}`);
  const answers: Readonly<Record<string, boolean>> = {
    '==': isIn,
    in: isIn,
    '!=': !isIn,
    notin: !isIn,
    contains: isThere && found >= 0,
    startswith: isThere && found === 0,
    endswith: isThere && `${label}\n`.indexOf(`${values[0]}\n`) >= 0,
  };
  return answers[words.replaceAll(/\s/g, '')] ?? false;
}

/** Selectors of these labels and values. */
export function writtenSelectors(keys: readonly string[], values: readonly string[]): fc.Arbitrary<Written> {
  const key = fc.constantFrom(...keys);
  const value = fc.constantFrom(...values);
  const { selector } = fc.letrec<{ selector: Written }>((tie) => ({
    selector: fc.oneof(
      { maxDepth: 4, depthSize: 'small', withCrossShrink: true },
      fc.record({ op: fc.constantFrom('==', '!=', 'contains', 'starts with', 'ends with'), key, value }),
      fc.record({ op: fc.constantFrom('in', 'not in'), key, values: fc.subarray([...values]) }),
      fc.record({ op: fc.constant('has'), key }),
      fc.constant<Written>({ op: 'all' }),
      fc.record({ op: fc.constant('!'), of: tie('selector') }),
      fc.record({
        op: fc.constantFrom('&&', '||'),
        of: fc.array(tie('selector'), { minLength: 2, maxLength: 3 }),
      }),
    ),
  }));
  return selector;
}
