/** What a store must bear, whatever it stands in: connections cut at any byte, history forgotten, lines that come twice. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Follower } from '../../src/stores/contract.ts';
import type { Store } from '../../src/stores/store.ts';
import type { CuttingProxy } from './cutting-proxy.ts';
import type { Way } from './store-way.ts';

export const WAIT_MS = 30_000;

export function numberOf(follower: Follower, name: string): number {
  return (follower.objects.get(name)?.value as { n: number } | undefined)?.n ?? 0;
}

export type Tally = { done: number; unsure: number };

/**
 * `unsure`: whether it was done is not known: nobody said so, or an answer was lost and somebody else has written since.
 */
async function increment(store: Store, name: string, tally: Tally, isAlone: boolean): Promise<void> {
  try {
    const read = await store.get('Node', name);
    const n = ((read?.value as { n: number } | undefined)?.n ?? 0) + 1;
    await store.put('Node', name, { n }, { expect: read?.version ?? 'absent' });
    tally.done += 1;
  } catch (error) {
    const code = String((error as { code?: unknown }).code);
    assert.match(code, /^store-(?:conflict|away)$/);
    if (code === 'store-away' || !isAlone) tally.unsure += 1;
  }
}

/** Nothing was told that was never written, nothing was taken back, and what is believed is what is there. */
async function assertTrue(follower: Follower, store: Store, written: ReadonlySet<string>): Promise<void> {
  const present = new Map((await store.list('Node')).map((object) => [object.name, object.version]));
  const agrees = (): boolean =>
    follower.objects.size === present.size &&
    [...present].every(([name, version]) => follower.objects.get(name)?.version === version);
  await follower.until(agrees, WAIT_MS);
  const last = new Map<string, number>();
  for (const event of follower.events) {
    if (event.type !== 'put') continue;
    const { name, version, value } = event.object;
    assert.ok(written.has(`${name} ${JSON.stringify(value)}`), `invented: ${name} ${JSON.stringify(value)}`);
    assert.ok(Number(version) >= (last.get(name) ?? 0), `${name} went back`);
    last.set(name, Number(version));
  }
}

export type Cut = {
  /** As it is, and two by way of the proxy. */
  readonly direct: Way;
  readonly one: Way;
  readonly two: Way;
  readonly proxy: CuttingProxy;
  /** Nobody can go on from before now any more. */
  readonly forget: () => Promise<void>;
  /** Bytes after which a connection ends, at most. */
  readonly cutAfter: number;
};

/** No event is lost or invented, and no write is done twice. */
export async function bearCuts({ direct, one, two, proxy, forget, cutAfter }: Cut): Promise<void> {
  const follower = one.follow();
  const claims = direct.follow('SubnetClaim');
  await Promise.all([follower.synced(), claims.synced()]);
  proxy.cutAfter(() => 1 + Math.floor(Math.random() * cutAfter));
  proxy.cut();
  const tallies = new Map(['a', 'b', 'c', 'd'].map((name) => [name, { done: 0, unsure: 0 }]));
  const tallyOf = (name: string): Tally => tallies.get(name) as Tally;
  const deadline = performance.now() + WAIT_MS;
  const isOver = (): boolean => (tallyOf('a').done > 40 && proxy.cuts() > 40) || performance.now() > deadline;
  const work = async (store: Store, names: readonly string[]): Promise<void> => {
    for (let round = 0; !isOver(); round += 1) {
      const name = names[round % names.length] as string;
      await increment(store, name, tallyOf(name), name !== 'b');
    }
  };
  const renew = async (): Promise<void> => {
    for (let n = 0; !isOver(); n += 1)
      await two.store.put('SubnetClaim', 'leased', { n }, { ttlSeconds: 600 }).catch(() => undefined);
  };
  const forgetOften = async (): Promise<void> => {
    while (!isOver()) {
      await sleep(150);
      await forget().catch(() => undefined);
    }
  };
  await Promise.all([
    work(two.store, ['a', 'b']),
    work(direct.store, ['b', 'c']),
    work(direct.store, ['c', 'd']),
    forgetOften(),
    renew(),
  ]);
  const written = new Set<string>();
  for (const [name, { done, unsure }] of tallies)
    for (let n = 0; n <= done + unsure; n += 1) written.add(`${name} {"n":${n}}`);
  assert.ok(proxy.cuts() > 20, `only ${proxy.cuts()} cuts`);
  proxy.cutAfter(undefined);
  proxy.cut();
  await direct.store.put('Node', 'last', { n: 1 });
  written.add('last {"n":1}');
  await assertTrue(follower, direct.store, written);
  for (const [name, { done, unsure }] of tallies) {
    const n = numberOf(follower, name);
    assert.ok(n >= done && n <= done + unsure, `${name}: ${done} done, ${unsure} unsure, ${n} are there`);
  }
  assert.ok(!claims.types.includes('removed'), 'a claim went while its holder renewed it');
  assert.equal(tallyOf('d').unsure, 0);
  assert.ok(tallyOf('a').done > 20, `only ${tallyOf('a').done} writes came through`);
}

/** What is told twice, or again much later, is told to nobody. */
export async function bearEchoes(direct: Way, echoed: Way, echoes: () => number): Promise<void> {
  const [plain, follower] = [direct.follow(), echoed.follow()];
  await Promise.all([plain.synced(), follower.synced()]);
  const tally: Tally = { done: 0, unsure: 0 };
  const work = async (store: Store, names: readonly string[]): Promise<void> => {
    for (let round = 0; round < 60; round += 1) {
      const name = names[round % names.length] as string;
      if (round % 10 === 9) await store.remove('Node', name);
      else await increment(store, name, tally, true);
    }
  };
  await Promise.all([
    work(direct.store, ['a', 'b']),
    work(echoed.store, ['b', 'c']),
    work(echoed.store, ['c', 'd']),
  ]);
  await direct.store.put('Node', 'last', {});
  for (const each of [plain, follower]) await each.until(() => each.objects.has('last'), WAIT_MS);
  const told = ({ events }: Follower): string[] =>
    events.map((event) =>
      event.type === 'put' ? `${event.object.name} ${event.object.version}` : event.type,
    );
  assert.deepEqual(told(follower), told(plain));
  assert.ok(echoes() > 100 && tally.done > 50, `${echoes()} echoes, ${tally.done} writes`);
}
