import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { manualClock } from '#lib/clock.ts';
import type { Lease } from '#model/lease.ts';
import { createMemoryStore } from '#stores/memory.ts';
import type { Store } from '#stores/store.ts';
import { fence } from './fence.ts';
import { Leadership, NotLeading } from './leadership.ts';
import { Simulation, type Trouble } from './testing/simulation.ts';

const TIMING = { durationMs: 15_000, deadlineMs: 10_000, retryMs: 2000 };
const TROUBLED_MS = 180_000;
const CALM_MS = 60_000;

const span = fc.record({
  process: fc.nat(2),
  atMs: fc.nat(TROUBLED_MS),
  forMs: fc.oneof(fc.nat(3000), fc.integer({ min: 16_000, max: 60_000 })),
});
const trouble: fc.Arbitrary<Trouble> = fc.record({
  seed: fc.integer({ min: 1, max: 2_000_000_000 }),
  rates: fc.array(fc.double({ min: 0.85, max: 1.15, noNaN: true }), { minLength: 3, maxLength: 3 }),
  pauses: fc.array(span, { maxLength: 6 }),
  partitions: fc.array(span, { maxLength: 6 }),
  jumps: fc.array(
    fc.record({
      process: fc.nat(2),
      atMs: fc.nat(TROUBLED_MS),
      byMs: fc.constantFrom(-86_400_000, -20_000, -9000, 9000, 20_000, 86_400_000),
    }),
    { maxLength: 6 },
  ),
  lossiness: fc.constantFrom(0, 0.1, 0.5),
  maxDelayMs: fc.constantFrom(20, 2000, 4900),
});

/** Three controllers, each of which adds one to a number while it leads. Answers what came of it. */
async function simulate(
  troubles: Trouble,
  timing = TIMING,
): Promise<{ added: number; leaders: Set<number> }> {
  const store = createMemoryStore();
  let added = 0;
  const counted: Pick<Store, 'get' | 'put'> = {
    get: (kind, name) => store.get(kind, name),
    put: async (kind, name, value, options) => {
      const stored = await store.put(kind, name, value, options);
      if (kind === 'Switch') added += 1;
      return stored;
    },
  };
  const simulation = new Simulation(counted, troubles, TROUBLED_MS);
  const stop = new AbortController();
  const processes = [0, 1, 2].map((index) => {
    const process = simulation.process(index);
    const { store, clock } = process;
    const leadership = new Leadership({
      store,
      clock,
      timing,
      name: 'test',
      identity: `p${index}`,
      random: () => simulation.random(),
    });
    void leadership.run(stop.signal);
    void act(fence(store as Store, leadership), async () => {
      do await clock.sleep(300);
      while (!leadership.isLeading);
    });
    return { ...process, leadership };
  });
  const leaders = new Set<number>();
  const leading = (): number[] =>
    [0, 1, 2].filter((index) => {
      const { leadership, isPaused } = processes[index] as (typeof processes)[0];
      return leadership.isLeading && !isPaused();
    });
  await simulation.runUntil(TROUBLED_MS + CALM_MS, () => {
    const now = leading();
    for (const index of now) leaders.add(index);
    assert.ok(
      now.length <= 1,
      `${now.map((index) => `p${index}`).join(' and ')} lead at ${simulation.nowMs}`,
    );
  });
  assert.equal(leading().length, 1, 'somebody leads once all is well');
  const { value } = (await store.get('Switch', 'n')) ?? {};
  assert.equal((value as { n: number } | undefined)?.n, added, 'no write was lost under another');
  stop.abort();
  store.close();
  return { added, leaders };
}

/** Until the process stands still for good. */
async function act(store: ReturnType<typeof fence>, turn: () => Promise<void>): Promise<never> {
  for (;;) {
    await turn();
    try {
      const found = await store.get('Switch', 'n');
      const n = 1 + ((found?.value as { n: number } | undefined)?.n ?? 0);
      await store.put('Switch', 'n', { n }, { expect: found?.version ?? 'absent' });
    } catch {
      // It was too late, or nobody knows.
    }
  }
}

test('pauses, partitions, late and lost messages, clocks that drift and jump: one leads at a time', async () => {
  let [added, changes] = [0, 0];
  await fc.assert(
    fc.asyncProperty(trouble, async (troubles) => {
      const result = await simulate(troubles);
      added += result.added;
      changes += result.leaders.size - 1;
    }),
    { numRuns: 60, endOnFailure: true },
  );
  assert.ok(added > 1000 && changes > 5, `only ${added} writes, ${changes} changes of leader`);
});

