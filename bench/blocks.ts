/**
 * 10,000 blocks of addresses claimed by 50 claimants at once, in ten processes, on each store: the rate, and that no block was given to
 * two. Every claim is on stable storage when it is answered.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { blockProblem, freeOf, nodesOf } from '#ipam/blocks/block.ts';
import { etcdEndpoint, startEtcd } from '#lab/etcd.ts';
import { endProcess } from '#lab/process.ts';
import { labDirectory } from '#lab/topology.ts';
import type { Block } from '#model/block.ts';
import type { StoreSettings } from '#model/settings.ts';
import { contains } from '#net/prefix.ts';
import { openStore } from '#stores/open.ts';
import { type ClaimantOrder, type ClaimantReport, POOL } from './blocks-claimant.ts';
import { keepReport, percentile, printReport, type Row } from './report.ts';

const CLAIMS = Number(process.env['BLOCK_CLAIMS'] ?? 10_000);
const CLAIMANTS = 50;
const PROCESSES = 10;

type Claimant = {
  readonly isReady: Promise<void>;
  readonly go: () => void;
  readonly report: Promise<ClaimantReport>;
};

function start(order: ClaimantOrder): Claimant {
  const script = join(import.meta.dirname, 'blocks-claimant.ts');
  const child = spawn(process.execPath, [script, JSON.stringify(order)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error('a claimant ended before its time');
    return value;
  };
  const isReady = next().then(() => undefined);
  const report = isReady.then(next).then((line) => JSON.parse(line) as ClaimantReport);
  return { isReady, go: () => void child.stdin.end('go\n'), report };
}

/** Seconds from the moment when all begin until the last has ended. */
async function claimOn(store: StoreSettings): Promise<{ seconds: number; claimMs: number[] }> {
  const blocksEach = CLAIMS / CLAIMANTS;
  const names = Array.from({ length: CLAIMANTS }, (_, index) => `node-${index}`);
  const claimants = Array.from({ length: PROCESSES }, (_, part) =>
    start({ store, names: names.filter((_name, index) => index % PROCESSES === part), blocksEach }),
  );
  await Promise.all(claimants.map(({ isReady }) => isReady));
  const begun = performance.now();
  for (const one of claimants) one.go();
  const reports = await Promise.all(claimants.map(({ report }) => report));
  const seconds = (performance.now() - begun) / 1000;
  await assertApart(store, blocksEach);
  return { seconds, claimMs: reports.flatMap(({ claimMs }) => claimMs) };
}

/** As many blocks as claims, each somebody's as a whole, and each claimant's share. */
async function assertApart(settings: StoreSettings, blocksEach: number): Promise<void> {
  const store = await openStore(settings);
  const objects = await store.list('Block');
  store.close();
  assert.equal(objects.length, CLAIMS);
  const shares = new Map<string, number>();
  for (const { name, value } of objects) {
    const block = value as Block;
    assert.equal(blockProblem(name, value), undefined);
    assert.ok(contains(POOL, block.prefix) && block.prefix.endsWith('/26'));
    assert.deepEqual([nodesOf(block).length, freeOf(block).length], [1, 0]);
    shares.set(block.node ?? '', (shares.get(block.node ?? '') ?? 0) + 1);
  }
  assert.deepEqual([...new Set(shares.values())], [blocksEach]);
}

async function onDirectory(): Promise<Awaited<ReturnType<typeof claimOn>>> {
  const path = mkdtempSync(join(tmpdir(), 'bl-bench-'));
  try {
    return await claimOn({ type: 'directory', path });
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}

async function onEtcd(): Promise<Awaited<ReturnType<typeof claimOn>>> {
  const name = `bl-bench-${process.pid}`;
  const etcd = await startEtcd(name);
  try {
    const settings = { endpoints: [etcdEndpoint(name)], prefix: '/tartan', requestTimeoutSeconds: 30 };
    return await claimOn({ type: 'etcd', etcd: settings });
  } finally {
    await endProcess(etcd, 'SIGKILL');
    rmSync(labDirectory(name), { recursive: true, force: true });
  }
}

export async function benchBlocks(): Promise<void> {
  const rows: Row[] = [];
  for (const [what, measure] of [
    ['directory', onDirectory],
    ['etcd', onEtcd],
  ] as const) {
    const { seconds, claimMs } = await measure();
    rows.push(
      { what: `${what}: claims per second`, unit: '/s', ours: CLAIMS / seconds },
      { what: `${what}: a claim, median`, unit: 'ms', ours: percentile(claimMs, 0.5) },
      { what: `${what}: a claim, 99 %`, unit: 'ms', ours: percentile(claimMs, 0.99) },
    );
  }
  printReport(`${CLAIMS} blocks, ${CLAIMANTS} claimants, no duplicate`, rows);
  keepReport('blocks', { at: new Date().toISOString(), claims: CLAIMS, claimants: CLAIMANTS, rows });
}
