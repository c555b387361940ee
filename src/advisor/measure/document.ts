/** Measurements as headings and tables: one table per figure, one row per road and count of policies. */
import {
  type MeasuredRoad,
  type Measurements,
  METRIC_NAMES,
  type MetricInfo,
  type MetricName,
  METRICS,
} from '#model/measurement.ts';
import type { Block } from '../choose/document.ts';
import { type Figure, figureOf, nameOf } from './summary.ts';

export function measurementsDocument(measured: Measurements): Block[] {
  const { host, at, rounds, runMs, roads, missing } = measured;
  return [
    { kind: 'heading', text: 'What was measured' },
    {
      kind: 'lines',
      lines: [
        `${at}, Linux ${host.kernel}, ${host.cpus} × ${host.cpu}, ${host.memoryMiB} MiB`,
        `${rounds} pairs of runs of ${runMs} ms, from pod to pod of two nodes on this host and beside it between two bare nodes; medians, and the geometric mean of the ratios with its 95 % interval.`,
        'Both ends and the wire share this machine: ratios can be carried over to others, rates cannot. CPU time is that of everything that ran.',
      ],
    },
    ...METRIC_NAMES.flatMap((metric) => metricTable(metric, roads)),
    ...(roads.length === 0 ? [] : memoryBlocks(roads)),
    ...(missing.length === 0 ? [] : missingBlocks(missing)),
  ];
}

function metricTable(metric: MetricName, roads: readonly MeasuredRoad[]): Block[] {
  const { title, unit, better, work }: MetricInfo = METRICS[metric];
  const rows = roads.flatMap((road) => {
    const series = road.series.find((one) => one.metric === metric);
    return series === undefined ? [] : [[nameOf(road), ...figureCells(figureOf(series))]];
  });
  if (rows.length === 0) return [];
  const cpu = work === undefined ? [] : [`CPU ms per ${work}`, 'bare'];
  return [
    { kind: 'heading', text: `${title}, ${unit} (${better} is better)` },
    { kind: 'table', header: ['road', unit, 'bare path', 'ratio', '95 %', ...cpu], rows },
  ];
}

function memoryBlocks(roads: readonly MeasuredRoad[]): Block[] {
  return [
    { kind: 'heading', text: 'Memory of an agent' },
    {
      kind: 'table',
      header: ['road', 'MiB', 'MTU of pods'],
      rows: roads.map((road) => [nameOf(road), road.memoryMiB.toFixed(0), String(road.mtu ?? '')]),
    },
  ];
}

function figureCells({ road, bare, ratio, cpuMs }: Figure): string[] {
  return [
    shown(road),
    shown(bare),
    ratio.mean.toFixed(2),
    `${ratio.low.toFixed(2)}–${ratio.high.toFixed(2)}`,
    ...(cpuMs === undefined ? [] : [shown(cpuMs.road), shown(cpuMs.bare)]),
  ];
}

/** Three digits that say something. */
function shown(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (value >= 100) return Math.round(value).toLocaleString('en');
  return value.toPrecision(3);
}

function missingBlocks(missing: Measurements['missing']): Block[] {
  return [
    { kind: 'heading', text: 'Roads that this host has not' },
    { kind: 'lines', lines: missing.map(({ title, reason }) => `${title}: ${reason}`) },
  ];
}
