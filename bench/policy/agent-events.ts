/**
 * How long a change takes from a file of the store to the kernel, in the agent as it runs; how much of that is until a
 * store tells of the file; and beside it how long `nft -f` takes for the same table.
 */
import { closeSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inNetns, openNetns } from '#kernel/netns.ts';
import { openPolicy } from '#kernel/nftables/policy/policy.ts';
import { openDirectoryStore } from '../../src/stores/directory.ts';
import type { StoreKind } from '../../src/stores/store.ts';
import { makeNamespace } from '../../test/host/namespace.ts';
import { changes, joins } from './changes.ts';
import { namespaceOf } from './cluster.ts';
import { type Expected, peerElement, portElement, watchTable } from './events.ts';
import { formatNft } from './nft-file.ts';
import type { Bench } from './node.ts';
import type { StoreFolder } from './store.ts';

const EVENTS = Number(process.env.BENCH_EVENTS ?? 300);
const IN_PLACE = 60;
/** The first changes after a start meet code that was never run. */
const WARM = 30;
/** A file that takes another's place is believed at once if nobody has written it for so long (decision 9). */
const REST_MS = 150;
/** More than what an agent waits for between two loads in a storm. */
const PAUSE_MS = 40;

/** What happens, how the kernel tells of it, and how a store does. */
type Event = {
  readonly expected: Expected;
  readonly object: { readonly kind: StoreKind; readonly name: string };
  happen(): void;
};
type Events = Iterator<Event, undefined>;

/** Resolves with the time (performance.now) at which the event was seen. */
type See = (event: Event) => Promise<number>;

async function measure(events: Events, count: number, { see, restMs }: { see: See; restMs: number }) {
  const times: number[] = [];
  for (let n = 0; n < WARM + count; n += 1) {
    const event = events.next().value;
    if (event === undefined) throw new Error('no more events');
    // Never in step with a timer of the agent.
    await sleep(restMs + (n % 7));
    const seen = see(event);
    const begun = performance.now();
    event.happen();
    times.push((await seen) - begun);
  }
  return times.slice(WARM);
}

function* joinEvents(store: StoreFolder): Generator<Event, undefined> {
  for (const { workloads, address } of joins()) {
    const happen = store.prepareWorkloads(workloads);
    yield { expected: peerElement(address), object: { kind: 'Workloads', name: workloads.node }, happen };
  }
}

/** `rename`: the new file has been at rest and takes the old one's place; `in place`: the file is written as it is. */
type Way = 'rename' | 'in place';

function* changeEvents(store: StoreFolder, beside: string, way: () => Way): Generator<Event, undefined> {
  for (const { index, port } of changes()) {
    const { file, text } = store.changePolicy(index, port);
    const isRename = way() === 'rename';
    if (isRename) writeFileSync(beside, text);
    const name = `networking.k8s.io/v1/NetworkPolicy/${namespaceOf(index)}/np${index}`;
    const happen = isRename ? () => renameSync(beside, file) : () => writeFileSync(file, text);
    yield { expected: portElement(port), object: { kind: 'Manifest', name }, happen };
  }
}

/** By a store of this process, which sees the files as the agent's does. */
async function openSight(path: string): Promise<See & AsyncDisposable> {
  const store = openDirectoryStore(path);
  const stop = new AbortController();
  const waiting = new Map<string, (atMs: number) => void>();
  const follow = async (kind: StoreKind, onSynced: () => void): Promise<void> => {
    for await (const event of store.watch(kind, stop.signal)) {
      if (event.type === 'synced') onSynced();
      if (event.type === 'put') waiting.get(`${kind} ${event.object.name}`)?.(performance.now());
    }
  };
  const ends = (['Workloads', 'Manifest'] as const).map((kind) => {
    const synced = Promise.withResolvers<void>();
    return { synced: synced.promise, end: follow(kind, () => synced.resolve()) };
  });
  await Promise.all(ends.map(({ synced }) => synced));
  const see: See = ({ object }) =>
    new Promise((resolve) => waiting.set(`${object.kind} ${object.name}`, resolve));
  return Object.assign(see, {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all(ends.map(({ end }) => end));
      store.close();
    },
  });
}

/** What the agent has loaded, as a file for nft, in a namespace of its own. */
async function makePeer({ node }: Bench, undo: AsyncDisposableStack) {
  const netns = openNetns(node.netns.path);
  const table = inNetns(netns, openPolicy);
  closeSync(netns);
  const { text, elements } = formatNft(table.dumpPolicy().program, 'peer');
  table.close();
  const place = makeNamespace('pk-peer');
  undo.defer(() => place.remove());
  const file = join(node.directory, 'peer.nft');
  writeFileSync(file, text);
  const reload = async (): Promise<number> => {
    const begun = performance.now();
    await place.must(['nft', '-f', file]);
    return performance.now() - begun;
  };
  await reload();
  return { elements, reload };
}

export type EventTimes = {
  readonly join: readonly number[];
  readonly joinFile: readonly number[];
  readonly change: readonly number[];
  readonly changeFile: readonly number[];
  readonly changeInPlace: readonly number[];
  readonly reload: readonly number[];
  /** Of the table that was reloaded. */
  readonly elements: number;
};

/** Of a running agent. Reloads of the peer come between the changes. */
export async function measureEvents(bench: Bench, store: StoreFolder): Promise<EventTimes> {
  await using undo = new AsyncDisposableStack();
  const peer = await makePeer(bench, undo);
  let way: Way = 'rename';
  const joining = joinEvents(store);
  const changing = changeEvents(store, join(bench.node.directory, 'beside.yaml'), () => way);
  const reload: number[] = [];
  const table = watchTable(bench.node.netns.path);
  undo.use(table);
  const inKernel: See = ({ expected }) => table.when(expected);
  let turn = 0;
  const inTurns: See = async (event) => {
    const atMs = await inKernel(event);
    if ((turn += 1) % 5 === 0) reload.push(await peer.reload());
    return atMs;
  };
  const joined = await measure(joining, EVENTS, { see: inKernel, restMs: PAUSE_MS });
  const changed = await measure(changing, EVENTS, { see: inTurns, restMs: REST_MS });
  way = 'in place';
  const changedInPlace = await measure(changing, IN_PLACE, { see: inKernel, restMs: PAUSE_MS });
  way = 'rename';
  await using sight = await openSight(store.path);
  return {
    join: joined,
    joinFile: await measure(joining, EVENTS, { see: sight, restMs: PAUSE_MS }),
    change: changed,
    changeFile: await measure(changing, EVENTS / 3, { see: sight, restMs: REST_MS }),
    changeInPlace: changedInPlace,
    reload,
    elements: peer.elements,
  };
}
