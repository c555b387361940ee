import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manifestContract } from './manifest-contract.ts';
import type { Store, StoreEvent, Stored, StoreKind } from './store.ts';

/** What every store must do, as tests. A store's own test file calls `storeContract` and adds what is its own. */
export type StateHarness = {
  readonly store: Store;
  /** Another way to the same objects, as another process has; may be the same store. */
  readonly other: Store;
  /** Makes the source go away and, once that was noticed, come back with the same objects. */
  readonly interrupt: (noticed: () => Promise<void>) => Promise<void>;
  close(): Promise<void>;
};
export type StoreHarness = StateHarness & {
  /** What an operator does, from outside: this is the text of that source now; undefined, and it is gone. */
  readonly writeManifests: (source: string, text: string | undefined) => void | Promise<void>;
};

/** Follows a watch: every event in order, and the objects that a reader believes in. */
export class Follower {
  readonly events: StoreEvent[] = [];
  readonly objects = new Map<string, Stored>();
  #repeated: Set<string> | undefined;
  #changed: (() => void) | undefined;

  constructor(store: Store, kind: StoreKind, signal: AbortSignal) {
    void this.#follow(store.watch(kind, signal));
  }
  async #follow(events: AsyncIterable<StoreEvent>): Promise<void> {
    for await (const event of events) {
      this.events.push(event);
      this.#play(event);
      this.#changed?.();
    }
  }
  #play(event: StoreEvent): void {
    if (event.type === 'gap') this.#repeated = new Set();
    else if (event.type === 'removed') this.objects.delete(event.name);
    else if (event.type === 'put') {
      this.objects.set(event.object.name, event.object);
      this.#repeated?.add(event.object.name);
    } else if (event.type === 'synced' && this.#repeated !== undefined) {
      for (const name of this.objects.keys()) if (!this.#repeated.has(name)) this.objects.delete(name);
      this.#repeated = undefined;
    }
  }
  get types(): string {
    return this.events.map(({ type }) => type).join(' ');
  }
  /** Resolves once the condition holds; rejects, with what was seen, when it does not within the time. */
  async until(condition: () => boolean, ms = 15_000): Promise<void> {
    const deadline = performance.now() + ms;
    while (!condition()) {
      const left = deadline - performance.now();
      assert.ok(left > 0, `not seen in ${ms} ms; the last events: ${JSON.stringify(this.events.slice(-5))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 100));
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
  synced(times = 1): Promise<void> {
    return this.until(() => this.events.filter(({ type }) => type === 'synced').length >= times);
  }
}

const CONFLICT = { code: 'store-conflict' };

export function storeContract(name: string, open: () => Promise<StoreHarness>): void {
  const run = runnerOf(name, open);
  runState(run);
  manifestContract(run);
}

/** All but operators' objects, where others than an operator write among them too. */
export function stateContract(name: string, open: () => Promise<StateHarness>): void {
  runState(runnerOf(name, open));
}

function runnerOf<Harness extends StateHarness>(name: string, open: () => Promise<Harness>): Run<Harness> {
  return (what, body) => {
    void test(`${name}: ${what}`, async () => {
      const harness = await open();
      const stop = new AbortController();
      try {
        await body(harness, (kind = 'Node') => new Follower(harness.store, kind, stop.signal));
      } finally {
        stop.abort();
        await harness.close();
      }
    });
  };
}

function runState(run: Run): void {
  valueContract(run);
  swapContract(run);
  watchContract(run);
  gapContract(run);
}

export type Follow = (kind?: StoreKind) => Follower;
export type Run<Harness extends StateHarness = StateHarness> = (
  what: string,
  body: (harness: Harness, follow: Follow) => Promise<void>,
) => void;

function valueContract(run: Run): void {
  run('values come back as they were, kinds and names apart', async ({ store, other }) => {
    const value = {
      text: 'zwölf 🐈 \u2028 "yes" no ~',
      n: 1.5,
      yes: true,
      nothing: null,
      list: [[], {}, '1e3'],
      '': 'k',
    };
    const written = await store.put('Node', 'a.b-c_1', value);
    await store.put('SubnetClaim', 'a.b-c_1', { other: 1 });
    await store.put('SubnetClaim', 'fd00:1::-64', { six: true });
    await store.put('Workloads', 'a.b-c_1', { node: 'a.b-c_1', pods: [] });
    for (const reader of [store, other]) {
      const read = await reader.get('Node', 'a.b-c_1');
      assert.deepEqual(read?.value, value);
      assert.equal(read?.version, written.version);
      assert.deepEqual((await reader.get('SubnetClaim', 'fd00:1::-64'))?.value, { six: true });
      assert.deepEqual((await reader.get('Workloads', 'a.b-c_1'))?.value, { node: 'a.b-c_1', pods: [] });
      assert.equal(await reader.get('Node', 'none'), undefined);
      const names = (await reader.list('SubnetClaim')).map((object) => object.name);
      assert.deepEqual(names.sort(), ['a.b-c_1', 'fd00:1::-64']);
    }
  });
  run('removal; removing what is not there is fine', async ({ store, other }) => {
    await store.put('Node', 'a', { n: 1 });
    await other.remove('Node', 'a');
    await other.remove('Node', 'a');
    assert.equal(await store.get('Node', 'a'), undefined);
    assert.deepEqual(await store.list('Node'), []);
  });
  run('an expired object is gone for readers, watchers and writers', async ({ store, other }, follow) => {
    const follower = follow();
    await follower.synced();
    await store.put('Node', 'brief', { n: 1 }, { ttlSeconds: 0.3 });
    await store.put('Node', 'renewed', { n: 1 }, { ttlSeconds: 0.3 });
    const renewed = await store.put('Node', 'renewed', { n: 2 }, { ttlSeconds: 60 });
    assert.ok((renewed.expiresAtMs ?? 0) > Date.now() + 50_000);
    await follower.until(() => follower.types.endsWith('removed'));
    assert.deepEqual([...follower.objects.keys()], ['renewed']);
    assert.equal(await other.get('Node', 'brief'), undefined);
    assert.deepEqual(
      (await other.list('Node')).map((object) => object.name),
      ['renewed'],
    );
    await other.put('Node', 'brief', { n: 3 }, { expect: 'absent' });
  });
}

function swapContract(run: Run): void {
  run('compare-and-swap: absent, the version, and nothing else', async ({ store, other }) => {
    const first = await store.put('Node', 'a', { n: 1 }, { expect: 'absent' });
    await assert.rejects(other.put('Node', 'a', { n: 2 }, { expect: 'absent' }), CONFLICT);
    const second = await other.put('Node', 'a', { n: 1 }, { expect: first.version });
    assert.notEqual(second.version, first.version, 'a write is a write, also of the same value');
    await assert.rejects(store.put('Node', 'a', { n: 3 }, { expect: first.version }), CONFLICT);
    await assert.rejects(store.remove('Node', 'a', { expect: first.version }), CONFLICT);
    assert.equal((await store.get('Node', 'a'))?.version, second.version);
    await store.remove('Node', 'a', { expect: second.version });
    await assert.rejects(store.put('Node', 'a', { n: 4 }, { expect: second.version }), CONFLICT);
  });
  run('concurrent writers: one creates, and no increment is lost', async ({ store, other }) => {
    const creators = Array.from({ length: 10 }, (_, n) =>
      (n % 2 === 0 ? store : other).put('Node', 'c', { n: 0 }, { expect: 'absent' }),
    );
    const outcomes = await Promise.allSettled(creators);
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    const increment = async (through: Store): Promise<void> => {
      for (;;) {
        const read = await through.get('Node', 'c');
        assert.ok(read !== undefined);
        const value = { n: (read.value as { n: number }).n + 1 };
        try {
          return void (await through.put('Node', 'c', value, { expect: read.version }));
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'store-conflict');
        }
      }
    };
    await Promise.all(Array.from({ length: 12 }, (_, n) => increment(n % 2 === 0 ? store : other)));
    assert.deepEqual((await store.get('Node', 'c'))?.value, { n: 12 });
  });
}

function watchContract(run: Run): void {
  run(
    'a watch begins with what is there, then synced, then changes of its kind only',
    async (harness, follow) => {
      const { store, other } = harness;
      await store.put('Node', 'a', { n: 1 });
      const follower = follow();
      await follower.synced();
      assert.equal(follower.types, 'put synced');
      await store.put('SubnetClaim', 'x', { n: 1 });
      await store.put('Node', 'a', { n: 2 });
      await other.put('Node', 'b', { n: 3 });
      await follower.until(() => follower.objects.has('b'));
      await other.remove('Node', 'a');
      await follower.until(() => !follower.objects.has('a'));
      assert.equal(follower.types, 'put synced put put removed');
      assert.deepEqual(follower.objects.get('b')?.value, { n: 3 });
    },
  );
  run(
    'every watcher ends in the present state, whatever happens at once',
    async ({ store, other }, follow) => {
      const followers = [follow(), follow()];
      await Promise.all(followers.map((follower) => follower.synced()));
      const written = Array.from(
        { length: 40 },
        (_, n) => [n % 2 === 0 ? store : other, `n${n % 8}`, n] as const,
      );
      await Promise.all(written.map(([through, name, n]) => through.put('Node', name, { n })));
      await other.remove('Node', 'n0');
      const versions = (objects: readonly Stored[]): string =>
        objects
          .map((object) => `${object.name} ${object.version}`)
          .sort()
          .join();
      const present = versions(await store.list('Node'));
      for (const follower of followers) {
        await follower.until(() => versions([...follower.objects.values()]) === present);
        const values = new Set(written.map(([, name, n]) => `${name} ${n}`));
        for (const event of follower.events) {
          if (event.type !== 'put') continue;
          const { name, value } = event.object;
          assert.ok(values.has(`${name} ${(value as { n: number }).n}`), 'nothing is invented');
        }
      }
    },
  );
}

function gapContract(run: Run): void {
  run('300 objects', async ({ store }, follow) => {
    for (let n = 0; n < 300; n += 1) await store.put('Node', `n${n}`, { n });
    const follower = follow();
    await follower.synced();
    assert.equal(follower.objects.size, 300);
    assert.equal(follower.events.length, 301);
  });
  run('a source that goes away is a gap and never removals', async ({ store, interrupt }, follow) => {
    for (const name of ['a', 'b', 'c']) await store.put('Node', name, { name });
    const follower = follow();
    await follower.synced();
    await interrupt(() => follower.until(() => follower.types.includes('gap')));
    await follower.synced(2);
    assert.ok(!follower.types.includes('removed'), follower.types);
    assert.match(follower.types, /gap.*synced/);
    assert.deepEqual([...follower.objects.keys()].sort(), ['a', 'b', 'c']);
  });
  run('a watch ends when it is aborted or left', async ({ store }) => {
    const stop = new AbortController();
    for await (const event of store.watch('Node', stop.signal)) if (event.type === 'synced') stop.abort();
    for await (const event of store.watch('Node', new AbortController().signal))
      if (event.type === 'synced') break;
  });
}
