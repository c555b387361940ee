/**
 * What happens beside the agents, in a process in the API server's namespace:
 *
 *     node kubernetes-side.ts fill  KUBECONFIG NODES PODS_OF_EACH
 *     node kubernetes-side.ts watch KUBECONFIG WATCHES COUNT      `watching` when all are; in the end a line of each of COUNT
 *                                                                 adverts that come: when each watch heard of it
 *     node kubernetes-side.ts add   KUBECONFIG FIRST COUNT        a line of each request, when it is sent
 *
 * Lines are `NAME NANOSECONDS…`; nanoseconds are those of process.hrtime, which all processes of a host share.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '#lib/clock.ts';
import { openKubernetesStore } from '../src/stores/kubernetes/kubernetes.ts';
import type { Call, Stream } from '../src/stores/kubernetes/client.ts';
import { advertOf, nodeObjectOf, podObjectOf, policyOf, workloadsOf } from './kubernetes-objects.ts';

const AT_ONCE = 64;
const PACE_MS = 100;
const POLICIES = 100;

const [what = '', kubeconfig = '', first = '0', second = '0'] = process.argv.slice(2);
const store = openKubernetesStore({
  settings: { kubeconfig, requestTimeoutSeconds: 60 },
  clock: systemClock,
});
const { client } = store;

async function inTurns(count: number, act: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = (next += 1); index <= count; index = next += 1) await act(index);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

/** What an interrupted fill has made is there already. */
async function create(path: string, body: object): Promise<void> {
  const call: Call = { method: 'POST', path, body };
  await client.call(call).catch((error: unknown) => {
    if (!String(error).includes('already exists')) throw error;
  });
}

async function fill(nodes: number, podsOfEach: number): Promise<void> {
  await create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  await inTurns(POLICIES, (n) =>
    create('/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies', policyOf(n)),
  );
  await inTurns(nodes, async (n) => {
    await create('/api/v1/nodes', nodeObjectOf(n));
    for (let pod = 1; pod <= podsOfEach; pod += 1)
      await create('/api/v1/namespaces/shop/pods', podObjectOf(n, pod));
    const { name } = advertOf(n);
    await store.put('Node', name, advertOf(n), { expect: 'absent' });
    await store.put('Workloads', name, workloadsOf(n, podsOfEach), { expect: 'absent' });
  });
}

/** Says nothing while it hears: that would be time of the watches after the first. */
async function watch(watches: number, count: number): Promise<void> {
  const path = '/apis/tartan.dev/v1/nodeadverts';
  const { metadata } = await client.call({ method: 'GET', path, query: { limit: 1 } });
  const { resourceVersion } = metadata;
  const open = (): Promise<Stream> => client.watch(path, { resourceVersion });
  const streams = await Promise.all(Array.from({ length: watches }, open));
  console.log('watching');
  const heard = new Map<string, bigint[]>();
  await Promise.all(streams.map((stream) => follow(stream, count, heard)));
  for (const [name, times] of heard) console.log(`${name} ${times.join(' ')}`);
}

async function follow({ events }: Stream, count: number, heard: Map<string, bigint[]>): Promise<void> {
  let left = count;
  for await (const { type, object } of events) {
    if (type !== 'ADDED') continue;
    const { name } = object.metadata;
    const times = heard.get(name) ?? [];
    heard.set(name, times);
    times.push(process.hrtime.bigint());
    left -= 1;
    if (left === 0) return;
  }
}

async function add(from: number, count: number): Promise<void> {
  // The first request opens the connection.
  await store.get('Node', advertOf(1).name);
  for (let n = from; n < from + count; n += 1) {
    const advert = advertOf(n);
    console.log(`${advert.name} ${process.hrtime.bigint()}`);
    await store.put('Node', advert.name, advert, { expect: 'absent' });
    await sleep(PACE_MS);
  }
}

if (what === 'fill') await fill(Number(first), Number(second));
else if (what === 'watch') await watch(Number(first), Number(second));
else if (what === 'add') await add(Number(first), Number(second));
else throw new Error(`what is ${what}?`);
store.close();
