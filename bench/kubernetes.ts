/**
 * A cluster of Kubernetes with 5,000 nodes and 50,000 pods in a real API server: an agent's start beside `kubectl get` of the
 * same objects, what it remembers, and how long a node's advert takes from the request to five agents' kernels beside
 * fifty-one raw watches of the same advert.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { customResourceDefinitions } from '#deploy/crds.ts';
import { openKernel } from '#kernel/linux.ts';
import { openNetns } from '#kernel/netns.ts';
import { type ApiServer, noApiServer, startApiServer } from '../test/kubernetes/api-server.ts';
import { pathOf } from '../test/kubernetes/programs.ts';
import { execute, type Namespace } from '../test/host/namespace.ts';
import { makeUnderlay, type Node, startNode, type Underlay, whyNoTartan } from '../test/host/node.ts';
import { cpuTimeMs, endAgent, spawnAgent, whenSaid } from './agent.ts';
import { advertOf } from './kubernetes-objects.ts';
import { processMb } from './memory.ts';
import { keepReport, median, percentile, printReport, type Row } from './report.ts';

const NODES = Number(process.env.BENCH_KUBERNETES_NODES ?? 5000);
const PODS_OF_EACH = Number(process.env.BENCH_KUBERNETES_PODS ?? 10);
const ROUNDS = Number(process.env.BENCH_KUBERNETES_ROUNDS ?? 3);
const EVENTS = Number(process.env.BENCH_KUBERNETES_EVENTS ?? 300);
const AGENTS = 5;
const WATCHES = 51;
/** What an agent's start leaves to be done is over by then; its rest is looked at for longer than it looks at its place. */
const SETTLE_MS = 5000;
const REST_MS = 30_000;
const ADDRESS = '172.30.0.254';

type Place = { readonly underlay: Underlay; readonly server: ApiServer };

function side({ underlay, server }: Place, ...words: readonly (string | number)[]): ChildProcess {
  const [what = '', ...more] = words.map(String);
  const script = join(import.meta.dirname, 'kubernetes-side.ts');
  const command = [
    `--net=${underlay.netns.path}`,
    process.execPath,
    script,
    what,
    server.kubeconfig(),
    ...more,
  ];
  return spawn('nsenter', command, { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Kinds, and the nodes of the agents that are measured. */
async function define(server: ApiServer): Promise<void> {
  const indexes = Array.from({ length: AGENTS }, (_, index) => index + 1);
  const own = indexes.map((index) => ({ apiVersion: 'v1', kind: 'Node', metadata: { name: `bk-${index}` } }));
  const items = [...customResourceDefinitions({ expressions: false }), ...own];
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  const { code, stderr } = await server.kubectl(['apply', '-f', '-'], { input });
  if (code !== 0) throw new Error(stderr);
  await server.kubectl(['wait', '--for=condition=established', 'crd', '--all']);
}

async function fill(place: Place): Promise<void> {
  const begun = performance.now();
  const [code] = (await once(side(place, 'fill', NODES, PODS_OF_EACH), 'exit')) as [number | null];
  if (code !== 0) throw new Error(`the API server could not be filled: ${code}`);
  const seconds = Math.round((performance.now() - begun) / 1000);
  console.log(
    `kubernetes: ${NODES} nodes with ${PODS_OF_EACH} pods each are in the API server after ${seconds} s`,
  );
}

async function getAll({ underlay, server }: Place, kinds: string): Promise<number> {
  const command = [pathOf('kubectl'), '--kubeconfig', server.kubeconfig(), 'get', kinds, '-A', '-o', 'json'];
  const begun = performance.now();
  const words = [
    'sh',
    '-c',
    'exec "$@" > /dev/null',
    'sh',
    'nsenter',
    `--net=${underlay.netns.path}`,
    ...command,
  ];
  const { code, stderr } = await execute(words, { timeoutMs: 600_000 });
  if (code !== 0) throw new Error(stderr);
  return performance.now() - begun;
}

function startOne({ underlay, server }: Place, index: number): Promise<Node> {
  const settings = {
    profile: 'canal',
    addresses: { type: 'subnet' },
    network: { ipv4: { range: '10.0.0.0/8', nodeSubnet: `10.255.${index}.0/24` } },
    store: {
      type: 'kubernetes',
      kubernetes: { kubeconfig: server.kubeconfig(), requestTimeoutSeconds: 60 },
    },
  };
  return startNode(`bk-${index}`, settings, { underlay, index });
}

type Starts = {
  readonly ours: number[];
  readonly all: number[];
  readonly same: number[];
  readonly cpuMs: number[];
};

type Memory = { readonly rssMb: number; readonly peakMb: number };

async function measureStarts(place: Place, node: Node): Promise<Starts & Memory> {
  const starts: Starts = { ours: [], all: [], same: [], cpuMs: [] };
  let [rssMb, peakMb] = [Number.NaN, Number.NaN];
  await node.kill();
  for (let round = 0; round < ROUNDS; round += 1) {
    starts.all.push(await getAll(place, 'nodes,pods'));
    starts.same.push(await getAll(place, 'nodes,nodeadverts,workloads,networkpolicies'));
    const begun = performance.now();
    const agent = spawnAgent(node);
    await whenSaid(agent, `ready: ${NODES} of ${NODES} peers`, 'policies are loaded');
    starts.ours.push(performance.now() - begun);
    starts.cpuMs.push(cpuTimeMs(agent.pid));
    // What a start leaves behind is collected after a second.
    await pause(SETTLE_MS);
    rssMb = processMb(agent.pid, 'VmRSS');
    peakMb = processMb(agent.pid, 'VmHWM');
    await endAgent(agent);
  }
  return { ...starts, rssMb, peakMb };
}

/** The times that each line has after the name that it begins with. */
function timesOf(child: ChildProcess): Map<string, readonly bigint[]> {
  const said = new Map<string, readonly bigint[]>();
  if (child.stdout === null) throw new Error('a process without output');
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [name = '', ...times] = line.split(' ');
    said.set(name, times.map(BigInt));
  });
  return said;
}

/** When the kernel of a namespace had the route to each node's pods. */
function followRoutes(
  netns: Namespace,
  signal: AbortSignal,
): { times: Map<string, bigint>; done: Promise<void> } {
  const times = new Map<string, bigint>();
  const fd = openNetns(netns.path);
  const home = openKernel();
  const kernel = home.within(fd);
  const follow = async (): Promise<void> => {
    for await (const change of kernel.changes(signal))
      if (change.type === 'item' && change.seen?.kind === 'route')
        times.set(change.seen.prefix, process.hrtime.bigint());
    kernel[Symbol.dispose]();
    home[Symbol.dispose]();
    closeSync(fd);
  };
  return { times, done: follow() };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 120_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await pause(50);
  }
}

