/**
 * The whole: labs of real agents, pods by exec of the CNI executable, and traffic between all of them. Each lab is made,
 * looked at and removed here, and removal is checked from outside.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import type { Status } from '../../src/api/status.ts';
import { type Lab, type LabOptions, startLab } from '../../src/lab/lab.ts';
import { allReach, renderMatrix } from '../../src/lab/matrix.ts';
import { startTime } from '../../src/lab/process.ts';
import { labDirectory } from '../../src/lab/topology.ts';
import { labNamespaces } from '../../src/lab/underlay.ts';

const skip = process.getuid?.() === 0 ? false : 'a lab makes network namespaces and needs root';

async function labWithPods(
  options: Omit<LabOptions, 'name'> & { name: string },
  podsPerNode = 1,
): Promise<Lab> {
  const lab = await startLab({ ...options, name: `lb-${options.name}-${process.pid}` });
  try {
    for (const { name } of lab.nodes) {
      for (let index = 1; index <= podsPerNode; index += 1) await lab.addPod(name, `${name}-p${index}`);
    }
  } catch (error) {
    await lab.down();
    throw error;
  }
  return lab;
}

/** Web servers may need a moment; who is not reached within three rounds is not reached. */
async function assertAllReach(lab: Lab): Promise<void> {
  let reaches = await lab.matrix();
  for (let round = 0; round < 2 && !allReach(reaches); round += 1) reaches = await lab.matrix();
  assert.ok(allReach(reaches), `\n${renderMatrix(reaches)}`);
}

async function statusOf(lab: Lab, node: string): Promise<Status> {
  const { stdout, stderr } = await lab.tartan(node, 'status', '-o', 'json');
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout) as Status;
}

test('flannel: VXLAN across a router, faults, and every command of the operator', { skip }, async (t) => {
  await using lab = await labWithPods({ name: 'vx' }, 2);
  const pids = lab.nodes.map((node) => node.pid());

  await t.test('every pod reaches every pod, on one subnet and behind the router', () => assertAllReach(lab));

  await t.test('CHECK of every pod is content', async () => {
    for (const { name } of lab.pods()) await lab.checkPod(name);
  });

  await t.test('status: every peer by vxlan, every item in the kernel, every pod', async () => {
    const status = await statusOf(lab, 'node1');
    assert.deepEqual(status.reasons, []);
    assert.deepEqual(
      status.peers.map(({ name, road, state }) => [name, road, state]),
      [
        ['node2', 'vxlan', 'programmed'],
        ['node3', 'vxlan', 'programmed'],
      ],
    );
    assert.deepEqual(
      status.items.filter((item) => item.seen !== 'ok'),
      [],
    );
    assert.deepEqual(new Set(status.pods.map(({ name }) => name)), new Set(['node1-p1', 'node1-p2']));
  });

  await t.test('test connectivity joins all agents of the host', async () => {
    const runs = lab.nodes.flatMap((node) => ['--run', node.paths.run]);
    const { code, stdout, stderr } = await lab.tartan('node1', 'test', 'connectivity', ...runs);
    assert.equal(code, 0, stdout + stderr);
  });

  await t.test('a cut is seen and heals', async () => {
    await lab.cut('node1', 'node3');
    const reaches = await lab.matrix();
    const between = reaches.filter(({ from, to }) => from.startsWith('node1') && to.startsWith('node3'));
    assert.ok(between.length > 0 && between.every(({ ping, http }) => !ping && !http));
    assert.ok(reaches.filter(({ from, to }) => !/node1/.test(from + to)).every(({ ping }) => ping));
    await lab.heal();
    await assertAllReach(lab);
  });

  await t.test('with every agent killed pods go on; back again they are still known', async () => {
    await Promise.all(lab.nodes.map(({ name }) => lab.kill(name)));
    await assertAllReach(lab);
    await assert.rejects(lab.addPod('node1', 'early'), /11/);
    await Promise.all(lab.nodes.map(({ name }) => lab.start(name)));
    assert.equal((await statusOf(lab, 'node2')).pods.length, 2);
    await lab.addPod('node1', 'late');
    await assertAllReach(lab);
    await lab.removePod('late');
    assert.equal((await statusOf(lab, 'node1')).pods.filter(({ name }) => name === 'late').length, 0);
  });

  await t.test('down leaves no process, namespace or file', async () => {
    const now = [...pids, ...lab.nodes.map((node) => node.pid())];
    await lab.down();
    assert.deepEqual(labNamespaces(lab.name), []);
    assert.ok(!existsSync(labDirectory(lab.name)));
    assert.deepEqual(
      now.map(startTime).filter((time) => time !== undefined),
      [],
    );
    await lab.down();
  });
});

test('host-gw: plain routes between neighbours', { skip }, async () => {
  const settings = { road: { type: 'host-gw' } };
  await using lab = await labWithPods({ name: 'gw', nodes: 2, subnets: 1, settings });
  await assertAllReach(lab);
  const { peers } = await statusOf(lab, 'node1');
  assert.deepEqual(
    peers.map(({ road, mtu }) => [road, mtu]),
    [['direct', 1500]],
  );
  const { stdout } = await lab.exec('node1', ['ip', '-d', 'link', 'show', 'type', 'vxlan']);
  assert.equal(stdout, '', 'no tunnel device');
});

for (const wiring of ['bridge', 'routed'] as const) {
  test(`dual stack: both families reach everywhere, ${wiring} wiring`, { skip }, async () => {
    const network = { ipv4: { range: '10.244.0.0/16' }, ipv6: { range: 'fd44::/48' } };
    await using lab = await labWithPods({
      name: `ds-${wiring[0]}`,
      settings: { network, wiring: { type: wiring } },
    });
    for (const pod of lab.pods()) assert.equal(pod.addresses.length, 2);
    await assertAllReach(lab);
  });
}

test('a lab that cannot become ready says why and leaves nothing', { skip }, async () => {
  const name = `lb-bad-${process.pid}`;
  const settings = { underlay: { interfaces: ['nosuch0'] } };
  await assert.rejects(startLab({ name, nodes: 1, settings, readyMs: 3000 }), /node1/);
  assert.deepEqual(labNamespaces(name), []);
  assert.ok(!existsSync(labDirectory(name)));
});
