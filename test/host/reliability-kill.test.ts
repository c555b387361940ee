/**
 * The agent dies by SIGKILL at every enumerated place of ADD and DEL, and with a ledger cut
 * short. After its return the node holds what its pods need and nothing more, and what a runtime does next succeeds.
 */
import assert from 'node:assert/strict';
import { readFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PLACES } from '../../src/agent/crash.ts';
import { whyNoKernel } from './namespace.ts';
import { type Node, whyNoTartan } from './node.ts';
import {
  assertHolds,
  makePod,
  type Pod,
  request,
  restartArmed,
  ruleset,
  startLoneNode,
  succeed,
  waitDead,
} from './reliability.ts';

const skip = whyNoKernel(['ip', 'nft', 'nsenter']) ?? whyNoTartan() ?? false;

for (const wiring of ['routed', 'bridge'] as const) {
  describe(`killed at every place, ${wiring}`, { skip }, () => {
    let node: Node;
    let pod: Pod;
    let empty = '';
    before(async () => {
      node = await startLoneNode(`rl-${wiring}`, wiring);
      pod = makePod(8080);
      await assertHolds(node, [], wiring);
      empty = await ruleset(node);
    });
    after(async () => {
      await node?.stop();
      pod?.netns.remove();
    });

    async function assertEmpty(): Promise<void> {
      await assertHolds(node, [], wiring);
      assert.equal(await ruleset(node), empty);
      assert.deepEqual(
        pod.netns.list<{ ifname: string }>('link show').map(({ ifname }) => ifname),
        ['lo'],
      );
    }

    /** What kubelet does with a sandbox whose ADD failed: DEL, then ADD again. */
    async function retryAdd(): Promise<void> {
      await succeed(node, 'DEL', pod);
      await assertEmpty();
      const result = await succeed(node, 'ADD', pod);
      await assertHolds(node, [pod], wiring);
      const check = await request(node, 'CHECK', pod, result);
      assert.equal(check.code, 0, check.stdout);
    }

    for (const place of PLACES.filter((one) => one.startsWith('add:'))) {
      test(place, async () => {
        await restartArmed(node, place);
        const { code, stdout } = await request(node, 'ADD', pod);
        assert.notEqual(code, 0);
        assert.equal((JSON.parse(stdout) as { code: number }).code, 11, stdout);
        await waitDead(node);
        await restartArmed(node);
        // An ADD that was not finished is undone without being asked; a finished one is for the runtime to remove.
        if (place === 'add:ready') await assertHolds(node, [pod], wiring);
        else await assertEmpty();
        await retryAdd();
        await succeed(node, 'DEL', pod);
        await assertEmpty();
      });
    }

    for (const place of PLACES.filter((one) => one.startsWith('del:'))) {
      test(place, async () => {
        await restartArmed(node, place);
        await succeed(node, 'ADD', pod);
        await succeed(node, 'DEL', pod); // answered, or spooled
        await waitDead(node);
        await restartArmed(node);
        await assertEmpty();
        await succeed(node, 'DEL', pod);
        await retryAdd();
        await succeed(node, 'DEL', pod);
        await assertEmpty();
      });
    }
  });
}

test('a ledger that ends at some byte: what is lost is removed, what is left stays', { skip }, async (t) => {
  const node = await startLoneNode('rl-cut', 'routed');
  const pods = [makePod(8081), makePod(8082), makePod(8083)];
  try {
    await assertHolds(node, [], 'routed');
    const empty = await ruleset(node);
    const journal = join(node.directory, 'run/attachments.journal');
    for (const share of [0.99, 0.6, 0.35, 0.02, -1]) {
      // Never back into an earlier round: what happened since then is not undone by a cut. -1: all is lost.
      const begun = statSync(journal).size;
      const results = new Map<Pod, string>();
      for (const pod of pods) results.set(pod, await succeed(node, 'ADD', pod));
      await node.kill();
      const cut = share < 0 ? 0 : begun + Math.floor((statSync(journal).size - begun) * share);
      truncateSync(journal, cut);
      await restartArmed(node);
      const { length } = readFileSync(journal);
      const left = [];
      for (const pod of pods)
        if ((await request(node, 'CHECK', pod, results.get(pod))).code === 0) left.push(pod);
      t.diagnostic(`cut at byte ${cut}: ${left.length} of 3 pods left, ${length} bytes`);
      assert.deepEqual(left, pods.slice(0, left.length), 'the oldest are left');
      assert.equal(left.length < 3, true);
      await assertHolds(node, left, 'routed');
      for (const pod of pods) await succeed(node, 'DEL', pod);
      await assertHolds(node, [], 'routed');
      assert.equal(await ruleset(node), empty);
    }
  } finally {
    await node.stop();
    for (const pod of pods) pod.netns.remove();
  }
});
