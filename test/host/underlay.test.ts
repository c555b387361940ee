/** The lab's own network, without any agent: nodes reach each other, cuts cut and heal, and removal leaves nothing. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inNetns, isRunning, run, startDetached } from '../../src/lab/process.ts';
import { type LabShape, nodePlaces, routerNetns } from '../../src/lab/topology.ts';
import { buildUnderlay, cutNodes, healAll, labNamespaces, removeNetns } from '../../src/lab/underlay.ts';

const shape: LabShape = { name: `lb-under-${process.pid}`, nodes: 3, subnets: 2 };
const [one, two, three] = nodePlaces(shape);
assert.ok(one !== undefined && two !== undefined && three !== undefined);

before(() => buildUnderlay(shape));
after(async () => {
  await Promise.all(labNamespaces(shape.name).map(removeNetns));
});

async function reaches(from: typeof one, to: typeof two, family: 4 | 6): Promise<boolean> {
  if (from === undefined || to === undefined) throw new Error('no such node');
  const words = ['ping', '-n', '-q', '-c', '1', '-W', '1', to.addresses[family]];
  return (await run(inNetns(from.netns, words))).code === 0;
}

test('neighbours and nodes behind the router reach each other in both families', async () => {
  for (const family of [4, 6] as const) {
    assert.ok(await reaches(one, two, family), `node1 to node2 by IPv${family}`);
    assert.ok(await reaches(one, three, family), `node1 to node3 by IPv${family}`);
  }
  const { stdout } = await run(inNetns(one.netns, ['ip', 'route', 'get', three.addresses[4]]));
  assert.match(stdout, /via 192\.168\.10\.1 /, 'node3 is behind the router');
});

test('a cut between neighbours, between subnets, and of a whole node; each heals', async () => {
  for (const [a, b] of [
    [one, two],
    [one, three],
  ] as const) {
    await cutNodes(shape.name, a, b);
    assert.equal(await reaches(a, b, 4), false);
    assert.equal(await reaches(b, a, 6), false);
    assert.ok(await reaches(two, three, 4), 'others are not touched');
    await healAll(shape);
    assert.ok(await reaches(a, b, 4));
  }
  await cutNodes(shape.name, three);
  assert.equal(await reaches(two, three, 4), false);
  await healAll(shape);
  // The kernel tells of a carrier that is back up to a second later (net/core/link_watch.c).
  const again = (await reaches(two, three, 4)) || (await reaches(two, three, 4));
  assert.ok(again);
});

test('removing a namespace ends what runs in it, and only that', async () => {
  const inside = startDetached(inNetns(routerNetns(shape.name), ['sleep', '60']), '/dev/null');
  const outside = startDetached(['sleep', '5'], '/dev/null');
  await sleep(50);
  assert.ok(isRunning(inside));
  await removeNetns(routerNetns(shape.name));
  await sleep(50);
  assert.ok(!isRunning(inside));
  assert.ok(isRunning(outside));
  process.kill(outside.pid, 'SIGKILL');
  assert.ok(!labNamespaces(shape.name).includes(routerNetns(shape.name)));
});
