/**
 * The agent dies by SIGKILL at random moments of 200 concurrent ADDs and of 200 concurrent DELs. After its return a
 * runtime's retries succeed, and the node holds what its pods need and nothing more.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';
import {
  assertHolds,
  makePod,
  type Pod,
  request,
  restartArmed,
  ruleset,
  startLoneNode,
  succeed,
} from './reliability.ts';

const skip = whyNoKernel(['ip', 'nft', 'nsenter']) ?? whyNoTartan() ?? false;

test('killed at random moments of 200 concurrent ADDs and DELs', { skip }, async (t) => {
  const node = await startLoneNode('rl-storm', 'routed');
  const pods = Array.from({ length: 200 }, (_, index) =>
    makePod(index % 4 === 0 ? 20_000 + index : undefined),
  );
  /** All at once; after a random number of answers the agent is killed in the middle of the others. */
  const killDuring = async (verb: 'ADD' | 'DEL'): Promise<void> => {
    const count = 5 + Math.floor(Math.random() * 150);
    let answers = 0;
    let good = 0;
    let killed: Promise<void> | undefined;
    const one = async (pod: Pod): Promise<void> => {
      const { code } = await request(node, verb, pod);
      answers += 1;
      if (code === 0) good += 1;
      if (answers === count) killed = node.kill();
    };
    await Promise.all(pods.map(one));
    await killed;
    t.diagnostic(`${verb}: killed at answer ${count}, ${good} of ${pods.length} answered with success`);
    if (verb === 'ADD') assert.ok(good < pods.length, 'the kill came in the middle');
    await restartArmed(node);
  };
  try {
    await assertHolds(node, [], 'routed');
    const empty = await ruleset(node);
    await killDuring('ADD');
    await Promise.all(pods.map((pod) => succeed(node, 'DEL', pod)));
    await assertHolds(node, [], 'routed');
    await Promise.all(pods.map((pod) => succeed(node, 'ADD', pod)));
    await assertHolds(node, pods, 'routed');
    await killDuring('DEL');
    await Promise.all(pods.map((pod) => succeed(node, 'DEL', pod)));
    await assertHolds(node, [], 'routed');
    assert.equal(await ruleset(node), empty);
  } finally {
    await node.stop();
    for (const pod of pods) pod.netns.remove();
  }
});
