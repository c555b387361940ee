import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manualClock } from '#lib/clock.ts';
import type { Attachment } from '#model/attachment.ts';
import { Fault } from '#model/fault.ts';
import { createMemoryStore } from '#stores/memory.ts';
import { Garbage } from './garbage.ts';

const GRACE_MS = 900_000;

function open() {
  const clock = manualClock();
  const store = createMemoryStore(clock);
  const state = { suspects: [] as Attachment[], isAway: false, asked: 0 };
  const collected: string[] = [];
  const garbage = new Garbage({
    store: {
      get: async (...given) => {
        state.asked += 1;
        if (state.isAway) throw new Fault('store-away', 'away');
        return store.get(...given);
      },
    },
    clock,
    node: 'a',
    graceMs: GRACE_MS,
    suspects: () => state.suspects,
    collect: async ({ containerId }, why) => void collected.push(`${containerId}: ${why}`),
  });
  const pod = (name: string, uid: string, node: string): string =>
    `{ apiVersion: v1, kind: Pod, metadata: { namespace: shop, name: ${name}, uid: ${uid} }, spec: { nodeName: ${node} } }`;
  return {
    clock,
    garbage,
    state,
    collected,
    pods: (...pods: readonly (readonly [string, string, string])[]) =>
      store.writeManifests('api', pods.map((one) => pod(...one)).join('\n---\n')),
  };
}

const suspect = (name: string, uid?: string, more: Partial<Attachment> = {}): Attachment =>
  ({
    network: 'net',
    containerId: `c-${name}`,
    ifname: 'eth0',
    pod: { namespace: 'shop', name, ...(uid === undefined ? {} : { uid }) },
    ...more,
  }) as Attachment;

test('only what kernel and API both say is gone, and only after the grace', async () => {
  const { clock, garbage, state, collected, pods } = open();
  pods(['here', 'u1', 'a'], ['moved', 'u2', 'b'], ['again', 'u4', 'a']);
  const { pod: _, ...nameless } = suspect('nameless');
  state.suspects = [
    suspect('here', 'u1'),
    suspect('moved', 'u2'),
    suspect('again', 'u3'),
    suspect('gone'),
    suspect('delegated', 'u5', { delegatedIpam: 'host-local' }),
    nameless,
  ];
  await garbage.look();
  await clock.advance(GRACE_MS - 1);
  await garbage.look();
  assert.equal(state.asked, 0, 'nobody is asked before');
  await clock.advance(1);
  await garbage.look();
  const gone = 'its network namespace is gone, and';
  assert.deepEqual(collected, [
    `c-moved: ${gone} its pod is on node b`,
    `c-again: ${gone} Kubernetes has another pod of its name`,
    `c-gone: ${gone} Kubernetes has no such pod`,
  ]);
});

test('a namespace that is there again begins the grace anew; a store that is away removes nothing', async () => {
  const { clock, garbage, state, collected } = open();
  state.suspects = [suspect('a')];
  await garbage.look();
  await clock.advance(GRACE_MS / 2);
  state.suspects = [];
  await garbage.look();
  state.suspects = [suspect('a')];
  await garbage.look();
  await clock.advance(GRACE_MS - 1);
  await garbage.look();
  assert.deepEqual(collected, []);
  state.isAway = true;
  await clock.advance(1);
  await assert.rejects(garbage.look(), { code: 'store-away' });
  assert.deepEqual(collected, []);
  state.isAway = false;
  await garbage.look();
  assert.equal(collected.length, 1);
});
