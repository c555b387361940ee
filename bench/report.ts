/** What a benchmark says: rows of ratios with their targets, printed as a table and kept as JSON. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderTable } from '#lib/table.ts';

export type Row = {
  readonly what: string;
  readonly unit: 'ms' | 'MB' | 'Mbit/s' | 'kpps' | 'µs';
  readonly ours: number | undefined;
  readonly peer: number;
  /** Ours divided by the peer's must stay below (`≤`) or above (`≥`); a row without a target informs. */
  readonly target?: { readonly sense: '≤' | '≥'; readonly ratio: number };
};

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => percentile(values, 0.5);

/** The lower end of the 95 % confidence interval of a mean (normal approximation; meant for 20 values and more). */
export function lowerBound(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  return mean - 1.96 * Math.sqrt(variance / values.length);
}

function verdict(row: Row): readonly [string, string] {
  if (row.ours === undefined) return ['–', 'not run'];
  const ratio = row.ours / row.peer;
  if (row.target === undefined) return [ratio.toFixed(3), ''];
  const met = row.target.sense === '≤' ? ratio <= row.target.ratio : ratio >= row.target.ratio;
  return [ratio.toFixed(3), met ? 'met' : 'MISSED'];
}

const shown = (value: number | undefined, unit: string): string =>
  value === undefined ? '–' : `${value.toFixed(2)} ${unit}`;

export function printReport(title: string, rows: readonly Row[]): void {
  const lines = rows.map((row) => {
    const [ratio, met] = verdict(row);
    const target = row.target === undefined ? '' : `${row.target.sense} ${row.target.ratio}`;
    return [row.what, shown(row.ours, row.unit), shown(row.peer, row.unit), ratio, target, met];
  });
  console.log(`\n${title}\n${renderTable(['what', 'ours', 'peer', 'ratio', 'target', ''], lines)}`);
}

export function keepReport(name: string, content: unknown): void {
  const folder = join(import.meta.dirname, 'results');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(content, undefined, 1)}\n`);
}
