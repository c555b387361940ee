/** Lists of addresses of a block as text: `17-63,3,5-9`. Order is kept; only what counts up by one is written as a run. */

/** Undefined when it is no such list, or has a number twice or outside 1 … last. */
export function parseNumbers(text: string, last: number): number[] | undefined {
  if (text === '') return [];
  const numbers: number[] = [];
  for (const part of text.split(',')) {
    const run = parseRun(part, last);
    if (run === undefined) return undefined;
    for (let number = run.from; number <= run.to; number += 1) numbers.push(number);
  }
  return new Set(numbers).size === numbers.length ? numbers : undefined;
}

type Run = { readonly from: number; readonly to: number };

function parseRun(text: string, last: number): Run | undefined {
  const match = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(text);
  if (match === null) return undefined;
  const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
  return from < 1 || to < from || to > last ? undefined : { from, to };
}

export function formatNumbers(numbers: readonly number[]): string {
  const runs: { from: number; to: number }[] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last !== undefined && number === last.to + 1) last.to = number;
    else runs.push({ from: number, to: number });
  }
  return runs.map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`)).join(',');
}
