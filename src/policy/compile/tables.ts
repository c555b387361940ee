/** Grids as entries of maps, and as short chains for what maps do not hold: source ports, ICMP types, logging. */
import type { ChainRule, Reason, Span } from '#model/policy-program.ts';
import { WITH_PORTS } from './condition.ts';
import type { Line } from './lines.ts';
import { type Decision, type Grid, isIcmp, limitOf, spanAt } from './grid.ts';

/** Where packets go from an entry: one decision, or a chain of several. */
export type Target = Decision | Chain;
export type Chain = {
  readonly key: string;
  readonly rules: readonly (Omit<ChainRule, 'log' | 'verdict'> & Meets)[];
};
type Meets = { readonly decision: Decision };

/** Without the number that programs get: `port 6 80`, `ports 6 80-90`, `protocol 1`, `rest`. */
export type Table = ReadonlyMap<string, Target>;

export function tableOf(grids: readonly Grid[]): Table {
  const table = new Map<string, Target>();
  const others = grids.find(({ protocol }) => protocol === undefined)?.cells[0];
  if (others === undefined) throw new Error('a program without its rest');
  for (const grid of grids) {
    const { protocol } = grid;
    if (protocol === undefined) table.set('rest', others);
    else if (WITH_PORTS.includes(protocol)) writePorts(table, grid, protocol, others);
    else if (isIcmp(protocol)) writeUnlessRest(table, `protocol ${protocol}`, icmpTarget(grid), others);
    else writeUnlessRest(table, `protocol ${protocol}`, grid.cells[0] ?? others, others);
  }
  return table;
}

function writeUnlessRest(table: Map<string, Target>, key: string, target: Target, rest: Decision): void {
  if (target.key !== rest.key) table.set(key, target);
}

/** The target that most ports have stands for the protocol, the others by port or range. */
function writePorts(table: Map<string, Target>, grid: Grid, protocol: number, rest: Decision): void {
  const spans = mergeColumns(grid);
  const widths = new Map<string, number>();
  let widest = spans[0]?.target ?? rest;
  for (const { span, target } of spans) {
    const width = (widths.get(target.key) ?? 0) + span[1] - span[0] + 1;
    widths.set(target.key, width);
    if (width > (widths.get(widest.key) ?? 0)) widest = target;
  }
  writeUnlessRest(table, `protocol ${protocol}`, widest, rest);
  for (const { span, target } of spans) {
    if (target.key === widest.key) continue;
    const [from, to] = span;
    table.set(from === to ? `port ${protocol} ${from}` : `ports ${protocol} ${from}-${to}`, target);
  }
}

function mergeColumns(grid: Grid): { span: Span; target: Target }[] {
  const limit = limitOf(grid.protocol);
  const found: { span: Span; target: Target }[] = [];
  for (const column of grid.xs.keys()) {
    const target = columnTarget(grid, column);
    const span = spanAt(grid.xs, column, limit);
    const last = found.at(-1);
    if (last?.target.key === target.key) last.span = [last.span[0], span[1]];
    else found.push({ span, target });
  }
  return found;
}

function columnTarget({ protocol, ys, cells }: Grid, column: number): Target {
  const rows = cells.slice(column * ys.length, (column + 1) * ys.length);
  return chainUnlessOne(
    rows.map((decision, row) => ({ of: 'ports', y: spanAt(ys, row, limitOf(protocol)), decision })),
  );
}

function icmpTarget({ xs, ys, cells }: Grid): Target {
  return chainUnlessOne(
    cells.map((decision, index) => ({
      of: 'icmp',
      x: spanAt(xs, Math.floor(index / ys.length), 255),
      y: spanAt(ys, index % ys.length, 255),
      decision,
    })),
  );
}

/** The commonest decision comes last and asks nothing. */
function chainUnlessOne(rules: Chain['rules']): Target {
  const byKey = Map.groupBy(rules, ({ decision }) => decision.key);
  const [common = []] = [...byKey.values()].sort((a, b) => b.length - a.length);
  const { decision } = common[0] ?? {};
  if (decision === undefined) throw new Error('a chain without rules');
  if (byKey.size === 1) return decision;
  const special = rules.filter((rule) => rule.decision.key !== decision.key);
  const all = [...special, { decision }];
  return { key: JSON.stringify(all.map(({ decision, ...match }) => [match, decision.key])), rules: all };
}

/** Decisions that log need a chain, even if they are the only one. */
export function asChain(target: Target): Chain | undefined {
  if ('rules' in target) return target;
  return target.logs.length === 0 ? undefined : { key: `one ${target.key}`, rules: [{ decision: target }] };
}

/** The rules of a chain with, for each, the decision that it is part of. */
export function chainRules(chain: Chain, prefixOf: (line: Line) => string): [ChainRule, Decision][] {
  return chain.rules.flatMap(({ decision, ...match }): [ChainRule, Decision][] => {
    const logs = decision.logs.map(prefixOf);
    const last = logs.at(-1);
    const deciding = { ...match, ...(last === undefined ? {} : { log: last }), verdict: decision.verdict };
    return [...logs.slice(0, -1).map((log): ChainRule => ({ ...match, log })), deciding].map((rule) => [
      rule,
      decision,
    ]);
  });
}

export function reasonOf({ by, logs }: Decision): Reason {
  const steps = logs.map(({ step }) => step);
  if (by === undefined) return { logs: steps };
  if (!('clauses' in by)) return { step: by, logs: steps };
  return by.exempt === undefined ? { step: by.step, logs: steps } : { exempt: by.exempt, logs: steps };
}
