/**
 * What was measured of this host’s roads: each figure in pairs, one run on the road between pods and one on the bare path
 * between the same kind of nodes, so that both saw the same machine. Ratios of pairs count, not single runs.
 */

export type MetricInfo = {
  readonly title: string;
  readonly unit: string;
  readonly better: 'more' | 'less';
  /** What CPU time is counted for. */
  readonly work?: string;
};

export const METRICS = {
  tcp: { title: 'TCP, one stream', unit: 'Mbit/s', better: 'more', work: 'GB' },
  udp: { title: 'UDP, 1,200 bytes', unit: 'Mbit/s', better: 'more', work: 'GB' },
  small: { title: 'UDP, 64 bytes', unit: '1,000 packets/s', better: 'more', work: '1,000 packets' },
  latency: { title: 'round trip, median', unit: 'µs', better: 'less' },
  latency99: { title: 'round trip, 99 %', unit: 'µs', better: 'less' },
  connections: { title: 'new TCP connections', unit: '/s', better: 'more', work: 'connection' },
} as const satisfies Readonly<Record<string, MetricInfo>>;
export type MetricName = keyof typeof METRICS;
export const METRIC_NAMES = Object.keys(METRICS) as readonly MetricName[];

/** One run; `cpuMs`: of the whole machine, per unit of work. */
export type Sample = { readonly value: number; readonly cpuMs?: number | undefined };

export type Series = {
  readonly metric: MetricName;
  /** In the order in which they were run; the pair of `road[i]` is `bare[i]`. */
  readonly road: readonly Sample[];
  readonly bare: readonly Sample[];
};

/** A road with so many policies. */
export type MeasuredRoad = {
  readonly road: string;
  readonly title: string;
  readonly encrypted: boolean;
  /** The group `road` of a settings file that names it. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly policies: number;
  /** Of packets between pods, bytes. */
  readonly mtu?: number | undefined;
  /** Resident memory of one node’s agent after the runs. */
  readonly memoryMiB: number;
  readonly series: readonly Series[];
};

export type Measurements = {
  readonly format: 1;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly host: {
    readonly kernel: string;
    readonly cpu: string;
    readonly cpus: number;
    readonly memoryMiB: number;
  };
  readonly rounds: number;
  readonly runMs: number;
  readonly roads: readonly MeasuredRoad[];
  /** Roads that this host has not, and why. */
  readonly missing: readonly { readonly title: string; readonly reason: string }[];
};

export type MeasureOptions = {
  /** Names of roads; absent: all. */
  readonly roads?: readonly string[] | undefined;
  /** Pairs of runs of each figure. */
  readonly rounds: number;
  readonly runMs: number;
  readonly policyCounts: readonly number[];
};

export type MeasureProgress = { readonly done: number; readonly total: number; readonly what: string };
