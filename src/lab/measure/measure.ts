/**
 * Measures this host’s roads: for each a lab of two nodes with a pod each, and beside all of them two bare nodes on a wire of
 * the same kind. Every run on a road has one on the bare path right before or after it. Nothing is left behind.
 *
 *     pod ── node1 ── router ── node2 ── pod          bare: node1 ── router ── node2
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Status } from '#api/status.ts';
import { Fault, toFault } from '#model/fault.ts';
import {
  type MeasuredRoad,
  type MeasureOptions,
  type MeasureProgress,
  type Measurements,
  METRIC_NAMES,
  type Sample,
  type Series,
} from '#model/measurement.ts';
import { type Lab, removeLab, startLab } from '../lab.ts';
import { buildUnderlay } from '../underlay.ts';
import { type LabShape, nodePlaces } from '../topology.ts';
import { type Ends, type Mode, MODES, runFlow } from './flow.ts';
import { LABELS, measuringPolicies } from './policies.ts';
import { chooseRoads, type MeasurableRoad } from './roads.ts';

type Tell = (progress: MeasureProgress) => void;

/** How long a road may take to carry the first packet, and policies to be in force. */
const PATIENCE_MS = 60_000;
/** So long the other node may be silent of itself. */
const HEARSAY_MS = 5_000;
const READY_MS = 12_000;

/** Throws Fault `no-root`, `request-invalid` for a road that there is not, or `lab-state`. */
export async function measureRoads(options: MeasureOptions, tell: Tell): Promise<Measurements> {
  if (process.getuid?.() !== 0)
    throw new Fault('no-root', 'measuring makes network namespaces and needs root');
  await using undo = new AsyncDisposableStack();
  const all = chooseRoads(options.roads, makeSecrets(undo));
  const runsOf = ({ hasPolicies }: MeasurableRoad): number =>
    options.policyCounts.filter((count) => count === 0 || hasPolicies).length * MODES.length * options.rounds;
  const progress = counted(
    all.map(runsOf).reduce((sum, runs) => sum + runs, 0),
    tell,
  );
  const name = `measure-${process.pid}`;
  undo.defer(() => removeLab(`${name}-bare`));
  const bare = await makeBare(`${name}-bare`);
  const roads: MeasuredRoad[] = [];
  const missing: { title: string; reason: string }[] = [];
  for (const road of all) {
    progress.say(`${road.title}: starting two nodes`);
    const measured = await measureRoad(road, { ...options, name, bare, step: progress.step }).catch(
      (error: unknown) => {
        if (!['lab-state', 'delegate'].includes(toFault(error).code)) throw error;
        missing.push({ title: road.title, reason: reasonOf(error) });
        progress.skip(runsOf(road));
        return [];
      },
    );
    roads.push(...measured);
  }
  const { rounds, runMs } = options;
  return { format: 1, at: new Date().toISOString(), host: describeHost(), rounds, runMs, roads, missing };
}

