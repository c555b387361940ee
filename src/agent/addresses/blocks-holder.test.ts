/**
 * Nodes at one store whose reads and writes come in any order, and which die at any moment: no address is ever two nodes', none is
 * lost, and a node finds again what it held.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BlockHolder, type Scene } from './blocks-holder.ts';
import { BlockReclaimer } from '#controller/blocks-reclaim.ts';
import { addressAt, blockProblem, freeOf, heldBy, nodesOf } from '#ipam/blocks/block.ts';
import { manualClock } from '#lib/clock.ts';
import type { Block } from '#model/block.ts';
import { Fault } from '#model/fault.ts';
import { plainPool } from '#ipam/blocks/pool-book.ts';
import type { Address } from '#net/address.ts';
import { hostPrefix, prefix, prefixLength } from '#net/prefix.ts';
import { createMemoryStore } from '#stores/memory.ts';
import type { Store } from '#stores/store.ts';

const SCENE: Scene = {
  pools: [plainPool('p', prefix('10.0.0.0/27'), 29)],
  rules: { strictAffinity: false, maxBlocksPerNode: 2 },
  reserved: [],
  foreign: [],
};

type Access = Omit<Store, 'watch'>;

/**
 * A store that is far away: what is asked arrives some time later, and so does the answer. Some writes are given up, and done all
 * the same, at any time.
 */
function distant(store: Access, wait: () => Promise<void>, isGivenUp: () => boolean): Access {
  const late =
    <A extends unknown[], R>(act: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await wait();
      try {
        return await act(...args);
      } finally {
        await wait();
      }
    };
  const given =
    <A extends unknown[], R>(act: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (!isGivenUp()) return act(...args);
      void act(...args).catch(() => undefined);
      await wait();
      throw new Fault('io', 'no answer');
    };
  const [put, remove] = [given(late(store.put)), given(late(store.remove))];
  return { get: late(store.get), list: late(store.list), put, remove };
}

/** A node as it is: a process that may die, and a ledger that stays. */
class Node {
  readonly name: string;
  readonly #store: Access;
  readonly #wait: () => Promise<void>;
  readonly #isGivenUp: () => boolean;
  holder: BlockHolder;
  #life = 0;
  #die = Promise.withResolvers<void>();
  /** Pods and their addresses. */
  readonly ledger = new Map<string, Address>();
  #pods = 0;

