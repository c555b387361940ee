/**
 * The road `bgp`, profile kube-router: pods on bridges, a mesh of real BIRDs. Between subnets either the router speaks BGP, as
 * kube-router's annotations of nodes ask, or packets are encapsulated and the router knows nothing of pods. Most hosts' kernels
 * for virtual machines lack IP in IP; the twin runs under QEMU.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { type Lab, type LabOptions, startLab } from '../../src/lab/lab.ts';
import { whyLacking } from '../vm/features.ts';
import {
  assertAllReach,
  awaitRoutes,
  birdPid,
  DEADLINE_MS,
  inRouter,
  learnedBy,
  must,
  startBird,
  withoutLoss,
  wordsOf,
} from './bgp-lab.ts';
import { PATIENCE, waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const skip = whyNoKernel(['bird', 'ip', 'ping']) ?? whyNoTartan() ?? false;
const NETWORK = { ipv6: { range: 'fd77::/48' } };

async function labOf(label: string, options: Omit<LabOptions, 'name'>): Promise<Lab> {
  const lab = await startLab({
    name: `bg-${label}-${process.pid}`,
    profile: 'kube-router',
    readyMs: DEADLINE_MS * PATIENCE,
    ...options,
  });
  try {
    for (const { name } of lab.nodes) await lab.addPod(name, `pod-${name}`);
  } catch (error) {
    await lab.down();
    throw error;
  }
  return lab;
}

const addressesOf = (lab: Lab, pod: string): readonly string[] =>
  lab.pods().find(({ name }) => name === pod)?.addresses ?? assert.fail(pod);

/** Each node tells the router on its own subnet; the mesh is of nodes with one AS. */
function annotations(lab: Lab): string {
  return lab.nodes
    .map(({ name, lan }) => {
      const peers = [`192.168.${10 * (lan + 1)}.1`, `fd00:${lan + 1}::1`].map((remoteip) => ({
        remoteip,
        remoteasn: 65_001,
      }));
      const metadata = { name, annotations: { 'kube-router.io/peers': JSON.stringify(peers) } };
      return `---\n${JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata })}\n`;
    })
    .join('');
}

/** Takes from each node its own pods: what another one tells of them comes by a longer way. */
function routerOf(lab: Lab): string {
  const sessions = lab.nodes.flatMap(({ name, addresses }) =>
    ([4, 6] as const).map(
      (family) => `protocol bgp ${name}v${family} {
  local as 65001; neighbor ${addresses[family]} as 64512; direct; passive;
  ipv${family} { import filter { if bgp_next_hop = ${addresses[family]} then accept; reject; }; export none; };
}`,
    ),
  );
  return `router id 192.168.10.1;
protocol device { }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; }
${sessions.join('\n')}
`;
}

test(
  'profile kube-router: a bridge on each node, and a router that nodes’ annotations name',
  { skip },
  async (t) => {
    await using lab = await labOf('kr', { settings: { network: NETWORK, road: { mode: 'Never' } } });
    const router = await startBird(lab, routerOf(lab));
    try {
      lab.apply('nodes', annotations(lab));
      await t.test('the router has the routes of all pods', async () => {
        const show = (family: string): string =>
          inRouter(lab, 'ip', family, 'route', 'show', 'proto', 'bird');
        const count = (): number => ['-4', '-6'].flatMap((family) => show(family).trim().split('\n')).length;
        await waitFor('six routes', () => count() === 6, DEADLINE_MS);
      });

      await t.test('every pod reaches every pod, in both families, across the router', () =>
        assertAllReach(lab),
      );

      await t.test('BIRD killed: no packet is lost', async () => {
        const killed = birdPid(lab, 'node3');
        await withoutLoss(lab, 'pod-node3', addressesOf(lab, 'pod-node1'), async () => {
          process.kill(killed, 'SIGKILL');
          await awaitRoutes(
            lab,
            'node3',
            'to have its sessions again',
            ({ up, sessions }) =>
              up && birdPid(lab, 'node3') !== killed && sessions.every((one) => one.up && one.exported > 0),
          );
        });
      });

      await t.test(
        'with another road BIRD and its routes go, and pods reach each other by that',
        async () => {
          const pids = lab.nodes.map(({ name }) => birdPid(lab, name));
          for (const { name, paths } of lab.nodes) {
            const settings = parse(readFileSync(paths.settings, 'utf8')) as Record<string, unknown>;
            writeFileSync(paths.settings, stringify({ ...settings, road: { type: 'vxlan' } }));
            await lab.start(name);
          }
          for (const { name, paths } of lab.nodes) {
            const isGone = (): boolean => !existsSync(join(paths.run, 'bird'));
            await waitFor(`${name} to be without BIRD`, isGone, DEADLINE_MS);
            await waitFor(
              `${name} to be without its routes`,
              async () => (await learnedBy(lab, name)).length === 0,
            );
          }
          for (const pid of pids) await waitFor('BIRD to have ended', () => wordsOf(pid) === '');
          await assertAllReach(lab);
        },
      );
    } finally {
      router.stop();
    }
  },
);

const noTunnel = whyLacking('ipip') ?? skip;

type KernelRoute = { readonly dst: string; readonly dev: string; readonly gateway?: string };

test(
  'profile kube-router: IP in IP across subnets, and the router knows nothing of pods',
  { skip: noTunnel },
  async (t) => {
    await using lab = await labOf('kt', { settings: { network: NETWORK } });
    const routes = async (): Promise<KernelRoute[]> => {
      const lists = ['-4', '-6'].map((family) =>
        must(lab, 'node1', 'ip', '-j', family, 'route', 'show', 'proto', 'bird'),
      );
      return (await Promise.all(lists)).flatMap((list) => JSON.parse(list || '[]') as KernelRoute[]);
    };
    const tunnels = async (): Promise<string[]> =>
      (await routes()).filter(({ gateway }) => gateway === undefined).map(({ dev }) => dev);

    await t.test(
      'to the near node BIRD’s routes are plain, to the far one they lead into devices',
      async () => {
        await waitFor('four routes', async () => (await learnedBy(lab, 'node1')).length === 4, DEADLINE_MS);
        const found = await routes();
        assert.deepEqual(
          found.map(({ dev, gateway }) => (gateway === undefined ? 'tunnel' : `${gateway} ${dev}`)).sort(),
          ['192.168.10.11 eth0', 'fd00:1::11 eth0', 'tunnel', 'tunnel'],
        );
        for (const device of await tunnels()) assert.match(device, /^tartan[0-9a-f]{9}$/);
      },
    );

    // Each process takes its time in the machine: two pods stand for all.
    const reachesFar = async (): Promise<void> => {
      for (const far of addressesOf(lab, 'pod-node3'))
        await waitFor(
          `${far} to answer`,
          async () => (await lab.exec('pod-node1', ['ping', '-n', '-c', '1', '-W', '5', far])).code === 0,
          DEADLINE_MS,
        );
    };

    await t.test('pods on both sides reach each other, in both families', reachesFar);

    await t.test('a deleted device comes back, and BIRD’s route into it', async () => {
      const [device = ''] = await tunnels();
      await must(lab, 'node1', 'ip', 'link', 'del', device);
      await waitFor('four routes', async () => (await learnedBy(lab, 'node1')).length === 4, DEADLINE_MS);
      await reachesFar();
    });
  },
);
