/** Profiles as they come, on two subnets with a router between, where every kernel can: others have a road's test. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Status } from '../../src/api/status.ts';
import { startLab } from '../../src/lab/lab.ts';
import { assertAllReach, must } from './labs.ts';
import { PATIENCE } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const root = process.getuid?.() === 0 ? undefined : 'needs root';
const skip = root ?? whyNoTartan() ?? false;

test('kopeio: VXLAN across a router, between nodes that have IPv6 addresses alone', { skip }, async (t) => {
  await using lab = await startLab({
    name: `l2-kopeio-${process.pid}`,
    nodes: 3,
    subnets: 2,
    underlay: [6],
    profile: 'kopeio',
    settings: { network: { ipv6: { range: 'fd00:244::/48' } } },
    readyMs: 60_000 * PATIENCE,
  });
  for (const { name } of lab.nodes) await lab.addPod(name, `pod-${name}`);

  await t.test('every pod reaches every pod, in both families', async () => {
    for (const { addresses } of lab.pods()) assert.equal(addresses.length, 2);
    await assertAllReach(lab);
  });

  await t.test('by IPv6: nodes have nothing else', async () => {
    assert.equal((await must(lab, 'node1', 'ip -4 -o address show dev eth0')).trim(), '');
    const { stdout } = await lab.tartan('node1', 'status', '-o', 'json');
    const { peers } = JSON.parse(stdout) as Status;
    assert.deepEqual(
      peers.map(({ road, mtu }) => [road, mtu]),
      [
        ['vxlan', 1430],
        ['vxlan', 1430],
      ],
    );
  });

  await t.test('doctor finds no error', async () => {
    const { stdout } = await lab.tartan('node1', 'doctor', '-o', 'json');
    const findings =
      (JSON.parse(stdout) as { findings?: unknown[] }).findings ?? (JSON.parse(stdout) as unknown[]);
    assert.ok(Array.isArray(findings) && findings.length > 5, stdout);
    assert.deepEqual(
      findings.filter((finding) => (finding as { severity: string }).severity === 'error'),
      [],
    );
  });
});
