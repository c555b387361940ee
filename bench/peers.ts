/**
 * Five thousand peers: programming their 15,000 objects beside `ip -batch` and `bridge -batch` of the same objects, an
 * agent's start beside the same batches, and how long one node's advert takes from the store to the kernel. The store
 * holds what 5,000 live nodes leave there: a Node and a SubnetClaim each.
 */
import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { claimName } from '#ipam/subnet.ts';
import { openKernel } from '#kernel/linux.ts';
import { openNetns, ready as poolWarm } from '#kernel/netns.ts';
import { diff } from '#model/diff.ts';
import { hostState, type Item, keyOf } from '#model/host.ts';
import { MAIN_TABLE, METRIC, ROUTE_PROTOCOL } from '#model/numbers.ts';
import { showItem } from '#model/show.ts';
import type { NodeAdvert } from '#model/world.ts';
import { address } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import { prefix } from '#net/prefix.ts';
import { formatObject } from '../src/stores/object-file.ts';
import type { StoreKind } from '../src/stores/store.ts';
import { execute, makeNamespace, type Namespace, waitFor } from '../test/host/namespace.ts';
import { makeUnderlay, type Node, startNode, whyNoTartan } from '../test/host/node.ts';
import { cpuTimeMs, endAgent, spawnAgent, whenSaid } from './agent.ts';
import { processMb } from './memory.ts';
import { keepReport, median, percentile, printReport, type Row } from './report.ts';

const PEERS = Number(process.env.BENCH_PEERS ?? 5000);
const ROUNDS = Number(process.env.BENCH_PEER_ROUNDS ?? 9);
const EVENTS = Number(process.env.BENCH_EVENTS ?? 300);
const DEVICE = 'tartan.1';
const OWN_SUBNET = '10.255.250.0/24';

const hex = (byte: number): string => (byte & 255).toString(16).padStart(2, '0');

/** Peer `n` of at most 60,000. */
function advert(n: number): NodeAdvert {
  const [high, low] = [n >> 8, n & 255];
  return {
    name: `peer-${n}`,
    addresses: { 4: address(`172.31.${high}.${low}`) },
    subnets: { 4: prefix(`10.${high}.${low}.0/24`) },
    road: 'vxlan',
    vxlan: { vni: 1, port: 8472, mac: { 4: mac(`02:00:00:00:${hex(high)}:${hex(low)}`) } },
    mtu: 1500,
    ready: true,
  };
}

/** The three objects that flannel's inventory names for a VXLAN peer. */
function itemsOf(node: NodeAdvert): Item[] {
  const [subnet, remote, peerMac] = [node.subnets[4], node.addresses[4], node.vxlan?.mac[4]];
  if (subnet === undefined || remote === undefined || peerMac === undefined) throw new Error('no such peer');
  const via = address(subnet.slice(0, subnet.indexOf('/')));
  return [
    { kind: 'neighbor', link: DEVICE, address: via, mac: peerMac },
    { kind: 'fdb', link: DEVICE, mac: peerMac, remote },
    {
      kind: 'route',
      type: 'unicast',
      prefix: subnet,
      table: MAIN_TABLE,
      metric: METRIC.peer,
      link: DEVICE,
      via,
      onlink: true,
    },
  ];
}

const ITEMS = Array.from({ length: PEERS }, (_, index) => itemsOf(advert(index + 1))).flat();

/** The same objects as command files, one per program and kind: what a careful shell script would do. */
function writeBatches(folder: string): readonly (readonly [string, string])[] {
  const kinds = [
    ['ip', 'neighbor', ''],
    ['bridge', 'fdb', ''],
    ['ip', 'route', ` protocol ${ROUTE_PROTOCOL}`],
  ] as const;
  return kinds.map(([program, kind, more]) => {
    const lines = ITEMS.filter((item) => item.kind === kind).map(
      (item) => `${showItem(item).slice(program.length + 1)}${more}\n`,
    );
    const file = join(folder, kind);
    writeFileSync(file, lines.join(''));
    return [program, file] as const;
  });
}

type Batches = ReturnType<typeof writeBatches>;

async function runBatches(netns: Namespace, batches: Batches): Promise<number> {
  const begun = performance.now();
  for (const [program, file] of batches) {
    const { code, stderr } = await execute([program, '-n', netns.name, '-batch', file], {
      timeoutMs: 120_000,
    });
    if (code !== 0) throw new Error(`${program} -batch ${file}: ${stderr.slice(0, 500)}`);
  }
  return performance.now() - begun;
}

