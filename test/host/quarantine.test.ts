/**
 * The agent dies by SIGKILL while an address is given back: its link is still there, or gone a moment ago. Its successor
 * lets the address rest, and goes on with the addresses behind the last one.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { waitFor, whyNoKernel } from './namespace.ts';
import { type Node, startNode, whyNoTartan } from './node.ts';
import { makePod, type Pod, request, restartArmed, statusOf, succeed, waitDead } from './reliability.ts';

const skip = whyNoKernel(['ip']) ?? whyNoTartan() ?? false;

describe('the address of a DEL that was cut short', { skip }, () => {
  let node: Node;
  const pods: Pod[] = [];
  const newPod = (): Pod => {
    const pod = makePod();
    pods.push(pod);
    return pod;
  };
  before(async () => {
    const network = { name: 'tartan', ipv4: { range: '10.77.0.0/16', nodeSubnet: '10.77.1.0/24' } };
    node = await startNode('ar-rest', { network, addresses: { quarantineSeconds: 600 } });
  });
  after(async () => {
    await node?.stop();
    for (const pod of pods) pod.netns.remove();
  });

  async function add(): Promise<{ pod: Pod; address: string }> {
    const pod = newPod();
    const { ips } = JSON.parse(await succeed(node, 'ADD', pod)) as { ips: { address: string }[] };
    return { pod, address: ips[0]?.address ?? '' };
  }

  async function addressTaken(ip: string): Promise<string> {
    const pod = newPod();
    const asked = { ...pod.config, capabilities: { ips: true }, runtimeConfig: { ips: [ip] } };
    return (await request(node, 'ADD', { ...pod, config: asked })).stdout;
  }

  const given = new Set<string>();
  for (const place of ['del:deleting', 'del:released', 'del:reaped', 'del:forgotten']) {
    test(`killed at ${place}`, async () => {
      await restartArmed(node, place);
      const { pod, address } = await add();
      assert.ok(!given.has(address), `${address} is given again at once`);
      given.add(address);
      await request(node, 'DEL', pod);
      await waitDead(node);
      const hasLink = node.netns.ip('link show').includes('tt');
      if (place !== 'del:released') assert.equal(hasLink, place === 'del:deleting');

      for (let restart = 0; restart < 2; restart += 1) {
        await node.restart();
        await waitFor('the link to go', () => !node.netns.ip('link show').includes('tt'));
        const status = await statusOf(node);
        assert.equal(status.pools[0]?.quarantined, given.size, JSON.stringify(status.pools));
        assert.match(await addressTaken(address), /its link is not gone yet/);
      }
      const next = await add();
      assert.ok(!given.has(next.address), `${next.address} is given again at once`);
      given.add(next.address);
      await succeed(node, 'DEL', next.pod);
      await waitFor('the link to go', () => !node.netns.ip('link show').includes('tt'));
    });
  }
});
