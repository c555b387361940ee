/**
 * How long a new block takes until its route is with all of 100 BGP peers: from the object in the store, by the agent and its BIRD,
 * beside a BIRD alone whose file is written and read anew. The peers are one BIRD with a table of the kernel for each.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Block } from '#model/block.ts';
import type { NodeAdvert } from '#model/world.ts';
import { address } from '#net/address.ts';
import { prefix, type Prefix } from '#net/prefix.ts';
import { openControl } from '../src/bird/control.ts';
import { formatObject } from '../src/stores/object-file.ts';
import type { StoreKind } from '../src/stores/store.ts';
import {
  makeForwarding,
  makeNamespace,
  type Namespace,
  waitFor,
  whyNoKernel,
} from '../test/host/namespace.ts';
import { makeUnderlay, startNode, whyNoTartan } from '../test/host/node.ts';
import { keepReport, median, percentile, printReport, type Row } from './report.ts';

const PEERS = 100;
const ROUNDS = Number(process.env['BENCH_ROUTE_ROUNDS'] ?? 21);
const AS = 64_512;
const [OURS, ALONE] = ['172.30.0.1', '172.30.0.2'];
const addressOf = (peer: number): string => `172.30.0.${100 + peer}`;
const TABLE = 1000;
/** BIRD has one session with an address and port: each peer takes a port of its own, which becomes BGP's on the way. */
const PORT = 10_000;
const range = <T>(make: (index: number) => T): T[] =>
  Array.from({ length: PEERS }, (_, index) => make(index));

type Daemon = { readonly configure: () => Promise<void>; readonly stop: () => void };

async function startDaemon(netns: Namespace, directory: string, config: string): Promise<Daemon> {
  const at = (name: string): string => join(directory, `${netns.name}.${name}`);
  writeFileSync(at('conf'), config);
  await netns.must(['bird', '-c', at('conf'), '-s', at('ctl'), '-P', at('pid')]);
  const control = await openControl(at('ctl'), 60_000);
  return {
    configure: async () => {
      const { failed } = await control.ask('configure');
      if (failed) throw new Error('BIRD refuses its configuration');
    },
    stop: () => {
      control.close();
      process.kill(Number(readFileSync(at('pid'), 'utf8')), 'SIGKILL');
    },
  };
}

/** Each peer hears both speakers, and puts what it hears into a table of its own. */
function configOfPeers(): string {
  const sessions = range((peer) => {
    const session = (name: string, speaker: string): string =>
      `protocol bgp ${name}${peer} { local ${addressOf(peer)} as ${AS}; neighbor ${speaker} port ${PORT + peer} as ${AS}; multihop; connect retry time 1; connect delay time 1; ipv4 { table t${peer}; igp table master4; import all; export none; }; }`;
    return `ipv4 table t${peer};
protocol kernel k${peer} { ipv4 { table t${peer}; import none; export where source = RTS_BGP; }; kernel table ${TABLE + peer}; scan time 600; }
${session('ours', OURS)}
${session('alone', ALONE)}`;
  });
  return `router id 172.30.0.200;\nprotocol device { }\nprotocol direct { ipv4; }\n${sessions.join('\n')}\n`;
}

/** What a careful operator would write by hand. */
function configOfAlone(directory: string): string {
  const sessions = range(
    (peer) =>
      `protocol bgp p${peer} { local ${ALONE} as ${AS}; neighbor ${addressOf(peer)} as ${AS}; multihop; passive; ipv4 { import none; export where source = RTS_STATIC; }; }`,
  );
  return `router id ${ALONE};
protocol device { }
protocol static {
  ipv4;
include "${directory}/routes.conf";
}
${sessions.join('\n')}
`;
}

/** Tells when the kernel has the prefix in the tables of all peers. */
type Arrivals = { readonly all: (wanted: Prefix) => Promise<number>; readonly stop: () => void };

function watchArrivals(netns: Namespace): Arrivals {
  const monitor: ChildProcess = spawn('ip', ['-n', netns.name, '-4', 'monitor', 'route'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const tables = new Map<string, Set<string>>();
  const waiting = new Map<string, (at: number) => void>();
  let rest = '';
  monitor.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const at = performance.now();
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const [, route, table] = /^(\S+) .*table (\d+)/.exec(line) ?? [];
      if (route === undefined || table === undefined) continue;
      const seen = tables.get(route) ?? new Set();
      tables.set(route, seen.add(table));
      if (seen.size === PEERS) waiting.get(route)?.(at);
    }
  });
  return {
    all: (wanted) => {
      const late = new Promise<never>((_, reject) => {
        const why = (): Error =>
          new Error(`${wanted} is with ${tables.get(wanted)?.size ?? 0} peers after a minute`);
        setTimeout(() => reject(why()), 60_000).unref();
      });
      const come = new Promise<number>((resolve) => waiting.set(wanted, resolve));
      return Promise.race([come, late]);
    },
    stop: () => void monitor.kill(),
  };
}