const msBetween = (from: bigint, to: bigint | undefined): number =>
  to === undefined ? Number.NaN : Number(to - from) / 1e6;

/** Of one advert, milliseconds since it was sent: until each raw watch heard of it, and until each agent's kernel had it. */
type Told = { readonly raw: readonly number[]; readonly agents: readonly number[] };

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** CPU time of each of the agents from now on, in milliseconds. */
function agentsTime(nodes: readonly Node[]): () => number[] {
  const before = nodes.map((node) => cpuTimeMs(node.pid()));
  return () => nodes.map((node, index) => cpuTimeMs(node.pid()) - (before[index] ?? 0));
}

/** Share of a processor that an agent takes when nothing happens. */
async function measureRest(nodes: readonly Node[]): Promise<number> {
  await pause(SETTLE_MS);
  const spent = agentsTime(nodes);
  await pause(REST_MS);
  return median(spent()) / REST_MS;
}

async function measureEvents(place: Place, nodes: readonly Node[]) {
  const restShare = await measureRest(nodes);
  const watcher = side(place, 'watch', WATCHES, EVENTS);
  const heard = timesOf(watcher);
  await until('the raw watches', () => heard.has('watching'));
  const stop = new AbortController();
  const kernels = nodes.map((node) => followRoutes(node.netns, stop.signal));
  const spent = agentsTime(nodes);
  const begun = performance.now();
  const sent = timesOf(side(place, 'add', NODES + 1, EVENTS));
  const added = Array.from({ length: EVENTS }, (_, index) => advertOf(NODES + 1 + index));
  const prefixes = added.map(({ name, subnets }) => [name, subnets[4] ?? ''] as const);
  await until('the nodes to be in all kernels', () =>
    kernels.every(({ times }) => prefixes.every(([, prefix]) => times.has(prefix))),
  );
  const cpuMs = median(spent()) - restShare * (performance.now() - begun);
  await until('the raw watches to have heard of them', () => prefixes.every(([name]) => heard.has(name)));
  stop.abort();
  await Promise.all(kernels.map(({ done }) => done));
  const events = prefixes.map(([name, prefix]): Told => {
    const [from = 0n] = sent.get(name) ?? [];
    return {
      raw: heard.get(name)?.map((time) => msBetween(from, time)) ?? [],
      agents: kernels.map(({ times }) => msBetween(from, times.get(prefix))),
    };
  });
  return { events, restShare, cpuPerEventMs: cpuMs / EVENTS };
}

