import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPodGate } from './pod-gate.ts';
import { manualClock } from '#lib/clock.ts';
import type { Fault } from '#model/fault.ts';
import { type Manifest, manifestOf } from '#model/manifest.ts';
import type { Stored, Version } from '#stores/store.ts';

const NAME = 'v1/Pod/shop/web';
const POD = { namespace: 'shop', name: 'web', uid: 'u2' };

function object(uid: string, more: object = {}, annotations: object = {}): Manifest {
  return manifestOf('api', { metadata: { namespace: 'shop', name: 'web', uid, annotations }, ...more });
}

class World {
  readonly clock = manualClock();
  readonly known = new Map<string, Manifest>();
  /** What the API server has. */
  api: Manifest | undefined;
  answer: () => Promise<void> = () => Promise.resolve();
  asked = 0;
  readonly #gate = createPodGate({
    node: 'n1',
    clock: this.clock,
    store: {
      get: async (kind, name): Promise<Stored | undefined> => {
        this.asked += 1;
        await this.answer();
        const value = this.api;
        return value && { kind, name, value, version: '1' as Version, origin: 'api' };
      },
    },
    known: (name) => this.known.get(name),
    learn: (name, manifest) => this.known.set(name, manifest),
  });

  /** What becomes of it, and after how long. */
  async ask(pod = POD): Promise<{ readonly error: Fault | undefined; readonly ms: number }> {
    const outcomes: (Fault | undefined)[] = [];
    const asking = this.#gate(pod).then(
      () => outcomes.push(undefined),
      (error: Fault) => outcomes.push(error),
    );
    let ms = 0;
    for (; outcomes.length === 0 && ms < 10_000; ms += 50) {
      await this.clock.advance(50);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await asking;
    return { error: outcomes[0], ms };
  }
}

test('a pod that the watch has told of needs nobody, even with the API server away', async () => {
  const world = new World();
  world.known.set(NAME, object('u2'));
  world.answer = () => Promise.reject(new Error('away'));
  assert.equal((await world.ask()).error, undefined);
  assert.equal(world.asked, 0);
});

test('one that it has not is asked for; an older one of that name is another', async () => {
  const world = new World();
  world.known.set(NAME, object('u1'));
  world.api = object('u2', { spec: { nodeName: 'n1' } });
  assert.equal((await world.ask()).error, undefined);
  assert.equal(world.known.get(NAME), world.api);
});

test('of a static pod the object has another uid, and names that of the runtime', async () => {
  const world = new World();
  world.api = object('of-the-object', {}, { 'kubernetes.io/config.mirror': 'u2' });
  assert.equal((await world.ask()).error, undefined);
});

test('it is waited for, and then ADD is to come again', async () => {
  const world = new World();
  world.api = object('u1');
  const { error, ms } = await world.ask();
  assert.deepEqual([error?.code, error?.cni], ['pod-unknown', 11]);
  assert.match(error?.message ?? '', /Pod shop\/web is not in the API/);
  assert.ok(ms >= 2000 && ms < 3000, `${ms} ms`);
  const later = new World();
  later.answer = async () => {
    if (later.asked === 5) later.api = object('u2');
  };
  assert.equal((await later.ask()).error, undefined);
  assert.equal(later.asked, 5);
});

test('with the API server away, or silent, an unknown pod is refused', async () => {
  for (const answer of [() => Promise.reject(new Error('gone away')), () => new Promise<void>(() => {})]) {
    const world = new World();
    world.answer = answer;
    const { error, ms } = await world.ask();
    assert.equal(error?.cni, 11);
    assert.match(error?.message ?? '', /cannot be asked for: (gone away|no answer in two seconds)/);
    assert.ok(ms < 3000);
  }
});

test('a pod of another node: this one has a wrong name', async () => {
  const world = new World();
  world.api = object('u2', { spec: { nodeName: 'n2' } });
  assert.match((await world.ask()).error?.message ?? '', /is on the node n2, and this one is called n1/);
});
