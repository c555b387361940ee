import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { manualClock } from '#lib/clock.ts';
import type { NodeAdvert, SubnetClaim } from '#model/world.ts';
import { createMemoryStore } from '#stores/memory.ts';
import type { Stored, StoreKind } from '#stores/store.ts';
import { Brake } from './brake.ts';
import { Departures } from './departures.ts';

const GRACE_MS = 900_000;
const ANSWER_MS = 150_000;
const STEP_MS = 15_000;

/** A store, and the controller's look at it; `told`: by a Kubernetes that has these nodes. */
function open({ told, share = 1 }: { told?: readonly string[]; share?: number } = {}) {
  const clock = manualClock(1_000_000);
  const store = createMemoryStore(clock);
  const texts: string[] = [];
  const events = { add: (_: string, text: string) => void texts.push(text) };
  const brake = new Brake({ share, minimum: 1, events });
  const objects = {
    Node: new Map<string, Stored>(),
    SubnetClaim: new Map<string, Stored>(),
    Workloads: new Map<string, Stored>(),
  };
  const nodes = new Set(told);
  const manifests = (): void =>
    store.writeManifests(
      'kubernetes',
      [...nodes].map((name) => `apiVersion: v1\nkind: Node\nmetadata: { name: ${name} }\n`).join('---\n'),
    );
  const departures = new Departures({
    store,
    clock,
    events,
    brake,
    identity: 'c1',
    graceMs: GRACE_MS,
    answerMs: ANSWER_MS,
    objects: { ...objects, nodeObjects: told === undefined ? undefined : () => nodes },
  });
  return {
    clock,
    store,
    texts,
    brake,
    nodes,
    departures,
    /** Time goes by in steps; before each look `live` does what the nodes do. */
    pass: async (ms: number, live: () => Promise<void> = async () => {}): Promise<void> => {
      for (const end = clock.monotonicMs() + ms; clock.monotonicMs() < end;) {
        await clock.advance(STEP_MS);
        await live();
        manifests();
        for (const [kind, known] of Object.entries(objects)) {
          known.clear();
          for (const object of await store.list(kind as StoreKind)) known.set(object.name, object);
        }
        await departures.look();
      }
    },
    names: async (kind: StoreKind) => (await store.list(kind)).map(({ name }) => name).sort(),
  };
}

const advert = (name: string) => ({ name, ready: true }) as unknown as NodeAdvert;
const claim = (node: string, subnet: string, reserved = false) => ({ node, subnet, reserved }) as SubnetClaim;

test('a node that Kubernetes has deleted and that does not answer goes with all that it had', async () => {
  const { store, pass, names, texts } = open({ told: ['a'] });
  for (const node of ['a', 'b']) {
    await store.put('Node', node, advert(node));
    await store.put('SubnetClaim', `10.0.${node === 'a' ? 1 : 2}.0-24`, claim(node, '10.0.2.0/24'), {
      ttlSeconds: 86_400,
    });
    await store.put('Workloads', node, { node, pods: [] });
  }
  await store.put('SubnetClaim', '10.0.9.0-24', claim('b', '10.0.9.0/24', true));
  await pass(GRACE_MS);
  assert.deepEqual(await names('Node'), ['a', 'b']);
  const asked = await store.get('Node', 'b');
  await pass(STEP_MS);
  assert.deepEqual((await store.get('Node', 'b'))?.value, { ...advert('b'), questioned: 'c1' });
  assert.notEqual((await store.get('Node', 'b'))?.version, asked?.version);
  await pass(ANSWER_MS);
  assert.deepEqual(await names('Node'), ['a']);
  assert.deepEqual(await names('Workloads'), ['a', 'b']);
  await pass(GRACE_MS + ANSWER_MS + 2 * STEP_MS);
  assert.deepEqual(await names('Workloads'), ['a']);
  assert.deepEqual(await names('SubnetClaim'), ['10.0.1.0-24', '10.0.9.0-24'], 'reservations stay');
  assert.equal(texts.length, 3, texts.join('\n'));
});

