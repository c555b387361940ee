/** Agents that share an etcd: their pods reach each other, whatever becomes of it meanwhile. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { allReach, renderMatrix } from '../../src/lab/matrix.ts';
import { labDirectory } from '../../src/lab/topology.ts';
import { noEtcd } from '../runtimes/etcd.ts';

const skip = process.getuid?.() === 0 ? noEtcd : 'a lab makes network namespaces and needs root';

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < deadline, `not in time: ${what}`);
    await sleep(100);
  }
}

async function assertAllReach(lab: Lab): Promise<void> {
  let reaches = await lab.matrix();
  for (let round = 0; round < 2 && !allReach(reaches); round += 1) reaches = await lab.matrix();
  assert.ok(allReach(reaches), `\n${renderMatrix(reaches)}`);
}

async function objects(lab: Lab, node: string, kind: string): Promise<readonly unknown[]> {
  const { code, stdout, stderr } = await lab.tartan(node, 'get', kind, '-o', 'json');
  assert.equal(code, 0, stderr);
  const { items, ...one } = JSON.parse(stdout) as { items?: unknown[] };
  return items ?? [one];
}

const DENY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed, namespace: vault }
spec: { podSelector: {}, policyTypes: [Ingress] }
`;

test('three nodes with their store in etcd', { skip }, async (t) => {
  await using lab = await startLab({
    name: `et-${process.pid}`,
    profile: 'canal',
    settings: { store: { type: 'etcd' } },
  });
  const { etcd } = lab;
  assert.ok(etcd !== undefined);
  for (const { name } of lab.nodes) await lab.addPod(name, `${name}-p1`);
  const closed = await lab.addPod('node3', 'closed', { namespace: 'vault' });
  const reaches = async (): Promise<boolean> =>
    (await lab.exec('node1-p1', ['ping', '-c', '1', '-W', '1', closed.addresses[0] ?? ''])).code === 0;

  await t.test('every pod reaches every pod', () => assertAllReach(lab));

  await t.test('tartan apply puts a policy into etcd, and every node enforces it', async () => {
    const file = join(labDirectory(lab.name), 'deny.yaml');
    writeFileSync(file, DENY);
    const { code, stdout, stderr } = await lab.tartan('node1', 'apply', '-f', file);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, 'networking.k8s.io/v1/NetworkPolicy/vault/closed created\n');
    await until('the policy is in force', async () => !(await reaches()));
  });

  // Ten packets a second between two nodes, while etcd goes and comes.
  const [from, to] = ['node1-p1', lab.pods().find(({ name }) => name === 'node3-p1')?.addresses[0] ?? ''];
  const stop = new AbortController();
  const ping = (async (): Promise<string> => {
    let lost = '';
    while (!stop.signal.aborted) {
      const { code, stdout } = await lab.exec(from, ['ping', '-i', '0.1', '-c', '20', '-W', '1', to]);
      if (code !== 0 || !stdout.includes(' 0% packet loss')) lost += stdout;
    }
    return lost;
  })();

  await t.test('etcd is killed: pods go on, and a new one is attached', async () => {
    await etcd.stop();
    await sleep(2000);
    await lab.addPod('node2', 'late');
    assert.ok(!(await reaches()), 'the policy is in force still');
  });

  await t.test('etcd is back: what happened meanwhile is known everywhere', async () => {
    await etcd.start();
    await until('the late pod is in the store', async () =>
      JSON.stringify(await objects(lab, 'node1', 'workloads')).includes('"late"'),
    );
    await assertOpenReach(lab);
  });

  await t.test('etcd has lost everything: nothing is removed, and it is all there again', async () => {
    // One that has written nothing since it began: it found everything as it should be.
    await lab.start('node2');
    await etcd.wipe();
    await etcd.start();
    for (const kind of ['nodes.tartan.dev', 'subnetclaims', 'workloads'])
      await until(`${kind} are back`, async () => (await objects(lab, 'node2', kind)).length >= 3);
    await assertOpenReach(lab);
    assert.ok(!(await reaches()), 'the policy, which nobody has written again, is in force still');
  });

  stop.abort();
  assert.equal(await ping, '', 'no packet was lost');

  await t.test('an agent that starts now finds the others', async () => {
    await lab.kill('node1');
    await lab.start('node1');
    await assertOpenReach(lab);
  });

  await t.test('a node that is taken out of the cluster leaves etcd', async () => {
    for (const pod of ['node2-p1', 'late']) await lab.removePod(pod);
    await lab.kill('node2');
    const { code, stderr } = await lab.tartan('node2', 'uninstall', '--purge');
    assert.equal(code, 0, stderr);
    for (const kind of ['nodes.tartan.dev', 'subnetclaims', 'workloads'])
      assert.ok(!JSON.stringify(await objects(lab, 'node1', kind)).includes('"node2"'), kind);
  });
});

/** All but the pod that a policy has closed. */
async function assertOpenReach(lab: Lab): Promise<void> {
  const isOpen = (reaches: Awaited<ReturnType<Lab['matrix']>>): boolean =>
    allReach(reaches.filter(({ to }) => to !== 'closed'));
  let reaches = await lab.matrix();
  for (let round = 0; round < 2 && !isOpen(reaches); round += 1) reaches = await lab.matrix();
  assert.ok(isOpen(reaches), `\n${renderMatrix(reaches)}`);
}
