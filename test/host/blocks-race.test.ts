/**
 * Many processes take addresses of one directory store at once, thousands of times, and are killed at any moment: no address is ever
 * two pods', what a killed one held is there for its next start, and what a removed one held is free after the grace.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BlockReclaimer } from '../../src/controller/blocks-reclaim.ts';
import type { Seen } from '../../src/agent/addresses/blocks-holder.ts';
import type { Events } from '../../src/lib/log.ts';
import { addressAt, blockProblem, freeOf, heldBy, lastNumber, nodesOf } from '../../src/ipam/blocks/block.ts';
import { BlockIndex } from '../../src/ipam/blocks/block-index.ts';
import { learnBlock } from '../../src/ipam/blocks/seen.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { Block } from '../../src/model/block.ts';
import { contains, overlaps } from '../../src/net/prefix.ts';
import { openDirectoryStore } from '../../src/stores/directory.ts';
import type { Store } from '../../src/stores/store.ts';
import { RACE_POOL, readLedger } from './blocks-claimant.ts';
import { waitFor } from './namespace.ts';

const CLAIMANTS = 6;
const ROUNDS = 3;
/** Before each kill, at least. */
const CLAIMS = 120;

type Claimant = { readonly name: string; readonly ledger: string; claims: number; starts: number };
type Running = { readonly child: ChildProcess; readonly ended: Promise<number | null> };

function start(store: string, one: Claimant, times: number): Running {
  const script = join(import.meta.dirname, 'blocks-claimant.ts');
  const child = spawn(process.execPath, [script, store, one.name, one.ledger, String(times)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  one.starts += 1;
  child.stdout.on('data', (chunk: Buffer) => (one.claims += chunk.length));
  return { child, ended: new Promise((resolve) => child.on('close', (code) => resolve(code))) };
}

/** Every pod of every ledger has an address of its own, which its claimant holds in the store. */
async function assertApart(store: Store, claimants: readonly Claimant[]): Promise<Block[]> {
  const objects = await store.list('Block');
  for (const { name, value } of objects) assert.equal(blockProblem(name, value), undefined);
  const blocks = objects.map(({ value }) => value as Block);
  for (const block of blocks) {
    assert.ok(contains(RACE_POOL, block.prefix));
    assert.ok(!blocks.some((other) => other !== block && overlaps(other.prefix, block.prefix)));
  }
  const owners = new Map<string, string>();
  for (const { name, ledger } of claimants) {
    const held = new Set(blocks.flatMap((block) => heldBy(block, name).map((n) => addressAt(block, n))));
    for (const [pod, ip] of readLedger(ledger)) {
      assert.equal(owners.get(ip), undefined, `${ip} is ${pod}’s and ${owners.get(ip)}’s`);
      owners.set(ip, pod);
      assert.ok(held.has(ip), `${name} uses ${ip} without holding it`);
    }
  }
  return blocks;
}

test('thousands of claims by processes that are killed: no address twice, none lost', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'bl-race-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  const claimants = Array.from({ length: CLAIMANTS }, (_, index): Claimant => {
    const name = `node-${index}`;
    return { name, ledger: join(path, `${name}.ledger`), claims: 0, starts: 0 };
  });
  const store = openDirectoryStore(path);
  t.after(() => store.close());

  for (let round = 0; round < ROUNDS; round += 1) {
    const before = claimants.map(({ claims }) => claims);
    const running = claimants.map((one) => start(path, one, 1_000_000));
    t.after(() => running.forEach(({ child }) => child.kill('SIGKILL')));
    // Each is killed at a moment of its own, once it has claimed something.
    await Promise.all(
      running.map(async ({ child, ended }, index) => {
        const one = claimants[index] as Claimant;
        await waitFor(`${one.name} to claim`, () => one.claims >= (before[index] ?? 0) + CLAIMS, 120_000);
        await sleep(Math.random() * 200);
        child.kill('SIGKILL');
        assert.equal(await ended, null, 'it ended by the signal');
      }),
    );
    await assertApart(store, claimants);
  }
  const total = claimants.reduce((sum, { claims }) => sum + claims, 0);
  t.diagnostic(`${total} claims by ${CLAIMANTS} claimants, each killed ${ROUNDS} times`);
  assert.ok(total >= CLAIMANTS * ROUNDS * CLAIMS);

  await t.test('a last start gives back all but what its pods use', async () => {
    // A claimant that is full of nothing gives back what is spare after some claims.
    const ends = claimants.map((one) => start(path, one, 40).ended);
    assert.deepEqual(await Promise.all(ends), Array(CLAIMANTS).fill(0));
    await assertApart(store, claimants);
  });

  await t.test('claimants that are removed lose everything after the grace; the others nothing', async () => {
    const [gone, stay] = [claimants.slice(0, 4), claimants.slice(4)];
    for (const { name } of stay) await store.put('Node', name, { name });
    await reclaim(store, new Set(stay.map(({ name }) => name)));
    const blocks = await assertApart(store, stay);
    const named = new Set(blocks.flatMap(nodesOf));
    for (const { name } of gone) assert.ok(!named.has(name), `${name} holds something still`);
    const free = blocks.reduce((sum, block) => sum + freeOf(block).length, 0);
    const held = stay.reduce((sum, { name }) => sum + blocks.flatMap((one) => heldBy(one, name)).length, 0);
    const all = blocks.reduce((sum, { prefix }) => sum + lastNumber(prefix), 0);
    assert.equal(free + held, all, 'every address is free or held by somebody who is there');
  });
});

async function reclaim(store: Store, nodes: ReadonlySet<string>): Promise<void> {
  const clock = manualClock();
  const index = new BlockIndex<Seen>();
  for (const object of await store.list('Block')) learnBlock(index, object.name, object);
  const events = { add: () => {} } as unknown as Events;
  const reclaimer = new BlockReclaimer({
    store,
    clock,
    events,
    index,
    nodes: () => nodes,
    graceMs: () => 1000,
    mayTake: () => true,
  });
  await reclaimer.look();
  await clock.advance(1000);
  for (let pass = 0; pass < 3; pass += 1) {
    await reclaimer.look();
    for (const prefix of [...index.values()].map((block) => block.prefix)) index.set(prefix, undefined);
    for (const object of await store.list('Block')) learnBlock(index, object.name, object);
  }
}