/** How many peers the kernel holds all three objects of, asked with iproute2. */
async function countProgrammed(netns: Namespace): Promise<number> {
  const routes = netns
    .list<{ dev: string; gateway?: string }>('route show table main')
    .filter(({ dev, gateway }) => dev === DEVICE && gateway !== undefined);
  const neighbors = netns.list(`neighbor show dev ${DEVICE} nud permanent`);
  const fdb = await netns.must(['bridge', 'fdb', 'show', 'dev', DEVICE]);
  const entries = fdb.split('\n').filter((line) => line.includes(' dst 172.31.'));
  return Math.min(routes.length, neighbors.length, entries.length);
}

async function expectProgrammed(netns: Namespace, who: string): Promise<void> {
  const held = await countProgrammed(netns);
  if (held < PEERS) throw new Error(`${who}: ${held} of ${PEERS} peers are in the kernel`);
}

function freshDevice(netns: Namespace): void {
  if (netns.ip('link show').includes(`${DEVICE}:`)) netns.ip(`link del ${DEVICE}`);
  netns.ip(
    `link add ${DEVICE} address 02:00:00:ff:ff:ff type vxlan id 1 local 172.30.0.1 dev eth0 dstport 8472 nolearning`,
  );
  netns.ip(`link set ${DEVICE} up`);
}

/** Both ways to program all objects, in turns, in a namespace without an agent. */
async function measureProgramming(netns: Namespace, batches: Batches) {
  await poolWarm;
  const fd = openNetns(netns.path);
  using home = openKernel();
  using kernel = home.within(fd);
  const steps = diff(hostState(ITEMS), new Map());
  const figures: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  const ways = {
    ours: (): number => {
      const begun = performance.now();
      const failures = kernel.apply(steps);
      const took = performance.now() - begun;
      if (failures.length > 0) throw new Error(`${failures.length} failures: ${failures[0]?.message}`);
      return took;
    },
    peer: () => runBatches(netns, batches),
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    const order = round % 2 === 0 ? (['ours', 'peer'] as const) : (['peer', 'ours'] as const);
    for (const who of order) {
      freshDevice(netns);
      figures[who].push(await ways[who]());
      await expectProgrammed(netns, who);
    }
  }
  netns.ip(`link del ${DEVICE}`);
  closeSync(fd);
  return figures;
}

function writeObject(store: string, object: { kind: StoreKind; name: string; value: unknown }): void {
  const folder = join(store, 'state', object.kind);
  const beside = join(folder, '.bench');
  writeFileSync(beside, formatObject({ ...object, revision: 1 }));
  renameSync(beside, join(folder, `${object.name}.yaml`));
}

function fillStore(store: string): void {
  for (const kind of ['Node', 'SubnetClaim']) mkdirSync(join(store, 'state', kind), { recursive: true });
  for (let n = 1; n <= PEERS; n += 1) {
    const node = advert(n);
    const subnet = node.subnets[4] ?? prefix('10.0.0.0/24');
    const claim = { node: node.name, subnet, reserved: false };
    writeObject(store, { kind: 'Node', name: node.name, value: node });
    writeObject(store, { kind: 'SubnetClaim', name: claimName(subnet), value: claim });
  }
}

/** As after a boot: nothing of the agent is in the kernel. */
async function clearKernel({ netns }: Node): Promise<void> {
  for (const link of [DEVICE, 'cni0']) {
    if (netns.ip('link show').includes(`${link}:`)) netns.ip(`link del ${link}`);
  }
  netns.ip(`route flush proto ${ROUTE_PROTOCOL}`);
  await netns.must(['nft', 'flush', 'ruleset']);
}

/** From the start of the process until it is ready; that the kernel holds every peer is then asked of the kernel. */
async function measureStart(node: Node): Promise<{ agent: ChildProcess; tookMs: number; cpuMs: number }> {
  const begun = performance.now();
  const agent = spawnAgent(node);
  await whenSaid(agent, `ready: ${PEERS} of ${PEERS} peers`);
  const tookMs = performance.now() - begun;
  const cpuMs = cpuTimeMs(agent.pid);
  await expectProgrammed(node.netns, 'the agent');
  return { agent, tookMs, cpuMs };
}

