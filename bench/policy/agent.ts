/**
 * The agent with 10,000 policies in its store: its start, its memory, what a pod's ADD takes beside an agent without
 * policies, and how long changes take (./agent-events.ts).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { openDriver } from '../driver.ts';
import { processMb } from '../memory.ts';
import { median, percentile, type Row } from '../report.ts';
import { type EventTimes, measureEvents } from './agent-events.ts';
import { pair } from './changes.ts';
import { PODS, POLICIES } from './cluster.ts';
import { type Agent, type Bench, type Guest, makeBench, makePlaces, type Place, startAgent } from './node.ts';
import { fillStore, localPods } from './store.ts';

const STARTS = 5;
const ADD_ROUNDS = 10;
const GROUP = 40;
const IDLE_MS = 10_000;

type Starts = {
  readonly agent: Agent;
  readonly startMs: number[];
  readonly rssMb: number;
  readonly peakMb: number;
};

/** The last one goes on, and is looked at when it has been at rest for a while. */
async function measureStarts(bench: Bench): Promise<Starts> {
  const startMs: number[] = [];
  for (;;) {
    const agent = await startAgent(bench);
    startMs.push(agent.tookMs);
    if (startMs.length < STARTS) {
      await agent.end();
      continue;
    }
    await sleep(IDLE_MS);
    return { agent, startMs, rssMb: processMb(agent.pid, 'VmRSS'), peakMb: processMb(agent.pid, 'VmHWM') };
  }
}

type Side = { readonly bench: Bench; readonly guests: readonly Guest[] };

/** The same pods at both agents, in turns. */
async function measureAdds(sides: readonly Side[]): Promise<number[][]> {
  const times: number[][] = sides.map(() => []);
  for (let round = 0; round < ADD_ROUNDS; round += 1) {
    for (const [at, { bench, guests }] of sides.entries()) {
      times[at]?.push(...(await bench.add(guests)).eachMs);
      await bench.remove(guests);
    }
  }
  return times;
}

/** Pods as the cluster's policies know them, under other names. */
function guestsOf(places: readonly Place[], suffix: string): Guest[] {
  const pods = localPods();
  return places.flatMap((place, n) => {
    const pod = pods[n % pods.length];
    return pod === undefined ? [] : [{ place, pod: { ...pod, name: `${pod.name}${suffix}` } }];
  });
}

/** An agent with all pods of a node, and places for more. */
async function makeSide(name: string, undo: AsyncDisposableStack): Promise<Side> {
  const driver = openDriver();
  undo.defer(() => driver.close());
  const bench = await makeBench(name, driver, undo);
  const stay = localPods().length;
  const places = makePlaces(`${name.slice(3)}-`, stay + GROUP);
  undo.defer(() => places.remove());
  await bench.add(guestsOf(places.list.slice(0, stay), ''));
  return { bench, guests: guestsOf(places.list.slice(stay), '-more') };
}

function eventRows(times: EventTimes): Row[] {
  const { join, joinFile, change, changeFile, changeInPlace, reload, elements } = times;
  const beside = (what: string, pick: (of: readonly number[]) => number): Row => ({
    what: `one policy of ${POLICIES} changes: rename to kernel, ${what}; peer: nft -f of a table with ${elements} elements`,
    unit: 'ms',
    ours: pick(change),
    peer: pick(reload),
    target: { sense: '≤', ratio: 0.1 },
  });
  const p99 = (of: readonly number[]): number => percentile(of, 0.99);
  return [
    ...pair('agent: a pod joins a selector of 100 policies: rename to kernel', join, 5),
    ...pair('  of that, until a store tells of the file', joinFile),
    ...pair(`agent: one policy of ${POLICIES} changes: rename to kernel`, change, 25),
    ...pair('  of that, until a store tells of the file', changeFile),
    beside('p50', median),
    beside('p99', p99),
    ...pair('  file written in place, which has to rest for 100 ms: write to kernel', changeInPlace),
  ];
}

export async function benchAgent(): Promise<{ readonly rows: Row[]; readonly kept: object }> {
  await using undo = new AsyncDisposableStack();
  const sides = [await makeSide('pk-with', undo), await makeSide('pk-without', undo)] as const;
  const [{ bench }] = sides;
  await bench.node.kill();
  const store = fillStore(bench.store, 'pk-with');
  const { agent, startMs, rssMb, peakMb } = await measureStarts(bench);
  undo.defer(() => agent.end());
  const [withPolicies = [], without = []] = await measureAdds(sides);
  const times = await measureEvents(bench, store);
  const add = (what: string, pick: (of: readonly number[]) => number): Row => ({
    what: `ADD ${what} with ${POLICIES} policies / with none`,
    unit: 'ms',
    ours: pick(withPolicies),
    peer: pick(without),
  });
  const rows: Row[] = [
    {
      what: `agent: start to policies loaded (${POLICIES} in 100 files, ${PODS} pods)`,
      unit: 'ms',
      ours: median(startMs),
    },
    { what: 'agent: slowest of these starts', unit: 'ms', ours: Math.max(...startMs) },
    { what: 'agent: resident memory at rest', unit: 'MB', ours: rssMb, target: { sense: '≤', limit: 400 } },
    { what: 'agent: peak of its start', unit: 'MB', ours: peakMb, target: { sense: '≤', limit: 400 } },
    {
      what: 'agent: peak after all changes',
      unit: 'MB',
      ours: processMb(agent.pid, 'VmHWM'),
      target: { sense: '≤', limit: 400 },
    },
    add('p50', median),
    add('p99', (of) => percentile(of, 0.99)),
    ...eventRows(times),
  ];
  return { rows, kept: { startMs, add: { withPolicies, without }, ...times } };
}
