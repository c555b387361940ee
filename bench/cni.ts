/**
 * CNI ADD and DEL, exec to exit: ours beside ptp + host-local (+ portmap), in turns of small groups so that both see
 * the same machine. Rows 1–3 of the benchmark table.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import {
  deriveConfig,
  environmentOf,
  makePod,
  type Attachment,
  type Result,
} from '../test/conformance/runtime.ts';
import {
  referenceSubject,
  tartanSubject,
  type NetworkConfig,
  type Subject,
} from '../test/conformance/subject.ts';
import { waitFor } from '../test/host/namespace.ts';
import { type Node, whyNoTartan } from '../test/host/node.ts';
import { openDriver, type Driver, type Request, type RunOptions, type Timing } from './driver.ts';
import { makeMemoryGroup, processMb, resetPeak } from './memory.ts';
import { keepReport, median, percentile, printReport, type Row } from './report.ts';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 10);
const GROUP = 50;

type Samples = {
  addMs: number[];
  deleteMs: number[];
  goneMs: number[];
  burstAddMs: number[];
  burstDeleteMs: number[];
  /** Peak of a cgroup that holds nothing but the plugins' processes of one burst of ADDs. */
  pluginsMb: number[];
  /** How far the agent's resident memory rose above what it was before that burst. */
  agentMb: number[];
};

const samples = (): Samples => ({
  addMs: [],
  deleteMs: [],
  goneMs: [],
  burstAddMs: [],
  burstDeleteMs: [],
  pluginsMb: [],
  agentMb: [],
});

type Call = { readonly verb: 'ADD' | 'DEL'; readonly pods: readonly Attachment[] };

/** One request a pod: its plugins run one after the other, backwards for DEL, as a runtime runs a list. */
function requestsOf(subject: Subject, network: NetworkConfig, { verb, pods }: Call): Request[] {
  const { bin } = subject.host;
  const order = verb === 'ADD' ? network.plugins : network.plugins.toReversed();
  return pods.map((pod, index) => ({
    plugins: order.map((plugin) => {
      const prevResult = plugin === network.plugins[0] ? undefined : previous(pod, index);
      const config = deriveConfig(network, plugin, { prevResult, runtimeConfig: pod.runtimeConfig });
      return { executable: join(bin, plugin.type), config };
    }),
    environment: {
      ...(Object.fromEntries(
        Object.entries(environmentOf(pod)).filter(([, value]) => value !== undefined),
      ) as Record<string, string>),
      CNI_COMMAND: verb,
      CNI_PATH: bin,
    },
  }));
}

/** A chained plugin needs the result of the one before; it is made beforehand, as the driver reads no results. */
const previous = (pod: Attachment, index: number): Result => ({
  cniVersion: '1.0.0',
  interfaces: [{ name: 'vethx' }, { name: 'eth0', sandbox: pod.netns.path }],
  ips: [{ address: `10.88.0.${10 + index}/24`, interface: 1 }],
});

const podLinks = (subject: Subject): number =>
  subject.host.netns.list<{ ifname: string }>('link show type veth').filter((link) => link.ifname !== 'eth0')
    .length;

/** Made once and used by every round of both sides: the kernel's deletion of a namespace would disturb whoever is next. */
const makePods = (ports: boolean): Attachment[] =>
  Array.from({ length: GROUP }, (_, index) => {
    const portMappings = [{ hostPort: 20_000 + index, containerPort: 80, protocol: 'tcp' }];
    return makePod(ports ? { runtimeConfig: { portMappings } } : {});
  });

type Lane = { readonly ports: boolean; readonly pods: readonly Attachment[]; readonly into: Samples };

async function oneRound(driver: Driver, subject: Subject, { ports, pods, into }: Lane): Promise<void> {
  const network = subject.network({ portMappings: ports });
  const call = (verb: Call['verb'], options: RunOptions): Promise<Timing> =>
    driver.run(subject.host.netns, requestsOf(subject, network, { verb, pods }), options);
  const allGone = (): Promise<unknown> => waitFor('links to go', () => podLinks(subject) === 0, 30_000);
  into.addMs.push(...(await call('ADD', { mode: 'sequence' })).eachMs);
  into.deleteMs.push(...(await call('DEL', { mode: 'sequence' })).eachMs);
  await allGone();
  into.burstAddMs.push((await call('ADD', { mode: 'burst' })).wallMs);
  const begun = performance.now();
  await call('DEL', { mode: 'burst' });
  await allGone();
  into.burstDeleteMs.push(performance.now() - begun);
  await measureMemory(subject, into, (options) => call('ADD', options));
  into.goneMs.push(...(await call('DEL', { mode: 'until gone' })).goneMs);
  await allGone();
}

