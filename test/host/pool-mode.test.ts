/** Pools that say themselves when packets to their addresses are encapsulated: real agents, two subnets and a router. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { assertAllReach, eventually, must } from './labs.ts';
import { PATIENCE } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const root = process.getuid?.() === 0 ? undefined : 'needs root';
const skip = root ?? whyNoTartan() ?? false;

const pool = (mode: string): string => `
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: all }
spec: { cidr: 10.244.0.0/16, vxlanMode: ${mode} }
`;

/** The link by which node1 sends to the pod of another node. */
async function linkTo(lab: Lab, node: string): Promise<string> {
  const [to = ''] = lab.pods().find((pod) => pod.node === node)?.addresses ?? [];
  const { code, stdout } = await lab.exec('node1', ['ip', '-j', 'route', 'get', to]);
  if (code !== 0) return 'unreachable';
  const routes = JSON.parse(stdout) as { dev: string; gateway?: string; type?: string }[];
  return routes[0]?.dev ?? '';
}

test('a pool’s mode: Always, CrossSubnet, Never, and back', { skip }, async () => {
  await using lab = await startLab({
    name: `l2-pool-${process.pid}`,
    nodes: 3,
    subnets: 2,
    profile: 'canal',
    settings: { policy: { enforce: false }, addresses: { type: 'blocks' } },
    readyMs: 60_000 * PATIENCE,
  });
  for (const { name } of lab.nodes) await lab.addPod(name, `pod-${name}`);
  const [two, three] = ['node2', 'node3'];
  const leads = async (near: string, far: string): Promise<void> => {
    const now = async (): Promise<string[]> => [await linkTo(lab, two ?? ''), await linkTo(lab, three ?? '')];
    await eventually(`links ${near} and ${far}`, async () => String(await now()) === String([near, far]));
  };
  await leads('tartan.1', 'tartan.1');
  await assertAllReach(lab);
  lab.apply('pools', pool('CrossSubnet'));
  await leads('eth0', 'tartan.1');
  await assertAllReach(lab);
  lab.apply('pools', pool('Always'));
  await leads('tartan.1', 'tartan.1');
  await assertAllReach(lab);
  lab.apply('pools', pool('Never'));
  await eventually('node1 says why node3 is not reached', async () => {
    const { stdout } = await lab.tartan('node1', 'status', '-o', 'json');
    return /a router is between/.test(stdout);
  });
  assert.equal(await linkTo(lab, 'node2'), 'eth0');
  await must(
    lab,
    'pod-node1',
    `ping -n -q -c 1 -W 5 ${lab.pods().find(({ node }) => node === 'node2')?.addresses[0]}`,
  );
});
