import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { referenceCluster, tartanCluster, type RuntimeCluster } from '../runtimes/cluster.ts';
import { IMAGE, writeImage } from '../runtimes/image.ts';
import { startPodman, type Podman } from '../runtimes/podman.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const why = whyNoKernel(['podman', 'runc', 'busybox', 'curl', 'nft']);

const addressIn = (text: string): string => /inet (10\.88\.\d+\.\d+)/.exec(text)?.[1] ?? '';
const SERVE = (name: string): string =>
  `mkdir -p /www; echo hello-from-${name} > /www/index.html; exec /bin/httpd -f -p 8080 -h /www`;

async function startWeb(podman: Podman, name: string, ports: readonly string[]): Promise<string> {
  await podman.must(
    'run',
    '-d',
    '--name',
    name,
    '--network',
    'bxnet',
    ...ports,
    IMAGE,
    '/bin/sh',
    '-c',
    SERVE(name),
  );
  return addressIn(await podman.must('exec', name, '/bin/ip', '-4', 'addr', 'show', 'eth0'));
}

async function wholeLife(cluster: RuntimeCluster, image: string): Promise<void> {
  const podmen: Podman[] = [];
  try {
    for (const node of cluster.nodes) podmen.push(await startPodman(node, { conf: node.conf, image }));
    const webs: { podman: Podman; name: string; address: string }[] = [];
    for (const [index, podman] of podmen.entries())
      for (const k of [0, 1]) {
        const name = `web-${index}-${k}`;
        const mac = `c2:11:22:33:44:5${index}`;
        const wish = k === 0 ? ['-p', '18080:8080'] : ['--mac-address', mac, '--network-alias', 'web'];
        const address = await startWeb(podman, name, wish);
        const link = await podman.must('exec', name, '/bin/ip', 'link', 'show', 'eth0');
        assert.equal(link.includes(mac), k === 1, `the MAC of ${name} as asked: ${link}`);
        assert.notEqual(address, '', `${name} has an address`);
        webs.push({ podman, name, address });
      }
    for (const from of webs)
      for (const to of webs) {
        if (from === to) continue;
        await waitFor(`${from.name} to reach ${to.name}`, async () => {
          const page = await from.podman.run(
            'exec',
            from.name,
            '/bin/sh',
            '-c',
            `ping -c 1 -W 2 ${to.address} >/dev/null && printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 ${to.address} 8080`,
          );
          return page.stdout.includes(`hello-from-${to.name}`);
        });
      }
    for (const [index, node] of cluster.nodes.entries()) {
      const page = await node.netns.run(['curl', '-sS', '-m', '3', `http://172.30.0.${index + 1}:18080/`]);
      assert.equal(page.stdout.trim(), `hello-from-web-${index}-0`, page.stderr);
    }
    for (const podman of podmen) await podman.must('rm', '-fa', '-t', '0');
    for (const node of cluster.nodes) {
      const left = node.netns.list<{ ifname: string }>('link show type veth').map((link) => link.ifname);
      assert.deepEqual(
        left.filter((name) => name !== 'eth0'),
        [],
        'no container link is left',
      );
      assert.doesNotMatch(
        await node.netns.must(['nft', 'list', 'ruleset']),
        /18080/,
        'no host port rule is left',
      );
    }
  } finally {
    for (const podman of podmen) await podman.stop();
    await cluster.stop();
  }
}

describe('podman', { skip: why ?? false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'bx-image-'));
  const image = join(folder, 'busybox.tar');
  if (why === undefined) writeImage(image);
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

  test('the reference bridge plugin on one node', async () =>
    wholeLife(await referenceCluster('1.0.0'), image));
  test('Tartan on two nodes', { skip: whyNoTartan() ?? false }, async () => {
    await wholeLife(
      await tartanCluster({ network: { name: 'bxnet', ipv4: { range: '10.88.0.0/16' } } }),
      image,
    );
  });
});
