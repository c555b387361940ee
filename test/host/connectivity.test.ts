/** `tartan test connectivity` as on two hosts: each node asks its own row, over the road and not only between the hosts. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { waitFor, whyNoKernel } from './namespace.ts';
import { makeUnderlay, type Node, startNode, type Underlay, whyNoTartan } from './node.ts';
import { makePod, type Pod, statusOf, succeed } from './reliability.ts';

const skip = whyNoKernel(['ip', 'nft', 'ping']) ?? whyNoTartan() ?? false;

type Result = { from: string; to: string; address: string; what: string; ok: boolean };

for (const wiring of ['routed', 'bridge']) {
  describe(`test connectivity, ${wiring}`, { skip }, () => {
    let underlay: Underlay;
    let store: string;
    const nodes: Node[] = [];
    let pod: Pod;
    before(async () => {
      store = mkdtempSync(join(tmpdir(), 'ar-store-'));
      underlay = await makeUnderlay(`ar-${wiring}`);
      for (const index of [1, 2]) {
        const network = { name: 'tartan', ipv4: { nodeSubnet: `10.244.${index}.0/24` } };
        const settings = { network, wiring: { type: wiring } };
        nodes.push(await startNode(`ar-n${index}-${wiring}`, settings, { underlay, index, store }));
      }
      pod = makePod();
      await succeed(nodes[0] ?? assert.fail(), 'ADD', pod);
      for (const node of nodes)
        await waitFor('the peer', async () => (await statusOf(node)).peers[0]?.state === 'programmed');
    });
    after(async () => {
      for (const node of nodes) await node.stop();
      underlay?.remove();
      pod?.netns.remove();
      rmSync(store, { recursive: true, force: true });
    });

    async function ask(node: Node): Promise<{ code: number; results: Result[] }> {
      const { code, stdout, stderr } = await node.run(['test', 'connectivity', '-o', 'json']);
      assert.match(stdout, /^\[/, stderr);
      return { code, results: JSON.parse(stdout) as Result[] };
    }
    const inside = (index: number): string => `10.244.${index}.${wiring === 'bridge' ? 1 : 0}`;

    test('each node asks for itself and its pods, and says what it did not ask', async () => {
      const [first, second] = nodes as [Node, Node];
      const asked = await ask(first);
      assert.deepEqual(
        asked.results.filter(({ ok }) => !ok),
        [],
      );
      assert.equal(asked.code, 0);
      const over = asked.results.filter(({ address }) => address === inside(2));
      assert.deepEqual(over.map(({ what }) => what).sort(), [
        'ping',
        'ping',
        'ping of 1450 bytes',
        'ping of 1450 bytes',
      ]);
      assert.equal(new Set(over.map(({ from }) => from)).size, 2, 'from the node and from its pod');
      const { results } = await ask(second);
      assert.ok(results.some(({ address, ok }) => address === inside(1) && ok));
      const text = await second.run(['test', 'connectivity']);
      assert.match(text.stdout, new RegExp(`asked from this host only; run it on ar-n1-${wiring}`));
    });

    test('a road that is cut shows although the hosts reach each other', async () => {
      const [first, second] = nodes as [Node, Node];
      await second.netns.must(['nft', 'add table inet cut']);
      await second.netns.must(['nft', 'add chain inet cut in { type filter hook prerouting priority raw; }']);
      await second.netns.must(['nft', 'add rule inet cut in udp dport 8472 drop']);
      const { code, results } = await ask(first);
      assert.equal(code, 1);
      for (const { address, ok, to } of results.filter(({ address }) => !address.startsWith('10.244.1.')))
        assert.equal(ok, address !== inside(2), `${to} ${address}`);
    });
  });
}
