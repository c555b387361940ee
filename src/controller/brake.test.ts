import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manualClock } from '#lib/clock.ts';
import { CLUSTER_STATUS, type ClusterStatus } from '#model/cluster-status.ts';
import { createMemoryStore } from '#stores/memory.ts';
import { Brake } from './brake.ts';
import { findRelease, releaseBrake } from './release.ts';

function open() {
  const texts: string[] = [];
  const brake = new Brake({ share: 0.5, minimum: 3, events: { add: (_, text) => void texts.push(text) } });
  return { brake, texts };
}

test('an operator’s word counts for so many nodes, and no longer than they are too many', () => {
  const { brake, texts } = open();
  assert.equal(brake.allows('are away', 8, 10), false);
  assert.deepEqual([brake.gone, brake.reason?.startsWith('8 of 10 nodes are away')], [8, true]);
  brake.believe(8);
  assert.equal(brake.allows('are away', 9, 10), false, 'one more than he said');
  brake.believe(9);
  assert.equal(brake.allows('are away', 9, 10), true);
  assert.equal(brake.reason, undefined);
  assert.equal(brake.allows('have pods and no advert', 9, 10), true, 'whatever is taken of them');
  assert.equal(brake.allows('are away', 6, 7), true, 'while they are taken back');
  assert.equal(brake.allows('have pods and no advert', 3, 7), true);
  assert.equal(brake.allows('are away', 2, 3), true);
  assert.equal(brake.gone, 0);
  assert.equal(brake.allows('are away', 9, 10), false, 'another time he is asked again');
  assert.equal(texts.length, 4, texts.join('; '));
});

test('the word is for what the brake held for when it was read', async () => {
  const store = createMemoryStore(manualClock());
  await assert.rejects(releaseBrake(store), { code: 'no-controller' });
  const status = { controller: 'c' } as ClusterStatus;
  await store.put('ClusterStatus', CLUSTER_STATUS, status);
  await assert.rejects(releaseBrake(store), { code: 'request-invalid' });
  assert.equal(await findRelease(store), undefined);
  await store.put('ClusterStatus', CLUSTER_STATUS, { ...status, braked: 'why', gone: 8 });
  assert.equal(await releaseBrake(store), 'why');
  assert.equal(await findRelease(store), 8);
});
