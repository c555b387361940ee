/**
 * Which packets meet which decision, as grids: one for each protocol that a script names, one for all others. The cuts
 * of a grid are all ends of spans, so that a cell lies in every box or in none. Grids are painted from the last line
 * to the first: what a line decides hides what comes behind it, and the first that decides is what remains.
 */
import { PROTOCOL } from '#model/policy.ts';
import type { Decided, Span } from '#model/policy-program.ts';
import { type Atom, type Box, type BoxClause, settle, WITH_PORTS } from './condition.ts';
import type { Line, Script } from './lines.ts';

/** The line, or the step of a default, or nothing, that decides; and the lines that log on the way, first one first. */
export type Decision = {
  readonly key: string;
  readonly verdict: Decided;
  readonly by: Line | Script['end'];
  readonly logs: readonly Line[];
};

export type Grid = {
  /** Undefined: all protocols that have no grid of their own. */
  readonly protocol: number | undefined;
  readonly xs: readonly number[];
  readonly ys: readonly number[];
  /** By column: x, then y. */
  readonly cells: Decision[];
};

/** Greatest value of x and y. */
export function limitOf(protocol: number | undefined): number {
  return protocol !== undefined && WITH_PORTS.includes(protocol) ? 65_535 : 255;
}

export function isIcmp(protocol: number | undefined): boolean {
  return protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
}

/** From one cut to the next. */
export function spanAt(cuts: readonly number[], index: number, limit: number): Span {
  return [cuts[index] ?? 0, (cuts[index + 1] ?? limit + 1) - 1];
}

type Settled = { readonly line: Line; readonly clauses: readonly BoxClause[] };

/** What becomes of packets to or from peers with these atoms. */
export function paint(script: Script, atoms: readonly Atom[]): Grid[] {
  const stages = script.stages.map(({ lines, otherwise }) => ({
    otherwise,
    lines: lines.flatMap((line): Settled[] => {
      const clauses = settle(line.clauses, atoms);
      return clauses === undefined ? [] : [{ line, clauses }];
    }),
  }));
  const grids = makeGrids(
    stages.flatMap(({ lines }) => lines.flatMap(({ clauses }) => clauses.flatMap(({ boxes }) => boxes))),
    decide(script.end),
  );
  for (const { lines, otherwise } of stages.toReversed()) {
    const behind = grids.map(({ cells }) => [...cells]);
    if (otherwise !== undefined) for (const { cells } of grids) cells.fill(decide(otherwise));
    for (const settled of lines.toReversed()) paintLine(grids, behind, settled);
  }
  return grids;
}

function decide(step: Script['end']): Decision {
  if (step === undefined) return { key: 'end', verdict: 'allow', by: undefined, logs: [] };
  const verdict = step.outcome === 'deny' ? 'deny' : 'allow';
  return { key: `${step.tier} otherwise`, verdict, by: step, logs: [] };
}

function makeGrids(boxes: readonly Box[], initial: Decision): Grid[] {
  const cuts = new Map<number | undefined, { x: Set<number>; y: Set<number> }>([
    [undefined, cutsOfNothing()],
  ]);
  for (const { protocols = [], x, y } of boxes) {
    for (const protocol of protocols) {
      const of = cuts.get(protocol) ?? cutsOfNothing();
      cuts.set(protocol, of);
      if (x !== undefined) cut(of.x, x, limitOf(protocol));
      if (y !== undefined) cut(of.y, y, limitOf(protocol));
    }
  }
  return [...cuts]
    .sort(([a = -1], [b = -1]) => a - b)
    .map(([protocol, { x, y }]) => ({
      protocol,
      xs: [...x].sort((a, b) => a - b),
      ys: [...y].sort((a, b) => a - b),
      cells: Array.from({ length: x.size * y.size }, () => initial),
    }));
}

const cutsOfNothing = (): { x: Set<number>; y: Set<number> } => ({ x: new Set([0]), y: new Set([0]) });

function cut(cuts: Set<number>, [from, to]: Span, limit: number): void {
  if (from > limit) return;
  cuts.add(from);
  if (to < limit) cuts.add(to + 1);
}

function paintLine(grids: readonly Grid[], behind: readonly Decision[][], settled: Settled): void {
  for (const [index, grid] of grids.entries()) paintGrid(grid, behind[index] ?? [], settled);
}

function paintGrid(grid: Grid, behind: readonly Decision[], { line, clauses }: Settled): void {
  const own = lineDecision(line);
  for (const column of columnsOf(grid, clauses)) {
    for (let row = 0; row < grid.ys.length; row += 1) {
      if (!clauses.every((clause) => holds(clause, grid, column, row))) continue;
      const cell = column * grid.ys.length + row;
      const next = line.effect === 'pass' ? behind[cell] : grid.cells[cell];
      grid.cells[cell] = own ?? withLog(line, next ?? decide(undefined));
    }
  }
}

/** Undefined for what decides nothing by itself. */
function lineDecision(line: Line): Decision | undefined {
  if (line.effect === 'pass' || line.effect === 'log') return undefined;
  return { key: line.key, verdict: line.effect, by: line, logs: [] };
}

function withLog(line: Line, next: Decision): Decision {
  return line.effect === 'log'
    ? { ...next, key: `${line.key} then ${next.key}`, logs: [line, ...next.logs] }
    : next;
}

/** Columns in which the clauses can hold: scripts with thousands of ports would else look at all for each line. */
function* columnsOf({ protocol, xs }: Grid, clauses: readonly BoxClause[]): Generator<number> {
  const narrow = clauses.find(({ not, boxes }) => !not && boxes.every(({ x }) => x !== undefined));
  if (narrow === undefined) {
    yield* xs.keys();
    return;
  }
  const seen = new Set<number>();
  for (const { protocols, x } of narrow.boxes) {
    if (x === undefined || protocol === undefined || protocols?.includes(protocol) !== true) continue;
    for (let index = firstFrom(xs, x[0]); (xs[index] ?? Infinity) <= x[1]; index += 1) seen.add(index);
  }
  yield* seen;
}

/** Index of the first cut that is not below `value`. */
function firstFrom(cuts: readonly number[], value: number): number {
  let low = 0;
  let high = cuts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((cuts[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// eslint-disable-next-line max-params
function holds({ not, boxes }: BoxClause, { protocol, xs, ys }: Grid, column: number, row: number): boolean {
  const x = xs[column] ?? 0;
  const y = ys[row] ?? 0;
  return boxes.some((box) => isIn(box, protocol, x, y)) !== not;
}

// eslint-disable-next-line max-params
function isIn(box: Box, protocol: number | undefined, x: number, y: number): boolean {
  if (box.protocols === undefined) return true;
  return (
    protocol !== undefined && box.protocols.includes(protocol) && isWithin(box.x, x) && isWithin(box.y, y)
  );
}

function isWithin(span: Span | undefined, value: number): boolean {
  return span === undefined || (span[0] <= value && value <= span[1]);
}
