/**
 * Processes that were told different lengths of blocks take the first blocks of empty pools at the same moment, and some are
 * killed meanwhile: in each pool all blocks are of one length, so none overlap. On each store that a cluster's nodes may share.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StoreSettings } from '../../src/model/settings.ts';
import { contains, type Prefix, prefix, prefixLength } from '../../src/net/prefix.ts';
import { openStore } from '../../src/stores/open.ts';
import { noEtcd, startEtcd } from '../runtimes/etcd.ts';

/** Of the claimants, in bits; each pool has room for two of the largest. */
const LENGTHS = [26, 27, 28, 26] as const;
const POOLS = Array.from({ length: 24 }, (_, index) => prefix(`10.70.${index}.0/25`));
/** In every so manieth pool one of them is killed. */
const KILL = 4;

type Claimant = {
  readonly child: ChildProcess;
  /** The next line of its output; undefined: it has ended. */
  readonly answer: () => Promise<string | undefined>;
};

async function startClaimant(settings: StoreSettings, index: number): Promise<Claimant> {
  const script = join(import.meta.dirname, 'block-lengths-claimant.ts');
  const words = [script, JSON.stringify(settings), `node-${index}`, String(LENGTHS[index])];
  const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  // Whoever was killed reads no more.
  child.stdin.on('error', () => {});
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const answer = async (): Promise<string | undefined> => (await lines.next()).value;
  assert.equal(await answer(), 'ready');
  return { child, answer };
}

async function race(settings: StoreSettings, claimants: Claimant[]): Promise<void> {
  for (const index of LENGTHS.keys()) claimants.push(await startClaimant(settings, index));
  for (const [turn, pool] of POOLS.entries()) {
    const victim = turn % KILL === KILL - 1 ? Math.floor(turn / KILL) % LENGTHS.length : undefined;
    for (const { child } of claimants) child.stdin?.write(`${pool}\n`);
    const answers = claimants.map(({ answer }) => answer());
    if (victim !== undefined) {
      await sleep(Math.random() * 12);
      claimants[victim]?.child.kill('SIGKILL');
    }
    for (const [index, answer] of (await Promise.all(answers)).entries())
      assert.ok(answer === 'ok' || (index === victim && answer === undefined), `${pool}: ${answer}`);
    if (victim !== undefined) claimants[victim] = await startClaimant(settings, victim);
  }
}

async function lengthsIn(settings: StoreSettings): Promise<Map<Prefix, Set<number>>> {
  const store = await openStore(settings);
  const blocks = (await store.list('Block')).map(({ value }) => (value as { prefix: Prefix }).prefix);
  store.close();
  const of = (pool: Prefix): number[] => blocks.filter((one) => contains(pool, one)).map(prefixLength);
  return new Map(POOLS.map((pool) => [pool, new Set(of(pool))]));
}

for (const type of ['directory', 'etcd'] as const) {
  const skip = type === 'etcd' && noEtcd;
  test(`${type}: the first block of a pool decides how long all are`, { skip }, async (t) => {
    await using stack = new AsyncDisposableStack();
    const path = mkdtempSync(join(tmpdir(), 'rd-lengths-'));
    stack.defer(() => rmSync(path, { recursive: true, force: true }));
    const settings: StoreSettings =
      type === 'directory' ? { type, path } : { type, etcd: stack.use(await startEtcd()).settings };
    const claimants: Claimant[] = [];
    stack.defer(() => claimants.forEach(({ child }) => child.kill('SIGKILL')));
    await race(settings, claimants);
    const found = await lengthsIn(settings);
    for (const [pool, lengths] of found) assert.equal(lengths.size, 1, `${pool}: ${[...lengths].join(' ')}`);
    const won = [...found.values()].flatMap((lengths) => [...lengths]);
    t.diagnostic(
      LENGTHS.map((length) => `/${length}: ${won.filter((one) => one === length).length}`).join(', '),
    );
  });
}