test('a claim that is questioned expires when it would have', async () => {
  const { store, pass, clock } = open();
  await store.put('SubnetClaim', '10.0.1.0-24', claim('a', '10.0.1.0/24'), { ttlSeconds: 1000 });
  const before = (await store.get('SubnetClaim', '10.0.1.0-24'))?.expiresAtMs;
  await pass(GRACE_MS + STEP_MS);
  const after = await store.get('SubnetClaim', '10.0.1.0-24');
  assert.deepEqual(after?.value, { ...claim('a', '10.0.1.0/24'), questioned: 'c1' });
  assert.equal(after.expiresAtMs, before);
  assert.ok((after.expiresAtMs ?? 0) > clock.nowMs());
});

test('without Kubernetes to tell, a node that is silent for ever keeps everything', async () => {
  const { store, pass, names } = open();
  await store.put('Node', 'a', advert('a'));
  await store.put('SubnetClaim', '10.0.1.0-24', claim('a', '10.0.1.0/24'));
  const { version } = (await store.get('Node', 'a')) ?? {};
  await pass(5 * GRACE_MS);
  assert.deepEqual(await names('SubnetClaim'), ['10.0.1.0-24']);
  assert.equal((await store.get('Node', 'a'))?.version, version, 'it is not even asked');
});

test('an API server that tells of no node at all is not believed; one of many is braked', async () => {
  const { store, pass, names, nodes, brake, texts } = open({ told: ['a', 'b', 'c', 'd'], share: 0.5 });
  for (const node of ['a', 'b', 'c', 'd']) await store.put('Node', node, advert(node));
  nodes.clear();
  await pass(2 * GRACE_MS);
  nodes.add('a');
  await pass(2 * GRACE_MS);
  assert.deepEqual(await names('Node'), ['a', 'b', 'c', 'd']);
  assert.match(brake.reason ?? '', /^3 of 4 nodes are not in Kubernetes any more/);
  assert.equal(texts.length, 1);
  nodes.add('b');
  await pass(STEP_MS);
  assert.equal(brake.reason, undefined);
  await pass(ANSWER_MS + 2 * STEP_MS);
  assert.deepEqual(await names('Node'), ['a', 'b']);
});

test('whoever lives and answers keeps all that is his, whatever Kubernetes says', async () => {
  const living = fc.record({
    /** How long it takes from a question to the answer. */
    answersMs: fc.nat(ANSWER_MS - 2 * STEP_MS),
    isTold: fc.boolean(),
    /** The store is out of its reach, beginning then and for so long. */
    away: fc.record({ atMs: fc.nat(4 * GRACE_MS), forMs: fc.nat(GRACE_MS) }),
    /** It never comes as far as to write an advert. */
    isUnready: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(living, { minLength: 1, maxLength: 4 }), async (found) => {
      const told = found.flatMap(({ isTold }, index) => (isTold ? [`n${index}`] : []));
      const { store, clock, pass } = open({ told: ['other', ...told] });
      const startMs = clock.monotonicMs();
      const asked = new Map<string, number>();
      const written = new Set<string>();
      const live = async (index: number, node: (typeof found)[0], nowMs: number): Promise<void> => {
        const { away, isUnready, answersMs } = node;
        const isAway = away.atMs <= nowMs && nowMs < away.atMs + away.forMs;
        for (const [kind, name, value] of ownOf(index).slice(isUnready ? 1 : 0)) {
          const present = await store.get(kind, name);
          const isRight = JSON.stringify(present?.value) === JSON.stringify(value);
          if (isRight) asked.delete(`${kind} ${name}`);
          if (isRight) written.add(`${kind} ${name}`);
          const isLost = present === undefined && written.has(`${kind} ${name}`);
          if (isLost)
            assert.ok(away.forMs + answersMs > ANSWER_MS - 3 * STEP_MS, `${kind} ${name} was removed`);
          if (isRight || isAway) continue;
          const sinceMs = asked.get(`${kind} ${name}`) ?? nowMs;
          asked.set(`${kind} ${name}`, sinceMs);
          if (present === undefined || nowMs - sinceMs >= answersMs) await store.put(kind, name, value);
        }
      };
      await pass(6 * GRACE_MS, async () => {
        for (const [index, node] of found.entries()) await live(index, node, clock.monotonicMs() - startMs);
      });
    }),
    { numRuns: 25 },
  );
});

function ownOf(index: number) {
  const name = `n${index}`;
  return [
    ['Node', name, advert(name)],
    ['SubnetClaim', `10.0.${index}.0-24`, claim(name, `10.0.${index}.0/24`)],
    ['Workloads', name, { node: name, pods: [] }],
  ] as const;
}
