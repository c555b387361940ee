/** Measurements in figures that can be told: medians, ratios of pairs with how sure they are, and CPU time per work. */
import { z } from 'zod';
import {
  type MeasuredRoad,
  type Measurements,
  METRIC_NAMES,
  type MetricName,
  type Sample,
  type Series,
} from '#model/measurement.ts';

const sampleSchema = z.strictObject({ value: z.number(), cpuMs: z.number().optional() });
export const measurementsSchema: z.ZodType<Measurements> = z.strictObject({
  format: z.literal(1),
  at: z.string(),
  host: z.strictObject({ kernel: z.string(), cpu: z.string(), cpus: z.int(), memoryMiB: z.number() }),
  rounds: z.int(),
  runMs: z.number(),
  roads: z.array(
    z.strictObject({
      road: z.string(),
      title: z.string(),
      encrypted: z.boolean(),
      settings: z.record(z.string(), z.unknown()),
      policies: z.int(),
      mtu: z.int().optional(),
      memoryMiB: z.number(),
      series: z.array(
        z.strictObject({
          metric: z.enum(METRIC_NAMES),
          road: z.array(sampleSchema),
          bare: z.array(sampleSchema),
        }),
      ),
    }),
  ),
  missing: z.array(z.strictObject({ title: z.string(), reason: z.string() })),
});

/** Geometric mean of the pairs’ ratios, and its 95 % interval (normal approximation); of one pair all are its ratio. */
export type Ratio = { readonly mean: number; readonly low: number; readonly high: number };

export type Figure = {
  readonly metric: MetricName;
  readonly road: number;
  readonly bare: number;
  readonly ratio: Ratio;
  /** Of the machine, per unit of work, on the road and on the bare path. */
  readonly cpuMs?: { readonly road: number; readonly bare: number };
};

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
  return (lower + upper) / 2;
}

/** Of logarithms: half as fast weighs as much as twice as fast, and one run that was starved does not drown the others. */
export function ratioOf({ road, bare }: Pick<Series, 'road' | 'bare'>): Ratio {
  const logs = road.map(({ value }, index) => Math.log(value / (bare[index]?.value ?? Number.NaN)));
  const middle = logs.reduce((sum, one) => sum + one, 0) / logs.length;
  const variance = logs.reduce((sum, one) => sum + (one - middle) ** 2, 0) / Math.max(1, logs.length - 1);
  const half = 1.96 * Math.sqrt(variance / logs.length);
  return { mean: Math.exp(middle), low: Math.exp(middle - half), high: Math.exp(middle + half) };
}

export function figureOf(series: Series): Figure {
  const { metric, road, bare } = series;
  const values = (samples: readonly Sample[]): number => median(samples.map(({ value }) => value));
  const cpu = (samples: readonly Sample[]): number => median(samples.flatMap(({ cpuMs }) => cpuMs ?? []));
  const counts = road.length > 0 && [...road, ...bare].every(({ cpuMs }) => cpuMs !== undefined);
  return {
    metric,
    road: values(road),
    bare: values(bare),
    ratio: ratioOf(series),
    ...(counts ? { cpuMs: { road: cpu(road), bare: cpu(bare) } } : {}),
  };
}

export function nameOf({ title, policies, encrypted }: MeasuredRoad): string {
  const count = policies === 0 ? 'no policies' : `${policies.toLocaleString('en')} policies`;
  return `${title}${encrypted ? ' (encrypted)' : ''}, ${count}`;
}
