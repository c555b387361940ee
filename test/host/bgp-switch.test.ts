/** The cluster goes from VXLAN to BGP and back while pods talk: nobody sends by BGP before BGP has told all. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startLab } from '../../src/lab/lab.ts';
import { DEADLINE_MS, learnedBy, must, withoutLoss } from './bgp-lab.ts';
import { PATIENCE, waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const skip = whyNoKernel(['bird', 'ip', 'ping']) ?? whyNoTartan() ?? false;

test('from vxlan to bgp and back: no packet is lost', { skip }, async (t) => {
  await using lab = await startLab({
    name: `bg-switch-${process.pid}`,
    nodes: 2,
    subnets: 1,
    profile: 'canal',
    readyMs: DEADLINE_MS * PATIENCE,
  });
  await lab.addPod('node1', 'one');
  const { addresses } = await lab.addPod('node2', 'two');
  const routeOf = (): Promise<string> => must(lab, 'node1', 'ip', 'route', 'get', addresses[0] ?? '');
  const go = async (road: string): Promise<void> => {
    const { code, stdout, stderr } = await lab.tartan('node1', 'switch', road, '--timeout', '60');
    assert.equal(code, 0, stdout + stderr);
  };

  await t.test('to bgp', async () => {
    await withoutLoss(lab, 'one', addresses, async () => {
      await go('bgp');
      await new Promise((resolve) => setTimeout(resolve, 500));
    });
    assert.match(await routeOf(), /via 192\.168\.10\.11 dev eth0/);
    assert.equal((await learnedBy(lab, 'node1')).length, 1);
  });

  await t.test('and back, and BIRD is gone', async () => {
    await withoutLoss(lab, 'one', addresses, async () => {
      await go('vxlan');
      await new Promise((resolve) => setTimeout(resolve, 500));
    });
    assert.match(await routeOf(), /dev tartan\.1/);
    for (const { paths } of lab.nodes)
      await waitFor('BIRD to be gone', () => !existsSync(join(paths.run, 'bird')), DEADLINE_MS);
    assert.deepEqual(await learnedBy(lab, 'node1'), []);
  });
});
