/**
 * The userspace tunnel against the kernel's VXLAN and against wireguard-go, between two namespaces on one link, all of them
 * there at once, measured in turns. Only what is between the two ends differs: flow.c is both ends.
 *
 *   BENCH_PAIRS, BENCH_FLOW_MS as in data-path.ts
 *   BENCH_REALTIME=1: all processes of a measurement before everything else on this machine (chrt), where it is not quiet
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { execute, makeNamespace, type Namespace, waitFor } from '../test/host/namespace.ts';
import type { TextOptions } from '../test/host/tunnel-process.ts';
import { overheadOf } from '../src/tunnel/frame.ts';
import { encodeKey, keyPairFrom } from '../src/tunnel/keys.ts';
import { buildProgram, type Program } from './program.ts';
import { keepReport, median, printReport, type Row } from './report.ts';

const PAIRS = Number(process.env.BENCH_PAIRS ?? 20);
const FLOW_MS = Number(process.env.BENCH_FLOW_MS ?? 300);
const IPERF_S = 1;
const FIRST = process.env.BENCH_REALTIME === '1' ? ['chrt', '--rr', '1'] : [];
const PROCESS = join(import.meta.dirname, '../test/host/tunnel-process.ts');

/** Each road has addresses of its own: 10.<net>.<node>.1. */
type RoadName = 'vxlan' | 'plain' | 'aes-256-gcm' | 'chacha20-poly1305' | 'wireguard-go';
const NETS: Readonly<Record<RoadName, number>> = {
  vxlan: 78,
  plain: 77,
  'aes-256-gcm': 79,
  'chacha20-poly1305': 80,
  'wireguard-go': 81,
};
const outer = (node: number): string => `192.168.77.${node}`;
const inner = (road: RoadName, node: number): string => `10.${NETS[road]}.${node}.1`;

type Ground = { readonly nodes: readonly [Namespace, Namespace]; readonly processes: ChildProcess[] };

const both = (work: (own: number, other: number, netns: Namespace) => void, { nodes }: Ground): void => {
  work(1, 2, nodes[0]);
  work(2, 1, nodes[1]);
};

function addAddresses(netns: Namespace, device: string, road: RoadName, own: number): void {
  netns.ip(`addr add ${inner(road, own)}/16 dev ${device}`);
  netns.ip(`link set ${device} up`);
}

function addVxlan(ground: Ground): void {
  both((own, other, netns) => {
    const ends = `local ${outer(own)} remote ${outer(other)}`;
    netns.ip(`link add vx0 mtu 1450 type vxlan id 7 dstport 4789 ${ends} dev eth0`);
    addAddresses(netns, 'vx0', 'vxlan', own);
  }, ground);
}

const keyOf = (node: number): Buffer => Buffer.alloc(32, node);

