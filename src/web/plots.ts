/**
 * Plots of `tartan choose --measure -o html`: for each figure a dot per run, on the road and on the bare path, and a line at
 * the median. Drawn as SVG in the colours of the text around, so that light, dark and paper are all readable.
 */
import { axisX, axisY, dot, groupY, type PlotOptions, plot, ruleX, tickX } from '@observablehq/plot';
import {
  type MeasuredRoad,
  type Measurements,
  METRIC_NAMES,
  type MetricName,
  METRICS,
} from '#model/measurement.ts';
import { element, place, readData } from './element.ts';

type Dot = { readonly road: string; readonly path: 'road' | 'bare path'; readonly value: number };

function nameOf({ title, policies, encrypted }: MeasuredRoad): string {
  return `${title}${encrypted ? ', encrypted' : ''}${policies === 0 ? '' : `, ${policies.toLocaleString('en')} policies`}`;
}

function dotsOf({ roads }: Measurements, metric: MetricName): Dot[] {
  return roads.flatMap((measured) => {
    const road = nameOf(measured);
    const series = measured.series.find((one) => one.metric === metric);
    return [
      ...(series?.road ?? []).map(({ value }): Dot => ({ road, path: 'road', value })),
      ...(series?.bare ?? []).map(({ value }): Dot => ({ road, path: 'bare path', value })),
    ];
  });
}

/** At the median. */
const LINES = {
  road: { stroke: 'currentColor', strokeWidth: 2, inset: 4 },
  'bare path': { stroke: 'currentColor', strokeDasharray: '2,3', inset: 4 },
} as const;

function optionsOf(dots: readonly Dot[]): PlotOptions {
  const roads = new Set(dots.map(({ road }) => road)).size;
  return {
    width: 760,
    height: 70 + 34 * roads,
    marginLeft: 250,
    x: { zero: true, grid: true },
    y: { label: null },
    symbol: { domain: ['road', 'bare path'], range: ['circle', 'times'], legend: true },
    style: { background: 'none', color: 'inherit', fontSize: '13px', overflow: 'visible' },
    marks: [
      axisX({ label: null }),
      axisY({ label: null, tickSize: 0 }),
      ruleX([0]),
      dot(dots, { x: 'value', y: 'road', symbol: 'path', stroke: 'currentColor', strokeOpacity: 0.65 }),
      ...(['road', 'bare path'] as const).map((path) =>
        tickX(
          dots.filter((one) => one.path === path),
          groupY({ x: 'median' }, { x: 'value', y: 'road', ...LINES[path] }),
        ),
      ),
    ],
  };
}

function figureOf(measured: Measurements, metric: MetricName): HTMLElement[] {
  const dots = dotsOf(measured, metric);
  if (dots.length === 0) return [];
  const { title, unit, better } = METRICS[metric];
  const caption = `${unit}; ${better} is better. Circles are runs from pod to pod, crosses runs on the bare path beside them; lines are their medians.`;
  const drawn = plot({ ...optionsOf(dots), ariaLabel: title, ariaDescription: caption });
  return [
    element('figure', {}, element('figcaption', {}, element('strong', {}, title), ` ${caption}`), drawn),
  ];
}

const measured = readData() as Measurements;
place('#plots').replaceChildren(...METRIC_NAMES.flatMap((metric) => figureOf(measured, metric)));