function writeObject(store: string, object: { kind: StoreKind; name: string; value: unknown }): void {
  const folder = join(store, 'state', object.kind);
  mkdirSync(folder, { recursive: true });
  const beside = join(folder, '.bench');
  writeFileSync(beside, formatObject({ ...object, revision: 1 }));
  renameSync(beside, join(folder, `${object.name}.yaml`));
}

/** They have no pods: nothing of them is to be learned. */
function fillStore(store: string): void {
  for (const peer of range((index) => index)) {
    const value: NodeAdvert = {
      name: `peer-${peer}`,
      addresses: { 4: address(addressOf(peer)) },
      subnets: {},
      road: 'bgp',
      routing: {},
      mtu: 1500,
      ready: true,
    };
    writeObject(store, { kind: 'Node', name: value.name, value });
  }
}

function writeBlock(store: string, node: string, block: Prefix): void {
  const value: Block = { prefix: block, node, free: '1-63', holders: {} };
  writeObject(store, { kind: 'Block', name: block.replace('/', '-'), value });
}

type Ways = Readonly<Record<'ours' | 'alone', (round: number) => Promise<number>>>;

async function measure(ways: Ways): Promise<Record<'ours' | 'alone', number[]>> {
  const figures: Record<'ours' | 'alone', number[]> = { ours: [], alone: [] };
  // The first of each shows that all sessions are there, and does not count.
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const who of round % 2 === 0 ? (['ours', 'alone'] as const) : (['alone', 'ours'] as const)) {
      const took = await ways[who](round);
      if (round > 0) figures[who].push(took);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return figures;
}

export async function benchRoutes(): Promise<void> {
  const why = whyNoTartan() ?? whyNoKernel(['bird']);
  if (why !== undefined) throw new Error(why);
  const directory = mkdtempSync(join(tmpdir(), 'bg-routes-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const underlay = await makeUnderlay('bg-routes');
  stack.defer(() => underlay.remove());
  const place = async (label: string, index: number): Promise<Namespace> => {
    const netns = makeNamespace(label);
    stack.defer(() => netns.remove());
    await makeForwarding(netns);
    underlay.plug(netns, index);
    return netns;
  };
  const peersNetns = await place('bg-peers', 200);
  for (const peer of range((index) => index)) peersNetns.ip(`addr add ${addressOf(peer)}/24 dev eth0`);
  const redirect = `table ip bench { chain out { type nat hook output priority -100; tcp dport ${PORT}-${PORT + PEERS} dnat to :179; }; }`;
  await peersNetns.must(['nft', '-f', '-'], { input: redirect });
  const peers = await startDaemon(peersNetns, directory, configOfPeers());
  stack.defer(() => peers.stop());
  writeFileSync(join(directory, 'routes.conf'), '');
  const alone = await startDaemon(await place('bg-alone', 2), directory, configOfAlone(directory));
  stack.defer(() => alone.stop());
  const store = join(directory, 'store');
  fillStore(store);
  const settings = { profile: 'calico', road: { mode: 'Never' }, log: { level: 'warn' } };
  const node = await startNode('bg-ours', settings, { underlay, index: 1, store });
  stack.defer(async () => {
    await node.run(['uninstall', '--purge']);
    await node.stop();
  });
  const arrivals = watchArrivals(peersNetns);
  stack.defer(() => arrivals.stop());
  await waitFor('all sessions of the agent', () => allUp(node), 120_000);
  const routes: string[] = [];
  const figures = await measure({
    ours: async (round) => {
      const block = prefix(`10.244.${200 + round}.0/26`);
      const come = arrivals.all(block);
      const begun = performance.now();
      writeBlock(store, 'bg-ours', block);
      return (await come) - begun;
    },
    alone: async (round) => {
      const block = prefix(`10.99.${round}.0/26`);
      const come = arrivals.all(block);
      routes.push(`route ${block} blackhole;\n`);
      const begun = performance.now();
      writeFileSync(join(directory, 'routes.conf'), routes.join(''));
      await alone.configure();
      return (await come) - begun;
    },
  });
  const rows: Row[] = [
    { what: 'median', unit: 'ms', ours: median(figures.ours), peer: median(figures.alone) },
    { what: '95 %', unit: 'ms', ours: percentile(figures.ours, 0.95), peer: percentile(figures.alone, 0.95) },
    {
      what: 'more than BIRD alone (median)',
      unit: 'ms',
      ours: median(figures.ours) - median(figures.alone),
      target: { sense: '≤', limit: 20 },
    },
  ];
  const title = `a new block’s route with ${PEERS} BGP peers, ${ROUNDS} rounds, beside BIRD alone`;
  printReport(title, rows);
  keepReport('routes', { title, rows, figures });
}

async function allUp(node: { run(words: readonly string[]): Promise<{ stdout: string }> }): Promise<boolean> {
  const { stdout } = await node.run(['routes', '-o', 'json']);
  const { sessions = [] } = JSON.parse(stdout || '{}') as { sessions?: { up: boolean }[] };
  return sessions.length === PEERS && sessions.every(({ up }) => up);
}