  constructor(name: string, store: Access, wait: () => Promise<void>, isGivenUp: () => boolean) {
    this.name = name;
    this.#store = store;
    this.#wait = wait;
    this.#isGivenUp = isGivenUp;
    this.holder = this.#open();
  }
  #open(): BlockHolder {
    return new BlockHolder({
      store: distant(this.#store, this.#alive(), this.#isGivenUp),
      node: this.name,
      clock: manualClock(),
    });
  }
  /** Whoever died goes on no more: a promise that never resolves. */
  #alive(): () => Promise<void> {
    const life = this.#life;
    return async () => {
      await this.#wait();
      if (life !== this.#life) await new Promise<never>(() => {});
    };
  }
  /** Resolves when this life ends. */
  get dead(): Promise<void> {
    return this.#die.promise;
  }
  /** SIGKILL, and a start: what was under way may have been done or not. */
  async restart(): Promise<void> {
    this.#life += 1;
    this.#die.resolve();
    this.#die = Promise.withResolvers();
    this.holder = this.#open();
    for (const [pod, ip] of this.ledger) this.holder.shelf.adopt(pod, ip);
    const { holder } = this;
    while (!(await this.#isBegun(holder)));
  }
  async #isBegun(holder: BlockHolder): Promise<boolean> {
    try {
      await holder.begin();
      return true;
    } catch (error) {
      if (!isTolerable(error)) throw error;
      return false;
    }
  }
  async add(): Promise<void> {
    const life = this.#life;
    const pod = `${this.name}-${(this.#pods += 1)}`;
    const { holder } = this;
    const next = (): Address | undefined => holder.shelf.take(pod, holder.shelf.blocks(), () => true);
    const ip =
      next() ??
      (await holder.exclusively(async () => {
        for (;;) {
          const found = next();
          if (found !== undefined) return found;
          await holder.obtain(SCENE);
        }
      }));
    if (life === this.#life) this.ledger.set(pod, ip);
  }
  remove(): void {
    const [pod] = this.ledger.keys();
    if (pod === undefined) return;
    const ip = this.ledger.get(pod) as Address;
    this.ledger.delete(pod);
    this.holder.shelf.release(pod);
    this.holder.shelf.settle(ip);
  }
  async giveBack(): Promise<void> {
    for (const block of this.holder.shelf.blocks())
      await this.holder.giveBack(block, this.holder.shelf.spareOf(block));
  }
}

const isTolerable = (error: unknown): boolean =>
  error instanceof Fault && ['addresses-exhausted', 'store-conflict', 'io'].includes(error.code);

async function blocksOf(store: Access): Promise<Block[]> {
  const objects = await store.list('Block');
  for (const { name, value } of objects) assert.equal(blockProblem(name, value), undefined);
  return objects.map(({ value }) => value as Block);
}

/** Whether each of the first writes is given up. Those after them are not: whoever tries again and again comes through. */
const LUCK = fc.array(
  fc.nat(5).map((roll) => roll === 0),
  { maxLength: 200, size: 'max' },
);

test('in any order of reads and writes, and whoever dies: no address is two pods’', async () => {
  const names = ['a', 'b', 'c'];
  const step = fc.record({
    node: fc.nat(2),
    act: fc.constantFrom('add', 'add', 'add', 'remove', 'giveBack', 'drop', 'verify', 'restart'),
    isAwaited: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(step, { maxLength: 60, size: 'max' }),
      LUCK,
      async (scheduler, steps, luck) => {
        const store = createMemoryStore(manualClock());
        const wait = (): Promise<void> => scheduler.schedule(Promise.resolve());
        let asked = 0;
        const isGivenUp = (): boolean => luck[asked++] === true;
        const nodes = names.map((name) => new Node(name, store, wait, isGivenUp));
        const assertApart = (): void => {
          const used = nodes.flatMap(({ ledger }) => [...ledger.values()]);
          assert.equal(new Set(used).size, used.length, `twice: ${used.join(' ')}`);
        };
        const play = async (): Promise<void> => {
          const running: Promise<unknown>[] = [];
          for (const { node, act, isAwaited } of steps) {
            const one = nodes[node] as Node;
            const done = perform(one, act).then(assertApart);
            const tolerated = Promise.race([done, one.dead]).catch((error: unknown) => {
              if (!isTolerable(error)) throw error;
            });
            if (isAwaited) await tolerated;
            else running.push(tolerated);
          }
          await Promise.all(running);
        };
        await scheduler.waitFor(play());
        // Afterwards: everything is accounted for, and each finds what it held.
        for (const one of nodes) await scheduler.waitFor(one.restart());
        const blocks = await blocksOf(store);
        for (const one of nodes) {
          const held = new Set(
            blocks.flatMap((block) => heldBy(block, one.name).map((n) => addressAt(block, n))),
          );
          for (const ip of one.ledger.values())
            assert.ok(held.has(ip), `${one.name} uses ${ip} and does not hold it`);
          assert.deepEqual(
            one.holder.shelf
              .blocks()
              .flatMap((block) => one.holder.shelf.heldOf(block))
              .sort(),
            [...held].sort(),
          );
        }
        assertApart();
      },
    ),
    { numRuns: 60, endOnFailure: true },
  );
});

test('nodes that were told different lengths of blocks: no two overlap, whoever is first', async () => {
  const [pool] = SCENE.pools;
  assert.ok(pool !== undefined);
  const told = fc.record({ blockLength: fc.constantFrom(28, 29, 30) });
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(told, { minLength: 2, maxLength: 4 }),
      LUCK,
      async (scheduler, nodes, luck) => {
        const store = createMemoryStore(manualClock());
        const wait = (): Promise<void> => scheduler.schedule(Promise.resolve());
        let asked = 0;
        const isGivenUp = (): boolean => luck[asked++] === true;
        const takeSome = async (node: string, own: object, store: Access): Promise<void> => {
          const holder = new BlockHolder({ store, node, clock: manualClock() });
          await holder.begin();
          const scene = { ...SCENE, pools: [{ ...pool, ...own }] };
          for (let times = 0; times < 4; times += 1)
            await holder
              .exclusively(() => holder.obtain(scene))
              .catch((error: unknown) => assert.ok(isTolerable(error), String(error)));
        };
        const far = distant(store, wait, isGivenUp);
        await scheduler.waitFor(Promise.all(nodes.map((own, n) => takeSome(`n${n}`, own, far))));
        await scheduler.waitIdle();
        await takeSome('last', {}, store);
        const prefixes = (await blocksOf(store)).map((block) => block.prefix);
        assert.ok(prefixes.length > 0);
        assert.equal(new Set(prefixes.map(prefixLength)).size, 1, prefixes.join(' '));
      },
    ),
    { numRuns: 100, endOnFailure: true },
  );
});