type Figures = Awaited<ReturnType<typeof measureStarts>> & Awaited<ReturnType<typeof measureEvents>>;

function startRows({ ours, all, same, cpuMs, rssMb, peakMb }: Figures): Row[] {
  return [
    {
      what: 'start to ready; peer: kubectl get nodes,pods',
      unit: 'ms',
      ours: median(ours),
      peer: median(all),
      target: { sense: '≤', ratio: 1.5 },
    },
    {
      what: 'start to ready; peer: kubectl get of what the agent reads',
      unit: 'ms',
      ours: median(ours),
      peer: median(same),
    },
    { what: 'the agent’s CPU time for it', unit: 'ms', ours: median(cpuMs) },
    { what: 'agent’s memory, RSS', unit: 'MB', ours: rssMb, target: { sense: '≤', limit: 200 } },
    { what: '  at most, during its start', unit: 'MB', ours: peakMb },
  ];
}

/** What all are told late, the API server tells late: so each advert is compared with itself. */
function eventRows({ events, restShare, cpuPerEventMs }: Figures): Row[] {
  const each = (value: (event: Told) => readonly number[]): number[] => events.flatMap(value);
  const laterThan = (peer: (raw: readonly number[]) => number): number[] =>
    each(({ raw, agents }) => agents.map((ms) => ms - peer(raw)));
  const agents = each((event) => event.agents);
  const middle = each(({ raw }) => [median(raw)]);
  const [afterMiddle, afterFirst] = [laterThan(median), laterThan((raw) => Math.min(...raw))];
  const row = (what: string, values: readonly number[], share: number): Row => ({
    what: `${what}, p${share * 100}`,
    unit: 'ms',
    ours: percentile(values, share),
  });
  const target = { sense: '≤', limit: 20 } as const;
  const what = `a node’s advert to five kernels; peer: the median of ${WATCHES} raw watches`;
  return [
    { ...row(what, agents, 0.5), peer: median(middle) },
    { ...row(what, agents, 0.99), peer: percentile(middle, 0.99) },
    row('  after the median raw watch of the same advert', afterMiddle, 0.5),
    { ...row('  after the median raw watch of the same advert', afterMiddle, 0.99), target },
    row('  after the first raw watch of the same advert', afterFirst, 0.5),
    { ...row('  after the first raw watch of the same advert', afterFirst, 0.99), target },
    { what: '  CPU time of an agent for each', unit: 'ms', ours: cpuPerEventMs },
    { what: '  and when nothing happens, in a second', unit: 'ms', ours: restShare * 1000 },
  ];
}

export async function benchKubernetes(): Promise<void> {
  const why = whyNoTartan() ?? noApiServer;
  if (why !== undefined) return console.log(`kubernetes: not run: ${why}`);
  await using undo = new AsyncDisposableStack();
  const underlay = await makeUnderlay('bk');
  undo.defer(() => underlay.remove());
  const server = await startApiServer({ place: { netns: underlay.netns, address: ADDRESS } });
  undo.use(server);
  const place = { underlay, server };
  await define(server);
  const first = await startOne(place, 1);
  undo.defer(() => first.stop());
  await fill(place);
  const starts = await measureStarts(place, first);
  await first.restart();
  const nodes = [first];
  for (let index = 2; index <= AGENTS; index += 1) {
    const node = await startOne(place, index);
    undo.defer(() => node.stop());
    nodes.push(node);
  }
  await until('all agents to be ready', () => nodes.every((node) => node.log().includes(`ready: `)));
  const figures = { ...starts, ...(await measureEvents(place, nodes)) };
  const rows = [...startRows(figures), ...eventRows(figures)];
  printReport(
    `Kubernetes 1.20 with ${NODES} nodes and ${NODES * PODS_OF_EACH} pods; medians of ${ROUNDS} starts, ${EVENTS} events, ${AGENTS} agents and ${WATCHES} raw watches`,
    rows,
  );
  keepReport('kubernetes', { at: new Date().toISOString(), nodes: NODES, rows, ...figures });
}
