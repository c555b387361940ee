/**
 * Roads of other kinds than routes and VXLAN: the userspace tunnel, sealed too, and one segment; parameters of a road that change
 * while the cluster is on another; and a node that is dead. What needs modules is shown by ./switch-roads.test.ts under QEMU.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { allReach, renderMatrix } from '../../src/lab/matrix.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';
import { startTraffic } from './traffic.ts';

const skip = whyNoKernel(['ip', 'nft', 'ping', 'iperf3']) ?? whyNoTartan() ?? false;

async function change(lab: Lab, ...words: string[]): Promise<void> {
  const { code, stdout, stderr } = await lab.tartan('node1', 'switch', ...words);
  assert.equal(code, 0, `${words.join(' ')}: ${stdout}${stderr}`);
}

async function deviceTo(lab: Lab, pod: string): Promise<string> {
  const [address = ''] = lab.pods().find(({ name }) => name === pod)?.addresses ?? [];
  const { stdout } = await lab.exec('node1', ['ip', 'route', 'get', address]);
  return /dev (\S+)/.exec(stdout)?.[1] ?? stdout;
}

async function assertAllMeet(lab: Lab): Promise<void> {
  let reaches = await lab.matrix();
  await waitFor('all pods to meet', async () => allReach((reaches = await lab.matrix()))).catch(
    () => undefined,
  );
  assert.ok(allReach(reaches), renderMatrix(reaches));
}

/** The settings of all nodes, which their agents read when they start: one after the other. */
async function set(lab: Lab, road: object): Promise<void> {
  for (const { name, paths } of lab.nodes) {
    const settings = parse(readFileSync(paths.settings, 'utf8')) as { road?: object };
    writeFileSync(paths.settings, stringify({ ...settings, road: { ...settings.road, ...road } }));
    await lab.start(name);
  }
}

test(
  'vxlan, the userspace tunnel, another VNI, one segment; and without a dead node',
  { skip },
  async (t) => {
    await using lab = await startLab({
      name: `rd-kinds-${process.pid}`,
      nodes: 3,
      subnets: 2,
      profile: 'flannel',
    });
    for (const node of ['1', '2', '3']) await lab.addPod(`node${node}`, `pod${node}`);
    await assertAllMeet(lab);
    const traffic = await startTraffic(lab, ['pod1', 'pod2', 'pod3']);

    await t.test('into user space', async () => {
      await change(lab, 'udp');
      assert.equal(await deviceTo(lab, 'pod2'), 'tartan.udp');
    });

    await t.test(
      'VNI and port of a road that nobody is on are changed by settings, and back to it',
      async () => {
        await set(lab, { vxlan: { vni: 7, port: 4790 } });
        await change(lab, 'vxlan');
        assert.equal(await deviceTo(lab, 'pod2'), 'tartan.7');
        assert.match(
          (await lab.exec('node1', ['ip', '-d', 'link', 'show', 'tartan.7'])).stdout,
          /vxlan id 7 .*dstport 4790/,
        );
        const links = (await lab.exec('node1', ['ip', '-o', 'link'])).stdout;
        assert.doesNotMatch(links, /tartan\.(1|udp)[@:]/);
      },
    );

    await t.test('to one segment and back', async () => {
      await change(lab, 'layer2');
      await assertAllMeet(lab);
      await change(lab, 'vxlan');
      assert.equal(await deviceTo(lab, 'pod2'), 'tartan.7');
    });

    await t.test('nothing was lost', async () => {
      const { pings, streams } = await traffic.stop();
      for (const { pair, sent, lost } of pings) {
        t.diagnostic(`${pair}: ${lost} of ${sent} pings lost`);
        assert.ok(lost <= 1 && sent > 100, `${pair}: ${lost} of ${sent}`);
      }
      for (const { pair, stood, megabytes } of streams) assert.ok(stood && megabytes > 0.5, pair);
    });

    await t.test(
      'a node is dead: the others go on without it, and it is with them when it lives again',
      async () => {
        await lab.kill('node3');
        await lab.cut('node3');
        const waits = await lab.tartan('node1', 'switch', 'udp', '--timeout', '1');
        assert.match(waits.stdout, /waits for node3: .*is it running\?/);
        assert.equal(await deviceTo(lab, 'pod2'), 'tartan.7', 'nobody went on');
        await change(lab, '--without', 'node3');
        assert.equal(await deviceTo(lab, 'pod2'), 'tartan.udp');
        await lab.heal();
        await lab.start('node3');
        await assertAllMeet(lab);
      },
    );
  },
);