async function perform(node: Node, act: string): Promise<void> {
  if (act === 'add') return node.add();
  if (act === 'remove') return node.remove();
  if (act === 'giveBack') return node.giveBack();
  if (act === 'restart') return node.restart();
  if (act === 'verify') return node.holder.verify(node.holder.shelf.blocks());
  for (const block of node.holder.shelf.blocks()) await node.holder.drop(block);
}

test('a node that is gone loses its addresses after the grace; one that came back meanwhile does not', async () => {
  const clock = manualClock();
  const store = createMemoryStore(clock);
  const open = (node: string): BlockHolder => new BlockHolder({ store, node, clock });
  const [a, b] = [open('a'), open('b')];
  await a.begin();
  const block = await a.exclusively(() => a.obtain(SCENE));
  await b.begin();
  const borrowed = addressAt({ prefix: block }, 7);
  await b.exclusively(() => b.obtain(SCENE, borrowed));
  await store.put('Node', 'b', { name: 'b' });
  const reclaimer = new BlockReclaimer({
    store,
    clock,
    events: { add: () => {} },
    index: b.index,
    nodes: () => new Set(['b']),
    graceMs: () => 1000,
    mayTake: () => true,
  });
  const look = async (ms: number): Promise<Block[]> => {
    await clock.advance(ms);
    for (const { name, value, version } of await store.list('Block'))
      b.index.set(prefix(name.replace('-', '/')), { ...(value as Block), version });
    await reclaimer.look();
    return blocksOf(store);
  };
  await look(0);
  assert.deepEqual((await look(999)).map(nodesOf), [['a', 'b']]);
  const again = open('a');
  await again.begin();
  assert.deepEqual((await look(999)).map(nodesOf), [['a', 'b']], 'it gave a sign of life');
  assert.deepEqual((await look(999)).map(nodesOf), [['a', 'b']]);
  assert.deepEqual((await look(1)).map(nodesOf), [['b']], 'the borrower keeps what it holds');
  const [left] = await blocksOf(store);
  assert.equal(freeOf(left as Block).length, 6);
  assert.deepEqual(b.index.prefixesOf('b'), [hostPrefix(borrowed)]);
});

for (const [what, readAgain] of [
  ['read again', async (holder: BlockHolder) => (await holder.verify([]), holder)],
  ['found by the next start', async (_: BlockHolder, next: BlockHolder) => (await next.begin(), next)],
] as const) {
  test(`a write that was given up is not done once the block was ${what}`, async () => {
    const store = createMemoryStore(manualClock());
    const held: (() => Promise<unknown>)[] = [];
    let isGivingUp = false;
    const put: Store['put'] = async (...args) => {
      if (!isGivingUp) return store.put(...args);
      held.push(() => store.put(...args));
      throw new Fault('io', 'no answer');
    };
    const open = (): BlockHolder =>
      new BlockHolder({ store: { ...store, put }, node: 'a', clock: manualClock() });
    const holder = open();
    await holder.begin();
    const block = await holder.exclusively(() => holder.obtain(SCENE));
    isGivingUp = true;
    await assert.rejects(holder.giveBack(block, holder.shelf.spareOf(block)), { code: 'io' });
    assert.deepEqual(holder.shelf.spareOf(block), [], 'it may be given back yet');
    isGivingUp = false;
    const after = await readAgain(holder, open());
    const spare = after.shelf.spareOf(block);
    assert.equal(spare.length, 2, 'it was not');
    await assert.rejects(held[0]?.() ?? Promise.resolve(), { code: 'store-conflict' });
    const [stored] = await blocksOf(store);
    assert.deepEqual(
      heldBy(stored as Block, 'a').map((number) => addressAt(stored as Block, number)),
      spare,
    );
  });
}

test('after a start that was cut short nothing is dropped that a pod uses', async () => {
  const store = createMemoryStore(manualClock());
  const before = new BlockHolder({ store, node: 'a', clock: manualClock() });
  await before.begin();
  const block = await before.exclusively(() => before.obtain(SCENE));
  const [ip] = before.shelf.spareOf(block);
  assert.ok(ip !== undefined);
  let isAway = true;
  const put: Store['put'] = (...args) =>
    isAway ? Promise.reject(new Fault('io', 'no answer')) : store.put(...args);
  const holder = new BlockHolder({ store: { ...store, put }, node: 'a', clock: manualClock() });
  holder.shelf.adopt('pod', ip);
  await assert.rejects(holder.begin(), { code: 'io' });
  isAway = false;
  await holder.drop(block);
  const [stored] = await blocksOf(store);
  assert.equal(stored?.node, 'a');
});