const calm = {
  seed: 7,
  rates: [1, 1, 1],
  pauses: [],
  partitions: [],
  jumps: [],
  lossiness: 0,
  maxDelayMs: 20,
};

test('a leader that stands still for long finds another when it wakes', async () => {
  const pauses = [0, 1, 2].map((process) => ({ process, atMs: 30_000 + 45_000 * process, forMs: 44_000 }));
  const { leaders } = await simulate({ ...calm, pauses });
  assert.ok(leaders.size > 1, 'another one led meanwhile');
});

test('a store that does not answer in time is led by nobody, and by one again later', async () => {
  const partitions = [0, 1, 2].map((process) => ({ process, atMs: 40_000, forMs: 60_000 }));
  const { added } = await simulate({ ...calm, partitions });
  assert.ok(added > 100);
});

function open(identity: string, clock = manualClock(1_000_000), store = createMemoryStore(clock)) {
  const leadership = new Leadership({ store, clock, timing: TIMING, name: 'test', identity });
  return { clock, store, leadership };
}

/** As `run` does, without its random part. */
async function attempts(
  leadership: Leadership,
  clock: { advance(ms: number): Promise<void> },
  times: number,
) {
  for (let time = 0; time < times; time += 1) {
    await leadership.attempt();
    await clock.advance(2000);
  }
}

test('a lease that is not there may have been removed under a leader: it is waited for all the same', async () => {
  const { clock, store, leadership } = open('a');
  await attempts(leadership, clock, 8);
  assert.equal(leadership.isLeading, false);
  await leadership.attempt();
  assert.equal(leadership.isLeading, true);
  assert.deepEqual((await store.get('Lease', 'test'))?.value, {
    holderIdentity: 'a',
    leaseDurationSeconds: 15,
    acquireTime: '1970-01-01T00:16:56.000000Z',
    renewTime: '1970-01-01T00:16:56.000000Z',
    leaseTransitions: 1,
  } satisfies Lease);
});

test('given up, it is taken at once; the one who gave it up writes nothing more', async () => {
  const { clock, store, leadership } = open('a');
  const { leadership: other } = open('b', clock, store);
  await attempts(leadership, clock, 9);
  await other.attempt();
  assert.deepEqual([leadership.isLeading, other.isLeading], [true, false]);
  await leadership.release();
  await other.attempt();
  assert.deepEqual([leadership.isLeading, other.isLeading], [false, true]);
  const fenced = fence(store, leadership);
  await assert.rejects(fenced.put('Node', 'n', {}, { expect: 'absent' }), NotLeading);
  const { value } = (await store.get('Lease', 'test')) ?? {};
  assert.equal((value as Lease).leaseTransitions, 2);
});

test('time that is set, back or forth, makes a leader ask, and never lead for longer', async () => {
  let setMs = 0;
  const still = manualClock(1_000_000);
  const clock = { ...still, nowMs: () => still.nowMs() + setMs };
  const { leadership } = open('a', clock, createMemoryStore(clock));
  await attempts(leadership, still, 9);
  for (const byMs of [3_600_000, -7_200_000]) {
    setMs += byMs;
    assert.equal(leadership.isLeading, false);
    await leadership.attempt();
    assert.equal(leadership.isLeading, true);
  }
  await still.advance(9999);
  assert.equal(leadership.isLeading, true);
  await still.advance(1);
  assert.equal(leadership.isLeading, false);
});

test('what the store was long in confirming counts from when it was sent', async () => {
  const clock = manualClock(1_000_000);
  const store = createMemoryStore(clock);
  const slow: typeof store = {
    ...store,
    put: async (...given) => {
      const stored = await store.put(...given);
      await clock.sleep(8000);
      return stored;
    },
  };
  const { leadership } = open('a', clock, slow);
  await attempts(leadership, clock, 8);
  const attempt = leadership.attempt();
  await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(8000);
  await attempt;
  assert.equal(leadership.isLeading, true);
  await clock.advance(2000);
  assert.equal(leadership.isLeading, false);
});

test('somebody writes into the lease of a leader: it goes on by what it finds', async () => {
  const { clock, store, leadership } = open('a');
  await attempts(leadership, clock, 9);
  const found = await store.get('Lease', 'test');
  await store.put('Lease', 'test', found?.value);
  await leadership.attempt();
  assert.equal(leadership.isLeading, true);
  await store.put('Lease', 'test', { ...(found?.value as Lease), holderIdentity: 'b' });
  await leadership.attempt();
  assert.equal(leadership.isLeading, false);
});
