import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createQueue, type EventQueue } from './event-queue.ts';
import { type Feed, Feeds, type Listener } from './feed.ts';
import { createMemoryStore } from './memory.ts';
import type { Store, StoreEvent, Stored, Version } from './store.ts';
import { systemClock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';

/** A store whose watch says what the test says; writes go to memory. */
type Spoken = {
  readonly feeds: Feeds;
  readonly feed: Feed;
  readonly say: EventQueue<StoreEvent>;
  readonly store: Store;
  readonly watches: () => number;
};

function start(t: { after(stop: () => void): void }, kind: 'Node' | 'SubnetClaim', broken = 0): Spoken {
  const stop = new AbortController();
  const memory = createMemoryStore();
  t.after(() => (stop.abort(), memory.close()));
  const say = createQueue<StoreEvent>(stop.signal, () => {});
  let failures = broken;
  const put: Store['put'] = (...words) => {
    failures -= 1;
    return failures >= 0 ? Promise.reject(new Fault('store-away', 'test')) : memory.put(...words);
  };
  let watches = 0;
  const feeds = new Feeds({
    store: { ...memory, put, watch: () => ((watches += 1), say) },
    clock: systemClock,
    log: { warn: () => {}, debug: () => {} },
    signal: stop.signal,
    self: 'a',
    onMalformed: () => {},
  });
  const feed = feeds.follow(kind, { onChange: () => {} });
  return { feeds, feed, say, store: memory, watches: () => watches };
}

const object = (kind: 'Node' | 'SubnetClaim', name: string, value: object): Stored => ({
  kind,
  name,
  value,
  version: name as Version,
  origin: 'test',
});

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isSo()); tries += 1) {
    assert.ok(tries < 1000, 'not in time');
    await sleep(10);
  }
}

async function begin({ feed, say }: Spoken, objects: readonly Stored[]): Promise<void> {
  for (const each of objects) say.push({ type: 'put', object: each });
  say.push({ type: 'synced' });
  await until(() => feed.synced);
}

test('what the store has lost of this node is written again, until it is there', async (t) => {
  const spoken = start(t, 'SubnetClaim', 2);
  const { say, store, feed } = spoken;
  const mine = { ...object('SubnetClaim', 'mine', { node: 'a' }), expiresAtMs: Date.now() + 3_600_000 };
  await begin(spoken, [mine, object('SubnetClaim', 'other', { node: 'b' })]);
  say.push({ type: 'gap', reason: 'test', isLoss: true });
  await until(async () => (await store.list('SubnetClaim')).length > 0);
  const [again, ...more] = await store.list('SubnetClaim');
  assert.deepEqual([again?.name, again?.value, more], ['mine', { node: 'a' }, []]);
  assert.ok(Math.abs((again?.expiresAtMs ?? 0) - mine.expiresAtMs) < 60_000);
  assert.equal(feed.objects.size, 2, 'nothing is removed meanwhile');
});

test('somebody else keeps what he has taken meanwhile, and an ordinary gap is no loss', async (t) => {
  const spoken = start(t, 'Node');
  const { say, store, feed } = spoken;
  await begin(spoken, [object('Node', 'a', { n: 1 }), object('Node', 'b', { n: 1 })]);
  say.push({ type: 'gap', reason: 'test' });
  await sleep(50);
  assert.deepEqual(await store.list('Node'), []);
  await store.put('Node', 'a', { n: 2 });
  say.push({ type: 'gap', reason: 'test', isLoss: true });
  await sleep(50);
  assert.deepEqual(
    (await store.list('Node')).map(({ value }) => value),
    [{ n: 2 }],
  );
  say.push({ type: 'put', object: object('Node', 'a', { n: 2 }) });
  say.push({ type: 'synced' });
  await until(() => feed.objects.size === 1);
});

/** A listener that writes down what it is told. */
function listening(): { readonly told: string[]; readonly listener: Listener } {
  const told: string[] = [];
  const onChange = (name: string, put: Stored | undefined): void => {
    told.push(put === undefined ? `-${name}` : `+${name}`);
  };
  return { told, listener: { onChange, onSynced: () => told.push('synced') } };
}

test('all who listen are told of all objects, then of each change, by one watch', async (t) => {
  const spoken = start(t, 'Node');
  const { feeds, say, watches } = spoken;
  const [early, late] = [listening(), listening()];
  feeds.follow('Node', early.listener);
  say.push({ type: 'put', object: object('Node', 'a', {}) });
  say.push({ type: 'put', object: object('Node', 'b', {}) });
  await sleep(10);
  assert.deepEqual(early.told, [], 'nothing before all is known');
  await begin(spoken, [object('Node', 'c', {})]);
  feeds.follow('Node', late.listener);
  for (const { told } of [early, late]) assert.deepEqual(told.splice(0), ['+a', '+b', '+c', 'synced']);
  say.push({ type: 'removed', name: 'b' });
  say.push({ type: 'gap', reason: 'test' });
  say.push({ type: 'put', object: object('Node', 'c', {}) });
  say.push({ type: 'synced' });
  await until(() => late.told.includes('-a'));
  for (const { told } of [early, late]) assert.deepEqual(told, ['-b', '-a']);
  assert.equal(watches(), 1);
});

test('who listens is told that there is nothing', async (t) => {
  const spoken = start(t, 'Node');
  const { told, listener } = listening();
  spoken.feeds.follow('Node', listener);
  await begin(spoken, []);
  assert.deepEqual(told, ['synced']);
});
