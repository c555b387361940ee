/** A node's place and its pods' addresses by blocks, with a store that comes and goes. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Blocks } from './blocks.ts';
import type { Events } from '#lib/log.ts';
import { openFeeds } from '../parts.ts';
import { manualClock } from '#lib/clock.ts';
import { parseSettings } from '#config/parse.ts';
import type { Block } from '#model/block.ts';
import { Fault } from '#model/fault.ts';
import { address } from '#net/address.ts';
import { type AttachmentLedger, openLedger } from '#stores/ledger.ts';
import { createMemoryStore, type MemoryStore } from '#stores/memory.ts';
import type { Store, StoreEvent } from '#stores/store.ts';

const FLANNEL = readFileSync(new URL('../../../profiles/flannel.yaml', import.meta.url), 'utf8');

/** `nodes`: those of which what is routed to them changed. */
type Started = {
  readonly blocks: Blocks;
  readonly ledger: AttachmentLedger;
  readonly told: string[];
  readonly nodes: string[];
  away: boolean;
  /** Its watch tells nothing. */
  deaf: boolean;
};

async function* heard(events: AsyncIterable<StoreEvent>, who: Started): AsyncIterable<StoreEvent> {
  for await (const event of events) if (!who.deaf) yield event;
}

/** An agent's blocks on one store and state directory, at each start. */
function starts(
  t: TestContext,
  more = '',
): { store: MemoryStore; start: (name: string) => Promise<Started> } {
  const store = createMemoryStore(manualClock());
  const directory = mkdtempSync(join(tmpdir(), 'bl-place-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const start = async (name: string): Promise<Started> => {
    const text = `apiVersion: tartan.dev/v1\nkind: Settings\nnode: {name: ${name}}
network: {ipv4: {range: 10.0.0.0/24}}\nwiring: {type: routed}
addresses: {type: blocks, quarantineSeconds: 0, blocks: {ipv4Length: 26${more}}}
paths: {state: ${directory}/${name}}\n`;
    const { settings } = parseSettings([{ origin: 'test', text }], { flannel: FLANNEL });
    const stop = new AbortController();
    t.after(() => stop.abort());
    const told: string[] = [];
    const nodes: string[] = [];
    const ledger = openLedger(join(directory, `${name}.journal`));
    const opened = { blocks: undefined as never, ledger };
    const started: Started = { ...opened, told, nodes, away: false, deaf: false };
    const reach = <A extends unknown[], R>(act: (...args: A) => Promise<R>) => {
      return async (...args: A): Promise<R> => {
        if (started.away) throw new Fault('io', 'the store is away');
        return act(...args);
      };
    };
    const access = {
      get: reach<Parameters<MemoryStore['get']>, Awaited<ReturnType<MemoryStore['get']>>>((...args) =>
        store.get(...args),
      ),
      list: reach<Parameters<MemoryStore['list']>, Awaited<ReturnType<MemoryStore['list']>>>((...args) =>
        store.list(...args),
      ),
      put: reach<Parameters<MemoryStore['put']>, Awaited<ReturnType<MemoryStore['put']>>>((...args) =>
        store.put(...args),
      ),
      remove: reach<Parameters<MemoryStore['remove']>, Awaited<ReturnType<MemoryStore['remove']>>>(
        (...args) => store.remove(...args),
      ),
    };
    const quiet = { debug() {}, info() {}, warn() {}, error() {} };
    const watch: Store['watch'] = (kind, signal) => heard(store.watch(kind, signal), started);
    const parts = {
      settings,
      store: { ...store, ...access, watch },
      clock: manualClock(),
      signal: stop.signal,
      log: quiet,
      events: { add: (_: string, line: string) => told.push(line) } as unknown as Events,
    };
    const blocks = new Blocks({
      parts: { ...parts, ...openFeeds(parts), ledger },
      claims: () => [],
      nodes: () => new Set([name]),
      onNode: (node) => nodes.push(node),
      nudge: () => {},
    });
    blocks.begin();
    while (!blocks.synced) await new Promise((resolve) => setImmediate(resolve));
    await blocks.place?.maintain();
    return Object.assign(started, { blocks });
  };
  return { store, start };
}

async function writesOf(store: MemoryStore, act: () => Promise<unknown>): Promise<string> {
  const versions = async (): Promise<string> =>
    (await store.list('Block')).map(({ name, version }) => `${name} ${version}`).join();
  const before = await versions();
  await act();
  return (await versions()) === before ? 'none' : 'some';
}

test('one write for many pods; a restart goes on with the same home and behind the last address', async (t) => {
  const { store, start } = starts(t);
  const { blocks, ledger } = await start('a');
  const home = blocks.place?.held[4];
  const taken = new Set<string>();
  const add = async (owner: string): Promise<void> => {
    const { addresses } = (await blocks.allocator?.allocate(owner, {})) ?? { addresses: [] };
    for (const ip of addresses) taken.add(ip);
    // In an ADD the attachment's own entry follows.
    ledger.setMeta('added', owner);
  };
  assert.equal(
    await writesOf(store, async () => {
      for (let n = 0; n < 12; n += 1) await add(`p${n}`);
    }),
    'none',
  );
  assert.equal(taken.size, 12);
  assert.equal(
    await writesOf(store, async () => {
      for (let n = 12; n < 16; n += 1) await add(`p${n}`);
      await blocks.place?.maintain();
    }),
    'some',
  );
  const again = await start('a');
  assert.equal(again.blocks.place?.held[4], home);
  const next = await again.blocks.allocator?.allocate('q', {});
  assert.ok(!taken.has(next?.addresses[0] ?? ''), 'behind those handed out last');
});

test('while the store is away pods get what is at hand, the home stays, and it is told once', async (t) => {
  const { start } = starts(t);
  const one = await start('a');
  one.away = true;
  const { place, allocator } = one.blocks;
  const home = place?.held[4];
  assert.equal(await place?.maintain(), false);
  assert.equal(await place?.maintain(), false);
  assert.equal(place?.held[4], home);
  assert.deepEqual(one.told.filter((line) => /away/.test(line)).length, 1);
  for (let n = 0; n < 16; n += 1) await allocator?.allocate(`p${n}`, {});
  await assert.rejects(async () => allocator?.allocate('more', {}), { code: 'io' });
  one.away = false;
  await place?.maintain();
  await allocator?.allocate('more', {});
});

test('without a block a node borrows its own address too; strict affinity refuses, and says why', async (t) => {
  const { store, start } = starts(t);
  for (const name of ['a', 'b', 'c', 'd']) await start(name);
  const { blocks } = await start('e');
  assert.match(blocks.place?.held[4] ?? '', /\/32$/);
  assert.equal((await store.list('Block')).length, 4);
  const first = await blocks.allocator?.allocate('p', {});
  assert.notEqual(first?.addresses[0], blocks.place?.held[4]);

  const strict = starts(t, ', strictAffinity: true');
  for (const name of ['a', 'b', 'c', 'd']) await strict.start(name);
  const late = await strict.start('e');
  assert.match(late.blocks.place?.problems().join() ?? '', /borrowing is off \(strict affinity\)/);
});

test('what is wrong with a request is said, and nothing is taken', async (t) => {
  const { store, start } = starts(t);
  const { blocks } = await start('a');
  const refuse = (request: object, code: string): Promise<void> =>
    assert.rejects(async () => blocks.allocator?.allocate('p', request), { code });
  const held = async (): Promise<string> =>
    JSON.stringify((await store.list('Block')).map(({ value }) => (value as Block).holders));
  const before = await held();
  await refuse({ sets: [[{ subnet: '10.0.0.0/26' }]] }, 'cni-config');
  await refuse({ pools: { 4: ['nowhere'] } }, 'cni-config');
  await refuse({ wanted: [address('fd00::1')] }, 'cni-config');
  await refuse({ wanted: [address('192.0.2.1')] }, 'address-taken');
  await refuse({ wanted: [address(`${blocks.place?.held[4]?.split('/')[0]}`)] }, 'address-taken');
  assert.equal(await held(), before);
});

test('whoever makes a change known, it is told of: also a read after a refused write', async (t) => {
  const { start } = starts(t);
  const { blocks } = await start('a');
  const other = await start('b');
  const { blocks: others, nodes } = other;
  assert.deepEqual([...new Set(nodes)].sort(), ['a', 'b']);
  nodes.length = 0;
  other.deaf = true;
  const home = others.place?.held[4] ?? '';
  // Node a borrows of b's block, and b reads that before its watch tells.
  const wanted = address(home.replace(/\.\d+\/\d+$/, (end) => `.${Number(end.slice(1).split('/')[0]) + 40}`));
  await blocks.allocator?.allocate('p', { wanted: [wanted] });
  await others.place?.maintain();
  assert.ok(nodes.includes('a'), nodes.join());
  assert.deepEqual(
    others.prefixesOf('a').filter((prefix) => prefix.endsWith('/32')),
    [`${wanted}/32`],
  );
});
