/**
 * Where all traffic between two addresses is cut, so that nothing changes within a cell: by protocol, the destination
 * port or ICMP type (`x`) and the source port or ICMP code (`y`) at which some answer may become another.
 */
import type { Rule, TrafficSet } from '#model/policy.ts';
import { PROTOCOL } from '#model/policy.ts';
import type { Span } from '#model/policy-program.ts';
import { WITH_PORTS } from '../compile/condition.ts';
import { type Decision, type Grid, limitOf } from '../compile/grid.ts';

type Axes = { readonly x: Set<number>; readonly y: Set<number> };
/** Under undefined: all protocols that are not there by themselves. */
export type Cuts = Map<number | undefined, Axes>;

export function noCuts(): Cuts {
  return new Map([[undefined, { x: new Set([0]), y: new Set([0]) }]]);
}

export function cutSpan(cuts: Cuts, protocol: number, axis: 'x' | 'y', [from, to]: Span): void {
  const set = axesOf(cuts, protocol)[axis];
  set.add(from);
  if (to < limitOf(protocol)) set.add(to + 1);
}

/** At everything that the rule asks about ports, types and protocols; not at named ports and services. */
export function cutRule(cuts: Cuts, { traffic }: Rule): void {
  for (const { anyOf } of traffic) for (const set of anyOf) cutSet(cuts, set);
}

function cutSet(cuts: Cuts, set: TrafficSet): void {
  if (set.kind === 'protocol') axesOf(cuts, set.protocol);
  else if (set.kind === 'icmp') cutIcmp(cuts, set);
  else if (set.kind === 'ports') {
    const axis = set.end === 'source' ? 'y' : 'x';
    for (const protocol of set.protocol === undefined ? WITH_PORTS : [set.protocol])
      for (const { from, to } of set.ranges) cutSpan(cuts, protocol, axis, [from, to]);
  }
}

function cutIcmp(cuts: Cuts, { family, type, code }: Extract<TrafficSet, { kind: 'icmp' }>): void {
  const protocol = family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
  axesOf(cuts, protocol);
  if (type !== undefined) cutSpan(cuts, protocol, 'x', [type, type]);
  if (code !== undefined) cutSpan(cuts, protocol, 'y', [code, code]);
}

/** All cuts of all grids. */
export function cutsOfGrids(all: readonly (readonly Grid[])[]): Cuts {
  const cuts = noCuts();
  for (const grids of all) {
    for (const { protocol, xs, ys } of grids) {
      const axes = axesOf(cuts, protocol);
      for (const x of xs) axes.x.add(x);
      for (const y of ys) axes.y.add(y);
    }
  }
  return cuts;
}

function axesOf(cuts: Cuts, protocol: number | undefined): Axes {
  const known = cuts.get(protocol);
  if (known !== undefined) return known;
  const made = { x: new Set([0]), y: new Set([0]) };
  cuts.set(protocol, made);
  return made;
}

/** Of traffic with this protocol; undefined for one that has no cuts of its own. */
export type Cell = { readonly protocol: number | undefined; readonly x: Span; readonly y: Span };

/** In order of protocols, those without number first; then by x, then by y. */
export function* cellsOf(cuts: Cuts): Generator<Cell> {
  for (const [protocol, { x, y }] of [...cuts].sort(([a = -1], [b = -1]) => a - b)) {
    const limit = limitOf(protocol);
    for (const column of spansOf(x, limit))
      for (const row of spansOf(y, limit)) yield { protocol, x: column, y: row };
  }
}

/** Answers `ask` for the first packet of each cell. */
export function layGrids(cuts: Cuts, ask: (cell: Cell) => Decision): Grid[] {
  return [...Map.groupBy(cellsOf(cuts), ({ protocol }) => protocol)].map(([protocol, cells]) => ({
    protocol,
    xs: [...new Set(cells.map(({ x }) => x[0]))],
    ys: [...new Set(cells.map(({ y }) => y[0]))],
    cells: cells.map(ask),
  }));
}

function spansOf(cuts: ReadonlySet<number>, limit: number): Span[] {
  const sorted = [...cuts].sort((a, b) => a - b).filter((from) => from <= limit);
  return sorted.map((from, index): Span => [from, (sorted[index + 1] ?? limit + 1) - 1]);
}

/** What the grids say of packets with these numbers. */
export function decisionAt(
  grids: readonly Grid[],
  { protocol, x, y }: { readonly protocol: number | undefined; readonly x: number; readonly y: number },
): Decision {
  const named = protocol === undefined ? undefined : grids.find((grid) => grid.protocol === protocol);
  const grid = named ?? grids.find((each) => each.protocol === undefined);
  // A protocol without a grid of its own has no cells but one.
  const index =
    grid === named && grid !== undefined ? placeOf(grid.xs, x) * grid.ys.length + placeOf(grid.ys, y) : 0;
  const found = grid?.cells[index];
  if (found === undefined) throw new Error(`no cell for ${protocol} ${x} ${y}`);
  return found;
}

/** Index of the last cut that is not above the value. */
function placeOf(cuts: readonly number[], value: number): number {
  let low = 0;
  let high = cuts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((cuts[middle] ?? 0) <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