/** A file of one secret that nobody else has, gone with the stack. */
function makeSecrets(undo: AsyncDisposableStack): string {
  const directory = mkdtempSync(join(tmpdir(), 'tartan-measure-'));
  undo.defer(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'secrets');
  writeFileSync(file, `measure ${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  return file;
}

function counted(total: number, tell: Tell) {
  let done = 0;
  let left = total;
  const say = (what: string): void => tell({ done, total: left, what });
  return {
    say,
    step: (what: string): void => {
      say(what);
      done += 1;
    },
    /** Of what cannot be measured. */
    skip: (steps: number): void => void (left -= steps),
  };
}

/** Of an agent that did not become ready, what its log says of links that the kernel refused comes first. */
function reasonOf(error: unknown): string {
  const { message, problems } = toFault(error);
  const logged = problems.flatMap((problem) => [
    ...problem.message.matchAll(/"key":"link .*"msg":"([^"]+)"/g),
  ]);
  const refused = logged.at(-1)?.[1];
  return (refused ?? message).replaceAll(/\s+/g, ' ').replace(/^(\w+: )\1/, '$1');
}

async function makeBare(name: string): Promise<Ends> {
  const shape: LabShape = { name, nodes: 2, subnets: 1 };
  await buildUnderlay(shape);
  const [from, to] = nodePlaces(shape);
  if (from === undefined || to === undefined) throw new RangeError('two nodes');
  return { from: from.netns, to: to.netns, address: to.addresses[4] };
}

type Bench = Pick<MeasureOptions, 'rounds' | 'runMs' | 'policyCounts'> & {
  readonly name: string;
  readonly bare: Ends;
  readonly step: (what: string) => void;
};

async function measureRoad(road: MeasurableRoad, bench: Bench): Promise<MeasuredRoad[]> {
  await using lab = await startLab({
    name: bench.name,
    nodes: 2,
    subnets: 1,
    profile: 'canal',
    settings: { policy: { enforce: true }, ...road.settings },
    readyMs: READY_MS,
  });
  await lab.addPod('node1', 'sender', { labels: LABELS.sender });
  await lab.addPod('node2', 'receiver', { labels: LABELS.receiver });
  const begun = Date.now();
  await waitUntil('a packet to come through', async () => {
    if ((await ping(lab)).code === 0) return true;
    const status = await statusOf(lab);
    const why = refusalIn(status) ?? (Date.now() - begun > HEARSAY_MS ? distanceIn(status) : undefined);
    if (why !== undefined) throw new Fault('lab-state', why);
    return false;
  });
  const measured: MeasuredRoad[] = [];
  for (const policies of bench.policyCounts) {
    if (policies > 0 && !road.hasPolicies) continue;
    lab.apply('measure', policies === 0 ? '' : measuringPolicies(policies));
    if (road.hasPolicies)
      await waitUntil(`${policies} policies in force`, async () => isInForce(await statusOf(lab), policies));
    await waitUntil('a packet to come through the policies', async () => (await ping(lab)).code === 0);
    measured.push(await measureWith(road, policies, lab, bench));
  }
  return measured;
}

async function measureWith(
  { road, title, encrypted, told }: MeasurableRoad,
  policies: number,
  lab: Lab,
  bench: Bench,
): Promise<MeasuredRoad> {
  const [sender, receiver] = ['sender', 'receiver'].map((pod) => lab.pods().find(({ name }) => name === pod));
  const ends = {
    from: sender?.netns ?? '',
    to: receiver?.netns ?? '',
    address: receiver?.addresses[0] ?? '',
  };
  const series: Series[] = [];
  for (const mode of MODES) {
    const what = `${title}, ${policies} policies: ${mode.mode}`;
    series.push(...(await measurePairs(mode, ends, { ...bench, step: () => bench.step(what) })));
  }
  const { podMtu } = await statusOf(lab);
  return {
    road,
    title,
    encrypted,
    settings: told,
    policies,
    mtu: podMtu,
    memoryMiB: agentMemory(lab),
    series,
  };
}

type PairBench = Pick<Bench, 'rounds' | 'runMs' | 'bare'> & { readonly step: () => void };

/** The order of each pair is turned, so that neither always comes behind the other. */
async function measurePairs(mode: Mode, road: Ends, bench: PairBench): Promise<Series[]> {
  const samples = { road: new Map<string, Sample[]>(), bare: new Map<string, Sample[]>() };
  for (let round = 0; round < bench.rounds; round += 1) {
    bench.step();
    const order = round % 2 === 0 ? (['bare', 'road'] as const) : (['road', 'bare'] as const);
    for (const path of order) {
      const figures = await runFlow(mode, path === 'road' ? road : bench.bare, portOf(round), bench.runMs);
      for (const [metric, read] of Object.entries(mode.read))
        samples[path].set(metric, [...(samples[path].get(metric) ?? []), read(figures)]);
    }
  }
  return METRIC_NAMES.filter((metric) => mode.read[metric] !== undefined).map((metric) => ({
    metric,
    road: samples.road.get(metric) ?? [],
    bare: samples.bare.get(metric) ?? [],
  }));
}

/** A listener is not bound where the last one’s connections linger. */
function portOf(round: number): number {
  return 20_000 + (round % 1000);
}

async function statusOf(lab: Lab, node = 'node2'): Promise<Status> {
  return JSON.parse(await must(lab, node)) as Status;
}

async function must(lab: Lab, node: string): Promise<string> {
  const { stdout, stderr } = await lab.tartan(node, 'status', '-o', 'json');
  if (stdout !== '') return stdout;
  throw new Fault('lab-state', `the agent of ${node} does not answer: ${stderr.trim()}`);
}

/** What the kernel does not take of the road. */
function refusalIn({ items }: Status): string | undefined {
  return items.find(({ wanted, error }) => wanted && error !== undefined)?.error;
}

/** Why there is no road to the other node. */
function distanceIn({ peers }: Status): string | undefined {
  return peers.find(({ state }) => state === 'unreachable')?.why;
}

function isInForce({ policy }: Status, count: number): boolean {
  return policy !== undefined && policy.policies === count && policy.problems.length === 0;
}

function ping(lab: Lab): ReturnType<Lab['exec']> {
  const address = lab.pods().find(({ name }) => name === 'receiver')?.addresses[0] ?? '';
  return lab.exec('sender', ['ping', '-n', '-q', '-c', '1', '-W', '1', address]);
}

async function waitUntil(what: string, probe: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await probe())) {
    if (Date.now() > deadline)
      throw new Fault('lab-state', `waited ${PATIENCE_MS / 1000} s in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** VmRSS of the receiving node’s agent. */
function agentMemory(lab: Lab): number {
  const pid = lab.nodes.find(({ name }) => name === 'node2')?.pid() ?? 0;
  const kib = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kib ?? 0) / 1024);
}

function describeHost(): Measurements['host'] {
  const all = cpus();
  return {
    kernel: release(),
    cpu: all[0]?.model.trim() ?? 'unknown',
    cpus: all.length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
  };
}
