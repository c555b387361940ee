/** The store's contract through a relay on loopback, before a store in memory; and what only relays can do wrong. */
import assert from 'node:assert/strict';
import { connect } from 'node:http2';
import { test } from 'node:test';
import { makeCredentials } from './certificate.ts';
import { startRelay, type TestRelay, TOKEN } from './testing/relay.ts';
import { Follower, stateContract } from '#stores/contract.ts';
import { createMemoryStore, type MemoryStore } from '#stores/memory.ts';
import { formatPath } from '#stores/relay/lines.ts';
import { type Patience, type Relayed, relayed } from '#stores/relay/relayed.ts';
import type { Store } from '#stores/store.ts';

const QUICK: Patience = { fallBackMs: 300, lookMs: 200, awayMs: 200, holdMs: 100 };

function through(store: MemoryStore, notices: string[] = [], token = TOKEN) {
  return relayed({
    store,
    token: () => token,
    timeoutMs: 2000,
    notice: (text) => notices.push(text),
    patience: QUICK,
  });
}

stateContract('relay', async () => {
  const store = createMemoryStore();
  let relay = await startRelay(store);
  await store.put('Relay', 'r1', relay.advert);
  const notices: string[] = [];
  const reader = through(store, notices);
  return {
    store: reader,
    other: store,
    interrupt: async (noticed) => {
      assert.deepEqual(notices, ['the store is watched through the relay r1']);
      await relay[Symbol.asyncDispose]();
      await noticed();
      relay = await startRelay(store);
      await store.put('Relay', 'r1', relay.advert);
    },
    close: async () => {
      reader.close();
      await relay[Symbol.asyncDispose]();
    },
  };
});

type Scene = AsyncDisposable & {
  readonly reader: Relayed;
  readonly store: ReturnType<typeof createMemoryStore>;
  readonly relays: readonly TestRelay[];
  readonly notices: string[];
  readonly follower: Follower;
};

async function scene(count: number, token = TOKEN): Promise<Scene> {
  const store = createMemoryStore();
  const relays = await Promise.all(Array.from({ length: count }, () => startRelay(store)));
  for (const [index, { advert }] of relays.entries()) await store.put('Relay', `r${index}`, advert);
  for (const name of ['a', 'b', 'c']) await store.put('Node', name, { name });
  const notices: string[] = [];
  const reader = through(store, notices, token);
  const stop = new AbortController();
  return {
    store,
    reader,
    relays,
    notices,
    follower: new Follower(reader, 'Node', stop.signal),
    async [Symbol.asyncDispose]() {
      stop.abort();
      reader.close();
      for (const relay of relays) await relay[Symbol.asyncDispose]();
      store.close();
    },
  };
}

const relayOf = ({ notices, relays }: Scene): TestRelay =>
  relays[Number(/relay r(\d)/.exec(notices.at(-1) ?? '')?.[1])] ?? assert.fail(notices.join());

test('a relay that ends: another is read, nothing is told as removed, and only what is new is told again', async () => {
  await using all = await scene(2);
  const { follower, store } = all;
  await follower.synced();
  const first = relayOf(all);
  await store.remove('Node', 'b');
  await follower.until(() => !follower.objects.has('b'));
  await first[Symbol.asyncDispose]();
  await store.put('Node', 'd', { name: 'd' });
  await follower.synced(2);
  assert.notEqual(relayOf(all), first);
  assert.deepEqual([...follower.objects.keys()].sort(), ['a', 'c', 'd']);
  assert.equal(follower.events.filter(({ type }) => type === 'removed').length, 1);
});

test('without any relay the store is watched, and with one again that one is read', async () => {
  await using all = await scene(0);
  const { follower, store, notices } = all;
  await follower.synced();
  assert.deepEqual(notices, []);
  await using relay = await startRelay(store);
  await store.put('Relay', 'late', relay.advert);
  await follower.synced(2);
  assert.deepEqual(notices, ['the store is watched through the relay late']);
  await store.put('Node', 'd', {});
  await follower.until(() => follower.objects.has('d'));
  assert.ok(!follower.types.includes('removed'));
});

test('no relay that is told of answers: after a while the store is watched', async () => {
  await using all = await scene(1);
  await all.relays[0]?.[Symbol.asyncDispose]();
  await all.follower.synced();
  assert.equal(all.notices.length, 1);
  assert.match(all.notices.join(), /^the store is watched without a relay: the relay r0: .*ECONNREFUSED/);
  const { problem, ...use } = all.reader.relayUse();
  assert.deepEqual(use, { known: 1, through: [], watches: { relay: 0, store: 1, waiting: 0 } });
  assert.match(problem ?? '', /^the relay r0: .*ECONNREFUSED/);
});