/** A burst by itself, as to enter a cgroup takes time. */
async function measureMemory(
  { host }: Subject,
  into: Samples,
  add: (options: RunOptions) => Promise<unknown>,
): Promise<void> {
  const group = makeMemoryGroup(`be-plugins-${process.pid}`);
  const agent = 'pid' in host ? (host as Node).pid() : undefined;
  const beforeMb = agent === undefined ? 0 : processMb(agent, 'VmRSS');
  if (agent !== undefined) resetPeak(agent);
  try {
    await add({ mode: 'burst', ...(group === undefined ? {} : { cgroup: group.path }) });
    if (group !== undefined) into.pluginsMb.push(group.peakMb());
    if (agent !== undefined) into.agentMb.push(processMb(agent, 'VmHWM') - beforeMb);
  } finally {
    group?.remove();
  }
}

function rowsOf(title: string, ours: Samples | undefined, peer: Samples): Row[] {
  const row = (what: string, pick: (from: Samples) => number, ratio?: number, unit = 'ms'): Row => ({
    what: `${what}${title}`,
    unit,
    ours: ours && pick(ours),
    peer: pick(peer),
    ...(ratio === undefined ? {} : { target: { sense: '≤', ratio } }),
  });
  return [
    row('ADD p50', (from) => median(from.addMs), 0.25),
    row('ADD p99', (from) => percentile(from.addMs, 0.99)),
    row('DEL p50 to the answer', (from) => median(from.deleteMs), 0.2),
    row('DEL p50 until the link is gone', (from) => median(from.goneMs), 1.1),
    row('50 ADDs at once, wall', (from) => median(from.burstAddMs), 0.35),
    row('50 DELs, all links gone, wall', (from) => median(from.burstDeleteMs), 0.6),
    row('50 ADDs at once, cgroup peak of the plugins', (from) => median(from.pluginsMb), 0.15, 'MB'),
    {
      what: `  the agent’s growth beside it${title}`,
      unit: 'MB',
      ours: ours && median(ours.agentMb),
    },
  ];
}

/** As df names it. */
function fileSystemOf(path: string): string {
  const text = execFileSync('df', ['--output=fstype', path], { encoding: 'utf8' });
  return text.trim().split('\n').at(-1) ?? 'unknown';
}

export async function benchCni(): Promise<void> {
  const driver = openDriver();
  const why = whyNoTartan();
  const peer = await referenceSubject('ptp');
  const ours = why === undefined ? await tartanSubject('routed') : undefined;
  // The ledger is in paths.run; host-local's leases are in a directory beside it.
  const ledgerPath = ours === undefined ? peer.host.directory : join(ours.host.directory, 'run');
  const fileSystem = fileSystemOf(ledgerPath);
  const rows: Row[] = [];
  const kept: Record<string, unknown> = {};
  try {
    for (const ports of [false, true]) {
      const [forOurs, forPeer] = [samples(), samples()];
      const pods = makePods(ports);
      // A chain of the peer takes seconds to undo its bursts: half of the rounds tell enough.
      const rounds = ports ? Math.ceil(ROUNDS / 2) : ROUNDS;
      for (let round = 0; round < rounds; round += 1) {
        await oneRound(driver, peer, { ports, pods, into: forPeer });
        if (ours !== undefined) await oneRound(driver, ours, { ports, pods, into: forOurs });
      }
      for (const pod of pods) pod.netns.remove();
      const title = ports ? ', with hostPort' : '';
      rows.push(...rowsOf(title, ours && forOurs, forPeer));
      kept[`samples${title}`] = { ours: ours && forOurs, peer: forPeer };
    }
  } finally {
    await peer.stop();
    await ours?.stop();
    driver.close();
  }
  printReport(
    `CNI, exec to exit, ms; ${ROUNDS * GROUP} each, with hostPort half of it; ledger, in paths.run, on ${fileSystem}; peer ptp + host-local (+ portmap)${why === undefined ? '' : `; ours not run: ${why}`}`,
    rows,
  );
  keepReport('cni', { at: new Date().toISOString(), fileSystem, rows, ...kept });
}
