/** Runs native/flow.c, which holds both ends of a flow between two namespaces, and reads what it prints. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '#model/fault.ts';
import type { MetricName, Sample } from '#model/measurement.ts';
import { run } from '../process.ts';

/** Names of network namespaces, and the address of the one that receives. */
export type Ends = { readonly from: string; readonly to: string; readonly address: string };

/** What one run of the program tells. */
type Figures = {
  readonly rate: number;
  /** Of the machine, per unit of work. */
  readonly cpuUs: number;
  readonly p50: number;
  readonly p99: number;
};

export type Mode = {
  readonly mode: 'tcp' | 'datagrams' | 'udp' | 'rr' | 'connect';
  /** The figures that a run of it is for. */
  readonly read: Readonly<Partial<Record<MetricName, (figures: Figures) => Sample>>>;
};

/** CPU time is told for a unit that people know: a GB, 1,000 packets, a connection. */
export const MODES: readonly Mode[] = [
  { mode: 'tcp', read: { tcp: ({ rate, cpuUs }) => ({ value: rate, cpuMs: cpuUs / 1000 }) } },
  { mode: 'datagrams', read: { udp: ({ rate, cpuUs }) => ({ value: rate, cpuMs: cpuUs / 1000 }) } },
  { mode: 'udp', read: { small: ({ rate, cpuUs }) => ({ value: rate, cpuMs: cpuUs }) } },
  {
    mode: 'rr',
    read: { latency: ({ p50 }) => ({ value: p50 }), latency99: ({ p99 }) => ({ value: p99 }) },
  },
  { mode: 'connect', read: { connections: ({ rate, cpuUs }) => ({ value: rate, cpuMs: cpuUs / 1000 }) } },
];

/** Beside the bundle, and seen from the source. */
const PLACES = ['tartan-flow', '../../../dist/tartan-flow'].map((place) => join(import.meta.dirname, place));
const ATTEMPTS = 5;

/** Throws Fault `lab-state` when nothing comes through, however often it is tried. */
export async function runFlow({ mode }: Mode, ends: Ends, port: number, runMs: number): Promise<Figures> {
  const program = PLACES.find((place) => existsSync(place));
  if (program === undefined) throw new Fault('io', 'tartan-flow is not there: run make build');
  const words = [mode, `/run/netns/${ends.from}`, `/run/netns/${ends.to}`, ends.address, port, 1, runMs].map(
    String,
  );
  let said = '';
  // A run in which nothing came through at all says that somebody else had the machine.
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const { code, stdout, stderr } = await run([program, ...words]);
    const [rate = 0, , p50 = 0, p99 = 0, cpuUs = 0] = stdout.trim().split('\t').map(Number);
    if (code === 0) return { rate, cpuUs, p50, p99 };
    said = stderr.trim() || stdout.trim();
  }
  throw new Fault('lab-state', `nothing comes from ${ends.from} to ${ends.to}: ${said}`);
}
