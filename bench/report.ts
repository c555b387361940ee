/** What a benchmark says: rows of ratios with their targets, printed as a table and kept as JSON. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderTable } from '#lib/table.ts';

export type Row = {
  readonly what: string;
  readonly unit: string;
  readonly ours: number | undefined;
  /** Absent where there is nobody to compare with and the target is a limit of its own. */
  readonly peer?: number;
  /** Ours divided by the peer's in each of the interleaved pairs: shown is their mean, judged its lower bound. */
  readonly pairs?: readonly number[];
  /**
   * Ours divided by the peer's (`ratio`), or ours itself (`limit`), must stay below (`≤`) or above (`≥`); a row without a
   * target informs.
   */
  readonly target?: { readonly sense: '≤' | '≥' } & ({ readonly ratio: number } | { readonly limit: number });
};

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => percentile(values, 0.5);

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Half of the 95 % confidence interval of a mean (normal approximation; meant for 20 values and more). */
export function uncertainty(values: readonly number[]): number {
  const middle = mean(values);
  const variance = values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1);
  return 1.96 * Math.sqrt(variance / values.length);
}

export function lowerBound(values: readonly number[]): number {
  return mean(values) - uncertainty(values);
}

function ratioOf({ ours, peer, pairs }: Row): number | undefined {
  if (pairs !== undefined) return mean(pairs);
  return ours === undefined || peer === undefined ? undefined : ours / peer;
}

/** What a target is held against. */
function judged(row: Row): number | undefined {
  if (row.target !== undefined && 'limit' in row.target) return row.ours;
  return row.pairs === undefined ? ratioOf(row) : lowerBound(row.pairs);
}

function shownTarget({ target, unit }: Row): string {
  if (target === undefined) return '';
  return `${target.sense} ${'limit' in target ? `${target.limit} ${unit}` : target.ratio}`;
}

function verdict(row: Row): string {
  if (row.ours === undefined) return 'not run';
  const value = judged(row);
  if (row.target === undefined || value === undefined) return '';
  const { sense } = row.target;
  const bound = 'limit' in row.target ? row.target.limit : row.target.ratio;
  return (sense === '≤' ? value <= bound : value >= bound) ? 'met' : 'MISSED';
}

const number = (value: number | undefined): string => (value === undefined ? '–' : value.toFixed(3));

const shown = (value: number | undefined, unit: string): string =>
  value === undefined ? '–' : `${value.toFixed(2)} ${unit}`;

export function printReport(title: string, rows: readonly Row[]): void {
  const lines = rows.map((row) => [
    row.what,
    shown(row.ours, row.unit),
    shown(row.peer, row.unit),
    number(ratioOf(row)),
    row.pairs === undefined ? '' : `≥ ${number(lowerBound(row.pairs))}`,
    shownTarget(row),
    verdict(row),
  ]);
  console.log(`\n${title}\n${renderTable(['what', 'ours', 'peer', 'ratio', '95 %', 'target', ''], lines)}`);
}

export function keepReport(name: string, content: unknown): void {
  const folder = join(import.meta.dirname, 'results');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(content, undefined, 1)}\n`);
}