/** Milliseconds from the rename that puts a new node into the store to the last of its three objects in the kernel. */
async function measureEvents(node: Node, store: string): Promise<number[]> {
  const fd = openNetns(node.netns.path);
  using home = openKernel();
  using kernel = home.within(fd);
  const stop = new AbortController();
  const open = new Map<string, () => void>();
  const follow = async (): Promise<void> => {
    for await (const change of kernel.changes(stop.signal)) {
      if (change.type === 'item' && change.seen !== undefined) open.get(change.key)?.();
    }
  };
  const following = follow();
  const times: number[] = [];
  for (let n = PEERS + 1; n <= PEERS + EVENTS; n += 1) {
    const node = advert(n);
    const keys = itemsOf(node).map((item) => keyOf(item));
    const seen = keys.map((key) => new Promise<void>((done) => open.set(key, done)));
    await new Promise((resolve) => setTimeout(resolve, 5 + (n % 7)));
    const begun = performance.now();
    writeObject(store, { kind: 'Node', name: node.name, value: node });
    const late = new Promise<never>((_, reject) =>
      setTimeout(reject, 10_000, new Error(`${node.name} never came`)).unref(),
    );
    await Promise.race([Promise.all(seen), late]);
    times.push(performance.now() - begun);
    open.clear();
  }
  stop.abort();
  await following;
  closeSync(fd);
  return times;
}

type Figures = {
  readonly programming: { readonly ours: number[]; readonly peer: number[] };
  readonly start: { readonly ours: number[]; readonly peer: number[] };
  readonly startCpuMs: number[];
  readonly eventsMs: number[];
  readonly rssMb: number;
  readonly peakMb: number;
};

async function measureAgent(node: Node, store: string, batches: Batches) {
  const start: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  const startCpuMs: number[] = [];
  let eventsMs: number[] = [];
  let [rssMb, peakMb] = [0, 0];
  for (let round = 0; round < ROUNDS; round += 1) {
    await clearKernel(node);
    freshDevice(node.netns);
    start.peer.push(await runBatches(node.netns, batches));
    await clearKernel(node);
    const { agent, tookMs, cpuMs } = await measureStart(node);
    start.ours.push(tookMs);
    startCpuMs.push(cpuMs);
    if (round === ROUNDS - 1) {
      eventsMs = await measureEvents(node, store);
      rssMb = processMb(agent.pid, 'VmRSS');
      peakMb = processMb(agent.pid, 'VmHWM');
    }
    await endAgent(agent);
  }
  return { start, startCpuMs, eventsMs, rssMb, peakMb };
}

function rowsOf({ programming, start, startCpuMs, eventsMs, rssMb, peakMb }: Figures): Row[] {
  const both = ({ ours, peer }: { ours: number[]; peer: number[] }, ratio: number) => ({
    unit: 'ms',
    ours: median(ours),
    peer: median(peer),
    target: { sense: '≤', ratio } as const,
  });
  return [
    { what: 'programming alone', ...both(programming, 1.2) },
    { what: 'process start to all programmed', ...both(start, 3) },
    { what: 'the agent’s CPU time for it', unit: 'ms', ours: median(startCpuMs) },
    { what: 'one node’s event to programmed, p50', unit: 'ms', ours: median(eventsMs) },
    {
      what: 'one node’s event to programmed, p99',
      unit: 'ms',
      ours: percentile(eventsMs, 0.99),
      target: { sense: '≤', limit: 20 },
    },
    { what: 'agent’s memory, RSS', unit: 'MB', ours: rssMb, target: { sense: '≤', limit: 150 } },
    { what: 'agent’s memory, peak since its start', unit: 'MB', ours: peakMb },
  ];
}

export async function benchPeers(): Promise<void> {
  const why = whyNoTartan();
  if (why !== undefined) return console.log(`peers: not run: ${why}`);
  await using undo = new AsyncDisposableStack();
  const store = mkdtempSync(join(tmpdir(), 'be-store-'));
  undo.defer(() => rmSync(store, { recursive: true, force: true }));
  const underlay = await makeUnderlay('be');
  undo.defer(() => underlay.remove());
  const bare = makeNamespace('be-bare');
  undo.defer(() => bare.remove());
  underlay.plug(bare, 1);
  const batches = writeBatches(store);
  const programming = await measureProgramming(bare, batches);
  bare.ip('link del eth0');
  await waitFor('the port to go', () => !underlay.netns.ip('link show').includes('p1@'));
  const network = { name: 'tartan', ipv4: { range: '10.0.0.0/8', nodeSubnet: OWN_SUBNET } };
  const node = await startNode('be-peers', { network }, { underlay, index: 1, store });
  undo.defer(() => node.stop());
  await node.kill();
  fillStore(store);
  const figures = { programming, ...(await measureAgent(node, store, batches)) };
  const rows = rowsOf(figures);
  printReport(
    `${PEERS} VXLAN peers; medians of ${ROUNDS} rounds, ${EVENTS} events; peer: ip -batch and bridge -batch of the same ${ITEMS.length} objects`,
    rows,
  );
  keepReport('peers', { at: new Date().toISOString(), peers: PEERS, rows, ...figures });
}
