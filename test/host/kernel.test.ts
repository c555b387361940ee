import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { test } from 'node:test';
import { CONTRACT } from '#kernel/contract.ts';
import { openKernel } from '#kernel/linux.ts';
import { openNetns, ready } from '#kernel/netns.ts';
import { mac } from '#net/mac.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const NODE = `ka-node-${process.pid}`;
const POD = `ka-pod-${process.pid}`;
const ip = (...args: string[]): unknown => execFileSync('ip', args);

async function inFreshNamespaces(work: (node: number, pod: number) => Promise<void>): Promise<void> {
  for (const name of [NODE, POD]) ip('netns', 'add', name);
  const [node, pod] = [openNetns(`/run/netns/${NODE}`), openNetns(`/run/netns/${POD}`)];
  try {
    ip('-n', NODE, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'eth0p');
    ip('-n', NODE, 'addr', 'add', '10.9.0.1/24', 'dev', 'eth0');
    // A link-local address would come and end its detection of duplicates in the middle of a check: events of its own.
    for (const link of ['eth0', 'eth0p']) ip('-n', NODE, 'link', 'set', link, 'addrgenmode', 'none');
    for (const link of ['lo', 'eth0', 'eth0p']) ip('-n', NODE, 'link', 'set', link, 'up');
    await work(node, pod);
  } finally {
    for (const fd of [node, pod]) closeSync(fd);
    for (const name of [NODE, POD]) ip('netns', 'del', name);
  }
}

for (const [what, check] of Object.entries(CONTRACT)) {
  test(`Linux: ${what}`, { skip }, async () => {
    await ready;
    using home = openKernel();
    await inFreshNamespaces(async (node, podNetns) => {
      using kernel = home.within(node);
      await check({ kernel, podNetns });
    });
  });
}

test('Linux: a pair has one queue each way, however many processors there are', { skip }, async () => {
  await ready;
  using home = openKernel();
  await inFreshNamespaces(async (node, podNetns) => {
    using kernel = home.within(node);
    const podMac = mac('02:00:00:00:00:99');
    kernel.createPair({ hostName: 'tt00000000001', podName: 'eth0', podMac, mtu: 1400, netns: podNetns });
    const shown = [`${NODE} tt00000000001`, `${POD} eth0`].map((place) => {
      const [netns = '', link = ''] = place.split(' ');
      return execFileSync('ip', ['-n', netns, '-d', 'link', 'show', link], { encoding: 'utf8' });
    });
    for (const text of shown) assert.match(text, /numtxqueues 1 numrxqueues 1 /);
  });
});