async function addTunnel(ground: Ground, road: Exclude<RoadName, 'vxlan' | 'wireguard-go'>): Promise<void> {
  const port = 7000 + NETS[road];
  const device = `tun${NETS[road]}`;
  const sealed = road !== 'plain';
  const started: Promise<void>[] = [];
  both((own, other, netns) => {
    const options: TextOptions = {
      node: `node${own}`,
      device,
      mtu: 1500 - overheadOf(4, sealed),
      port,
      ...(sealed ? { cipher: road, secrets: { privateKeys: [keyOf(own).toString('base64')] } } : {}),
      peers: [
        {
          name: `node${other}`,
          endpoint: { address: address(outer(other)), port },
          prefixes: [prefix(`10.${NETS[road]}.${other}.0/24`)],
          publicKeys: [encodeKey(keyPairFrom(keyOf(other)).publicKey)],
        },
      ],
    };
    const argv = [...FIRST, process.execPath, PROCESS];
    const child = netns.start(argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    ground.processes.push(child);
    child.stdin?.write(`${JSON.stringify(options)}\n`);
    let isUp = false;
    if (child.stdout !== null)
      createInterface({ input: child.stdout }).on('line', (line) => (isUp ||= line.includes('started')));
    started.push(
      waitFor('the tunnel', () => isUp, 30_000).then(() => addAddresses(netns, device, road, own)),
    );
  }, ground);
  await Promise.all(started);
}

/** False where it is not installed. */
async function addWireguardGo(ground: Ground): Promise<boolean> {
  try {
    execFileSync('sh', ['-c', 'command -v wireguard-go && command -v wg'], { stdio: 'ignore' });
  } catch {
    return false;
  }
  const work: Promise<unknown>[] = [];
  both((own, other, netns) => {
    const argv = [
      ...FIRST,
      'env',
      'WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1',
      'wireguard-go',
      '-f',
      `wg${own}`,
    ];
    ground.processes.push(netns.start(argv));
    const set = async (): Promise<void> => {
      await waitFor(
        'wireguard-go',
        async () => (await netns.run(['wg', 'show', `wg${own}`])).code === 0,
        30_000,
      );
      const publicKey = encodeKey(keyPairFrom(keyOf(other)).publicKey);
      const words = [
        'wg',
        'set',
        `wg${own}`,
        'listen-port',
        '7081',
        'private-key',
        '/dev/stdin',
        'peer',
        publicKey,
      ];
      const ends = [
        'allowed-ips',
        `10.${NETS['wireguard-go']}.${other}.0/24`,
        'endpoint',
        `${outer(other)}:7081`,
      ];
      // Node's pipes are sockets, which /dev/stdin cannot open.
      await netns.must(['sh', '-c', 'cat | "$@"', 'sh', ...words, ...ends], {
        input: keyOf(own).toString('base64'),
      });
      addAddresses(netns, `wg${own}`, 'wireguard-go', own);
      netns.ip(`link set wg${own} mtu 1420`);
    };
    work.push(set());
  }, ground);
  await Promise.all(work);
  return true;
}

type Flow = { readonly title: string; readonly words: readonly [string, number]; readonly unit: string };
/**
 * `iperf3` is what everybody measures with, and itself takes as much CPU time as the kernel's tunnel: what is between its
 * ends shows less than with flow.c.
 */
const FLOWS = {
  iperfOne: { title: 'iperf3, one flow', words: ['iperf3', 1], unit: 'Mbit/s' },
  iperfFour: { title: 'iperf3, four flows', words: ['iperf3', 4], unit: 'Mbit/s' },
  one: { title: 'TCP, one flow', words: ['tcp', 1], unit: 'Mbit/s' },
  four: { title: 'TCP, four flows', words: ['tcp', 4], unit: 'Mbit/s' },
  small: { title: 'UDP, 64 bytes', words: ['udp', 1], unit: 'kpps' },
  trips: { title: 'TCP round trips', words: ['rr', 1], unit: 'k/s' },
} as const satisfies Record<string, Flow>;

/** What is measured, and what the issue asks of it. */
type Comparison = {
  readonly ours: RoadName;
  readonly peer: RoadName;
  readonly flow: Flow;
  readonly least?: number;
};
const COMPARISONS: readonly Comparison[] = [
  { ours: 'plain', peer: 'vxlan', flow: FLOWS.iperfOne },
  { ours: 'plain', peer: 'vxlan', flow: FLOWS.iperfFour },
  { ours: 'plain', peer: 'vxlan', flow: FLOWS.one, least: 0.8 },
  { ours: 'plain', peer: 'vxlan', flow: FLOWS.four, least: 0.8 },
  { ours: 'plain', peer: 'vxlan', flow: FLOWS.small, least: 0.5 },
  { ours: 'plain', peer: 'vxlan', flow: FLOWS.trips },
  { ours: 'aes-256-gcm', peer: 'vxlan', flow: FLOWS.one, least: 0.2 },
  { ours: 'aes-256-gcm', peer: 'vxlan', flow: FLOWS.four, least: 0.2 },
  { ours: 'aes-256-gcm', peer: 'vxlan', flow: FLOWS.small, least: 0.5 },
  { ours: 'aes-256-gcm', peer: 'wireguard-go', flow: FLOWS.one, least: 3 },
  { ours: 'aes-256-gcm', peer: 'wireguard-go', flow: FLOWS.four, least: 3 },
  { ours: 'aes-256-gcm', peer: 'wireguard-go', flow: FLOWS.small },
  { ours: 'chacha20-poly1305', peer: 'wireguard-go', flow: FLOWS.one },
];

let port = 20_000;

async function measure(ground: Ground, program: Program, road: RoadName, flow: Flow): Promise<number> {
  const [from, to] = ground.nodes;
  for (let attempt = 1; ; attempt += 1) {
    port = port === 60_000 ? 20_000 : port + 1;
    const [mode, streams] = flow.words;
    if (mode === 'iperf3') return measureIperf(ground, road, streams);
    const words = [mode, from.path, to.path, inner(road, 2), port, streams, FLOW_MS].map(String);
    const { code, stdout, stderr } = await execute([...FIRST, program.path, ...words]);
    if (code === 0) return Number(stdout.split('\t')[0]);
    if (attempt === 5) throw new Error(`flow ${words.join(' ')}: ${stderr}${stdout}`);
  }
}

/** Received, Mbit/s. */
async function measureIperf({ nodes: [from, to] }: Ground, road: RoadName, streams: number): Promise<number> {
  const server = to.start([...FIRST, 'iperf3', '-s', '-1', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(server, 'exit');
  await once(server.stdout ?? server, 'data');
  const words = ['-c', inner(road, 2), '-t', String(IPERF_S), '-O', '0.2', '-P', String(streams), '-J'];
  const said = await from.must([...FIRST, 'iperf3', ...words]);
  await ended;
  const { end } = JSON.parse(said) as { end: { sum_received: { bits_per_second: number } } };
  return end.sum_received.bits_per_second / 1e6;
}

async function compare(ground: Ground, program: Program, what: Comparison): Promise<Row> {
  const { ours, peer, flow, least } = what;
  const values: { readonly ours: number[]; readonly peer: number[] } = { ours: [], peer: [] };
  for (const road of [ours, peer]) await measure(ground, program, road, flow);
  for (let pair = 0; pair < PAIRS; pair += 1)
    for (const side of pair % 2 === 0 ? (['ours', 'peer'] as const) : (['peer', 'ours'] as const))
      values[side].push(await measure(ground, program, what[side], flow));
  return {
    what: `${flow.title}: ${ours} / ${peer}`,
    unit: flow.unit,
    ours: median(values.ours),
    peer: median(values.peer),
    pairs: values.ours.map((value, index) => value / (values.peer[index] ?? Number.NaN)),
    ...(least === undefined ? {} : { target: { sense: '≥', ratio: least } as const }),
  };
}

function makeGround(): Ground {
  const nodes = [makeNamespace('bt-1'), makeNamespace('bt-2')] as const;
  nodes[0].ip(`link add eth0 type veth peer name eth0 netns ${nodes[1].name}`);
  const ground: Ground = { nodes, processes: [] };
  both((own, _, netns) => {
    netns.ip(`addr add ${outer(own)}/24 dev eth0`);
    netns.ip('link set eth0 up');
  }, ground);
  return ground;
}

/** BENCH_TUNNEL: only comparisons whose line holds this. */
const ONLY = process.env.BENCH_TUNNEL ?? '';

export async function benchTunnel(): Promise<void> {
  const program = buildProgram('flow');
  const ground = makeGround();
  try {
    addVxlan(ground);
    for (const road of ['plain', 'aes-256-gcm', 'chacha20-poly1305'] as const) await addTunnel(ground, road);
    const hasPeer = await addWireguardGo(ground);
    if (!hasPeer) console.log('tunnel: not compared with wireguard-go: it is not installed');
    const rows: Row[] = [];
    for (const what of COMPARISONS) {
      if (what.peer === 'wireguard-go' && !hasPeer) continue;
      if (`${what.flow.title}: ${what.ours} / ${what.peer}`.includes(ONLY))
        rows.push(await compare(ground, program, what));
    }
    printReport(`userspace tunnel; ${PAIRS} interleaved pairs of ${FLOW_MS} ms, medians`, rows);
    keepReport('tunnel', { at: new Date().toISOString(), rows });
  } finally {
    for (const child of ground.processes) child.kill('SIGTERM');
    for (const netns of ground.nodes) netns.remove();
    program.remove();
  }
}
