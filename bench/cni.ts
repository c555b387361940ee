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
import { whyNoTartan } from '../test/host/node.ts';
import { openDriver, type Driver, type Request } from './driver.ts';
import { keepReport, median, percentile, printReport, type Row } from './report.ts';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 10);
const GROUP = 50;

type Samples = {
  addMs: number[];
  deleteMs: number[];
  burstAddMs: number[];
  burstDeleteMs: number[];
};

const samples = (): Samples => ({ addMs: [], deleteMs: [], burstAddMs: [], burstDeleteMs: [] });

type Step = {
  readonly verb: string;
  readonly plugin: number;
  readonly pods: readonly Attachment[];
  readonly results: readonly (Result | undefined)[];
};

function requestsOf(subject: Subject, network: NetworkConfig, step: Step): Request[] {
  const { pods, results } = step;
  const plugin = network.plugins[step.plugin];
  if (plugin === undefined) throw new Error('no such plugin');
  return pods.map((pod, index) => ({
    executable: join(subject.host.bin, plugin.type),
    config: deriveConfig(network, plugin, { prevResult: results[index], runtimeConfig: pod.runtimeConfig }),
    environment: {
      ...(Object.fromEntries(
        Object.entries(environmentOf(pod)).filter(([, value]) => value !== undefined),
      ) as Record<string, string>),
      CNI_COMMAND: step.verb,
      CNI_PATH: subject.host.bin,
    },
  }));
}

/** A chained plugin needs the result of the one before; it is asked for once, outside of the measurement. */
const previous = (pods: readonly Attachment[], index: number): Result => ({
  cniVersion: '1.0.0',
  interfaces: [{ name: 'vethx' }, { name: 'eth0', sandbox: pods[index]?.netns.path ?? '' }],
  ips: [{ address: `10.88.0.${10 + index}/24`, interface: 1 }],
});

async function chain(
  driver: Driver,
  subject: Subject,
  network: NetworkConfig,
  call: { verb: string; pods: readonly Attachment[]; parallel: boolean },
) {
  const { verb, pods, parallel } = call;
  const order = network.plugins.map((_, index) => index);
  const each = pods.map(() => 0);
  let wallMs = 0;
  for (const plugin of verb === 'DEL' ? order.reverse() : order) {
    const results = pods.map((_, index) => (plugin > 0 ? previous(pods, index) : undefined));
    const timing = await driver.run(
      subject.host.netns,
      requestsOf(subject, network, { verb, plugin, pods, results }),
      parallel,
    );
    timing.eachMs.forEach((ms, index) => (each[index] = (each[index] ?? 0) + ms));
    wallMs += timing.wallMs;
  }
  return { each, wallMs };
}

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
  const call = (verb: string, parallel: boolean) => chain(driver, subject, network, { verb, pods, parallel });
  into.addMs.push(...(await call('ADD', false)).each);
  into.deleteMs.push(...(await call('DEL', false)).each);
  await waitFor('links to go', () => podLinks(subject) === 0, 30_000);
  into.burstAddMs.push((await call('ADD', true)).wallMs);
  const begun = performance.now();
  await call('DEL', true);
  await waitFor('links to go', () => podLinks(subject) === 0, 30_000);
  into.burstDeleteMs.push(performance.now() - begun);
}

function rowsOf(title: string, ours: Samples | undefined, peer: Samples): Row[] {
  const row = (what: string, pick: (from: Samples) => number, ratio?: number): Row => ({
    what: `${what}${title}`,
    unit: 'ms',
    ours: ours && pick(ours),
    peer: pick(peer),
    ...(ratio === undefined ? {} : { target: { sense: '≤', ratio } }),
  });
  return [
    row('ADD p50', (from) => median(from.addMs), 0.25),
    row('ADD p99', (from) => percentile(from.addMs, 0.99)),
    row('DEL p50 to the answer', (from) => median(from.deleteMs), 0.2),
    row('50 ADDs at once, wall', (from) => median(from.burstAddMs), 0.35),
    row('50 DELs, all links gone, wall', (from) => median(from.burstDeleteMs), 0.6),
  ];
}

export async function benchCni(): Promise<void> {
  const driver = openDriver();
  const why = whyNoTartan();
  const peer = await referenceSubject('ptp');
  const ours = why === undefined ? await tartanSubject('routed') : undefined;
  const rows: Row[] = [];
  const kept: Record<string, unknown> = {};
  try {
    for (const ports of [false, true]) {
      const [forOurs, forPeer] = [samples(), samples()];
      const pods = makePods(ports);
      for (let round = 0; round < ROUNDS; round += 1) {
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
  const fileSystem = execFileSync('stat', ['-f', '-c', '%T', '/tmp'], { encoding: 'utf8' }).trim();
  printReport(
    `CNI, exec to exit, ms; ${ROUNDS * GROUP} each; ledger on ${fileSystem}; peer ptp + host-local (+ portmap)${why === undefined ? '' : `; ours not run: ${why}`}`,
    rows,
  );
  keepReport('cni', { at: new Date().toISOString(), fileSystem, rows, ...kept });
}
