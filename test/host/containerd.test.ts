import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { referenceCluster, tartanCluster, type RuntimeCluster } from '../runtimes/cluster.ts';
import { startContainerd, type Containerd, type Pod } from '../runtimes/containerd.ts';
import { writeImage } from '../runtimes/image.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const why = whyNoKernel(['containerd', 'ctr', 'runc', 'busybox', 'curl', 'nft']);

/** HTTP by busybox's nc: its static wget cannot resolve names and ends with a segmentation fault. */
const get = (address: string, port: number): string =>
  `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 ${address} ${port} | tail -1`;

async function everyPair(pods: readonly Pod[]): Promise<void> {
  for (const from of pods)
    for (const to of pods) {
      if (from === to) continue;
      for (const ip of to.ips) {
        const ping = await from.exec(`ping -c 1 -W 2 ${ip}`);
        assert.equal(ping.code, 0, `${from.name} → ${to.name} ${ip}: ${ping.stdout}${ping.stderr}`);
        const page = await from.exec(get(ip, 8080));
        assert.equal(page.stdout.trim(), `hello-from-${to.name}`, `${from.name} → ${to.name}`);
      }
    }
}

async function wholeLife(cluster: RuntimeCluster, image: string): Promise<void> {
  const runtimes: Containerd[] = [];
  try {
    for (const node of cluster.nodes) runtimes.push(await startContainerd(node, { conf: node.conf, image }));
    for (const runtime of runtimes)
      await waitFor('NetworkReady', async () => (await runtime.networkProblem()) === undefined);
    const names = runtimes.flatMap((runtime, index) =>
      [0, 1].map((k) => ({ runtime, name: `pod-${index}-${k}` })),
    );
    const pods = await Promise.all(
      names.map(({ runtime, name }) =>
        runtime.runPod(name, name.endsWith('-0') ? [{ container_port: 8080, host_port: 18080 }] : []),
      ),
    );
    await everyPair(pods);
    for (const [index, node] of cluster.nodes.entries()) {
      const address = `172.30.0.${index + 1}`;
      const own = await node.netns.run(['curl', '-sS', '-m', '3', `http://${address}:18080/`]);
      assert.equal(
        own.stdout.trim(),
        `hello-from-pod-${index}-0`,
        `hostPort from its own node: ${own.stderr}`,
      );
      for (const pod of pods)
        assert.match((await pod.exec(get(address, 18080))).stdout, /hello-from/, `hostPort from ${pod.name}`);
    }
    await Promise.all(pods.map((pod) => pod.remove()));
    for (const node of cluster.nodes) {
      const left = node.netns.list<{ ifname: string; linkinfo?: { info_kind: string } }>(
        '-d link show type veth',
      );
      assert.deepEqual(
        left.map((link) => link.ifname).filter((name) => name !== 'eth0'),
        [],
        'no pod link is left',
      );
      assert.doesNotMatch(
        await node.netns.must(['nft', 'list', 'ruleset']),
        /18080/,
        'no host port rule is left',
      );
    }
  } catch (error) {
    for (const runtime of runtimes)
      console.error(
        runtime
          .log()
          .split('\n')
          .filter((line) => /level=(error|warn)/.test(line))
          .slice(-5)
          .join('\n'),
      );
    throw error;
  } finally {
    for (const runtime of runtimes) await runtime.stop();
    await cluster.stop();
  }
}

describe('containerd', { skip: why ?? false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'bx-image-'));
  const image = join(folder, 'busybox.tar');
  if (why === undefined) writeImage(image);
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

  test('the reference bridge plugin on one node', async () =>
    wholeLife(await referenceCluster('1.0.0'), image));
  for (const wiring of ['routed', 'bridge'])
    test(`Tartan, ${wiring} wiring, on two nodes`, { skip: whyNoTartan() ?? false }, async () => {
      const network = { name: 'bxnet', ipv4: { range: '10.88.0.0/16' } };
      await wholeLife(await tartanCluster({ network, wiring: { type: wiring } }), image);
    });
});