test('the only relay dies and later another comes: what was known stays, what is new comes either way, and it is told how', async () => {
  await using all = await scene(1);
  const { follower, store, reader, notices } = all;
  await follower.synced();
  const use = (): string => {
    const { known, through, watches } = reader.relayUse();
    return `${known} known, ${through.join() || 'none'} read, ${JSON.stringify(Object.values(watches))}`;
  };
  assert.equal(use(), '1 known, r0 read, [1,0,0]');
  assert.equal(reader.relayUse().problem, undefined);
  await all.relays[0]?.[Symbol.asyncDispose]();
  await follower.until(() => follower.types.includes('gap'));
  assert.equal(use(), '1 known, none read, [0,0,1]');
  assert.equal(follower.objects.size, 3);
  await store.put('Node', 'd', { name: 'd' });
  await store.remove('Node', 'a');
  await follower.until(() => follower.objects.has('d') && !follower.objects.has('a'));
  assert.equal(use(), '1 known, none read, [0,1,0]');
  assert.match(reader.relayUse().problem ?? '', /^the relay r0: /);
  await using other = await startRelay(store);
  await store.remove('Relay', 'r0');
  await store.put('Relay', 'r1', other.advert);
  await follower.until(() => notices.at(-1) === 'the store is watched through the relay r1');
  assert.equal(use(), '1 known, r1 read, [1,0,0]');
  assert.equal(reader.relayUse().problem, undefined);
  await store.put('Node', 'e', {});
  await follower.until(() => follower.objects.has('e'));
  assert.deepEqual([...follower.objects.keys()].sort(), ['b', 'c', 'd', 'e']);
  const removed = follower.events.flatMap((event) => (event.type === 'removed' ? [event.name] : []));
  assert.ok(
    removed.every((name) => name === 'a'),
    removed.join(),
  );
});

test('a wrong token, or another certificate than the one told of, and nothing is read', async () => {
  await using strange = await scene(1, 'another-token');
  await strange.follower.synced();
  assert.deepEqual(strange.notices, [
    'the store is watched without a relay: the relay r0: it answers 401: the token is not known',
  ]);

  await using forged = await scene(0);
  await using relay = await startRelay(forged.store);
  await forged.store.put('Relay', 'forged', { ...relay.advert, certificate: makeCredentials().cert });
  await new Promise((resolve) => setTimeout(resolve, QUICK.lookMs * 4));
  assert.deepEqual(forged.notices, []);
  assert.equal(relay.logs.all().length, 0);
});

test('a store that has lost its data: readers are told so, and begin anew', async () => {
  const stop = new AbortController();
  let tell: (() => void) | undefined;
  const object = (name: string, version: string) =>
    ({ type: 'put', object: { kind: 'Node', name, value: {}, version, origin: name } }) as never;
  const source: Pick<Store, 'watch'> = {
    async *watch() {
      yield object('a', '7');
      yield object('b', '8');
      yield { type: 'synced' };
      await new Promise<void>((resolve) => (tell = resolve));
      yield { type: 'gap', reason: 'wiped', isLoss: true };
      yield object('a', '2');
      yield { type: 'synced' };
      await new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve()));
    },
  };
  const store = createMemoryStore();
  await using relay = await startRelay(source);
  await store.put('Relay', 'r', relay.advert);
  const reader = through(store);
  const follower = new Follower(reader, 'Node', stop.signal);
  await follower.synced();
  tell?.();
  await follower.synced(2);
  assert.ok(follower.events.some((event) => event.type === 'gap' && event.isLoss === true));
  assert.deepEqual(
    [...follower.objects.values()].map(({ name, version }) => name + version),
    ['a2'],
  );
  stop.abort();
  reader.close();
  store.close();
});

test('a reader that takes nothing is cut, and costs hardly any memory until then', async () => {
  const store = createMemoryStore();
  let onCut: (() => void) | undefined;
  const isCut = new Promise<void>((resolve) => (onCut = resolve));
  await using relay = await startRelay(store, { slowMs: 400, onCut: () => onCut?.() });
  for (let index = 0; index < 50; index += 1)
    await store.put('Node', `n${index}`, { text: 'x'.repeat(20_000) });
  const { advert } = relay;
  const session = connect(`https://127.0.0.1:${advert.port}`, {
    ca: advert.certificate,
    servername: 'relay.tartan.dev',
    settings: { initialWindowSize: 1000 },
  });
  const head = { ':method': 'POST', ':path': formatPath({ kind: 'Node' }), authorization: `Bearer ${TOKEN}` };
  const stream = session.request(head);
  stream.on('error', () => undefined);
  stream.end('{}');
  await new Promise((resolve) => stream.once('response', resolve));
  const before = process.memoryUsage().arrayBuffers;
  for (let round = 0; round < 40; round += 1)
    for (let index = 0; index < 50; index += 1)
      await store.put('Node', `n${index}`, { text: String(round).repeat(10_000) });
  const grown = process.memoryUsage().arrayBuffers - before;
  assert.ok(grown < 40 * 50 * 10_000, `${grown} bytes more`);
  await isCut;
  assert.equal(relay.server.counts.readers, 0);
  session.destroy();
  store.close();
});

test('strangers are refused, whatever they ask', async () => {
  const store = createMemoryStore();
  await using relay = await startRelay(store);
  const { advert } = relay;
  const session = connect(`https://127.0.0.1:${advert.port}`, {
    ca: advert.certificate,
    servername: 'relay.tartan.dev',
  });
  const ask = (head: Record<string, string>, body: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const stream = session.request({ ':method': 'POST', ':path': '/v1/watch/Node', ...head });
      stream.on('response', (headers) => {
        stream.resume();
        resolve(Number(headers[':status']));
      });
      stream.on('error', reject);
      stream.end(body);
    });
  const known = { authorization: `Bearer ${TOKEN}` };
  assert.equal(await ask({}, '{}'), 401);
  assert.equal(await ask({ authorization: 'Basic eDp5' }, '{}'), 401);
  assert.equal(await ask({ ...known, ':path': '/v1/watch/Secret' }, '{}'), 404);
  assert.equal(await ask({ ...known, ':path': '/' }, '{}'), 404);
  assert.equal(await ask(known, 'not json'), 400);
  assert.equal(await ask(known, '7'), 400);
  session.destroy();
  store.close();
});
