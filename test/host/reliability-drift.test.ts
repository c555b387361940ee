/**
 * What others do to a node and to the store is put right: by hand on the host, by a peer that changes or goes, by two
 * nodes that claim one subnet. Each case waits until the node is again as it should be and prints how long it took.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import type { Status } from '../../src/api/status.ts';
import { connectAgent } from '../../src/cli/client.ts';
import { claimName } from '../../src/ipam/subnet.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { allReach, renderMatrix } from '../../src/lab/matrix.ts';
import { labDirectory } from '../../src/lab/topology.ts';
import type { NodeAdvert, SubnetClaim } from '../../src/model/world.ts';
import { parsePrefix } from '../../src/net/prefix.ts';
import { type DirectoryStore, openDirectoryStore } from '../../src/stores/directory.ts';
import { waitFor, whyNoKernel } from './namespace.ts';

const skip = whyNoKernel(['ip', 'nft', 'bridge']) ?? false;
/** Generous: what is printed is the measure. */
const BOUND_MS = 5000;

describe('drift', { skip }, () => {
  let lab: Lab;
  let store: DirectoryStore;
  before(async () => {
    lab = await startLab({ name: `rl-dr-${process.pid}`, nodes: 3, subnets: 1 });
    await lab.addPod('node1', 'a');
    await lab.addPod('node2', 'b');
    store = openDirectoryStore(join(labDirectory(lab.name), 'store'));
  });
  after(async () => {
    store?.close();
    await lab?.down();
  });

  /** Whatever a peer or a hand could change, as sorted lines. */
  async function look(node: string): Promise<string[]> {
    const commands = [
      'ip -br link show type vxlan',
      'ip -4 route show table all | grep -v "^local\\|^broadcast"',
      'ip neigh show nud permanent',
      'bridge fdb show | grep "dst"',
      'nft -s list ruleset',
    ];
    const { stdout } = await lab.exec(node, ['sh', '-c', commands.join('; ')]);
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .toSorted((a, b) => a.localeCompare(b));
  }

  function statusOf(node: string): Promise<Status> {
    const { paths } = lab.nodes.find(({ name }) => name === node) ?? assert.fail();
    return connectAgent(paths.run).call('status');
  }

  async function converges(t: TestContext, probe: () => boolean | Promise<boolean>): Promise<void> {
    const start = performance.now();
    await waitFor(t.name, probe, BOUND_MS);
    t.diagnostic(`${t.name}: ${Math.round(performance.now() - start)} ms`);
  }

  /** Until `node` looks as it did; the difference is the error. */
  async function restores(t: TestContext, node: string, wanted: string[]): Promise<void> {
    let seen: string[] = [];
    await converges(t, async () => {
      seen = await look(node);
      return seen.join('\n') === wanted.join('\n');
    }).catch((error: unknown) => {
      assert.deepEqual(seen, wanted);
      throw error;
    });
  }

  async function assertTraffic(): Promise<void> {
    let reaches = await lab.matrix();
    for (let round = 0; round < 3 && !allReach(reaches); round += 1) reaches = await lab.matrix();
    assert.ok(allReach(reaches), `\n${renderMatrix(reaches)}`);
  }

  const byHand = {
    'VXLAN device deleted': 'ip link delete $(ip -o link show type vxlan | cut -d: -f2)',
    'VXLAN device taken down': 'ip link set $(ip -o link show type vxlan | cut -d: -f2) down',
    'nft flush ruleset': 'nft flush ruleset',
    'routes of the pod network flushed': 'ip route flush dev $(ip -o link show type vxlan | cut -d: -f2)',
    'neighbours and FDB flushed':
      'for d in $(ip -o link show type vxlan | cut -d: -f2); do ip neigh flush nud permanent dev $d; ' +
      'bridge fdb show dev $d | while read m r; do bridge fdb del $m dev $d $r; done; done',
  };
  for (const [name, command] of Object.entries(byHand)) {
    test(name, async (t) => {
      const wanted = await look('node1');
      await lab.exec('node1', ['sh', '-c', command]);
      await restores(t, 'node1', wanted);
      await assertTraffic();
    });
  }

  async function advertOf(name: string): Promise<NodeAdvert> {
    return (await store.get('Node', name))?.value as NodeAdvert;
  }

  test("a peer's advert changed while it is away is followed; its return puts it right", async (t) => {
    const wanted = await look('node1');
    const advert = await advertOf('node2');
    await lab.kill('node2');
    const text = JSON.stringify(advert)
      .replaceAll(advert.addresses[4] ?? '', '192.168.10.99')
      .replaceAll(advert.vxlan?.mac[4] ?? '', '02:00:00:00:00:99');
    await store.put('Node', 'node2', JSON.parse(text));
    await converges(t, async () => {
      const lines = await look('node1');
      const moved = lines.some((line) => /02:00:00:00:00:99.*192\.168\.10\.99/.test(line));
      return moved && !lines.some((line) => line.includes(advert.vxlan?.mac[4] ?? ''));
    });
    await lab.start('node2');
    await restores(t, 'node1', wanted);
    await assertTraffic();
  });

  test('a living agent takes its advert back', async (t) => {
    const wanted = await look('node1');
    const advert = await advertOf('node2');
    await store.put('Node', 'node2', { ...advert, addresses: { 4: '192.168.10.98' } });
    await converges(t, async () => (await advertOf('node2')).addresses[4] === advert.addresses[4]);
    await restores(t, 'node1', wanted);
  });

  test('a node removed from the store while an agent is away is gone when it returns', async (t) => {
    const wanted = await look('node1');
    const subnet = (await advertOf('node3')).subnets[4] ?? '';
    await Promise.all([lab.kill('node1'), lab.kill('node3')]);
    await store.remove('Node', 'node3');
    assert.ok(
      (await look('node1')).some((line) => line.startsWith(subnet)),
      'kept while the agent is away',
    );
    await lab.start('node1');
    await converges(t, async () => !(await look('node1')).some((line) => line.startsWith(subnet)));
    await lab.start('node3');
    await restores(t, 'node1', wanted);
  });

  async function giveAway(node: string): Promise<string> {
    const subnet = (await statusOf(node)).subnets[4] ?? '';
    const name = claimName(parsePrefix(subnet) ?? assert.fail());
    const claim = (await store.get('SubnetClaim', name))?.value as SubnetClaim;
    assert.equal(claim.node, node);
    await store.put('SubnetClaim', name, { ...claim, node: 'ghost' });
    return subnet;
  }

  test('a subnet claimed by another: a node without pods moves, its peers follow', async (t) => {
    const subnet = await giveAway('node3');
    let moved = subnet;
    await converges(t, async () => {
      moved = (await statusOf('node3')).subnets[4] ?? subnet;
      const lines = await look('node1');
      return (
        moved !== subnet &&
        lines.some((line) => line.startsWith(moved)) &&
        !lines.some((line) => line.startsWith(subnet))
      );
    });
    await lab.addPod('node3', 'c');
    await assertTraffic();
  });

  test('a subnet claimed by another: pods stay reachable, new ones wait until it is resolved', async (t) => {
    const subnet = await giveAway('node2');
    await waitFor('node2 to say so', async () =>
      (await statusOf('node2')).reasons.some((reason) => reason.includes('ghost')),
    );
    await assertTraffic();
    await assert.rejects(lab.addPod('node2', 'd'));
    await store.remove('SubnetClaim', claimName(parsePrefix(subnet) ?? assert.fail()));
    await converges(t, async () => (await statusOf('node2')).ready);
    await lab.addPod('node2', 'd');
    await assertTraffic();
  });

  test('a copied advert with the subnet of another does not take its traffic', async (t) => {
    const wanted = await look('node1');
    const { subnets } = await advertOf('node2');
    await lab.kill('node3');
    await store.put('Node', 'node3', { ...(await advertOf('node3')), subnets });
    await waitFor('node1 to see it', async () =>
      (await statusOf('node1')).peers.some(
        (peer) => peer.name === 'node3' && peer.subnets.includes(subnets[4] ?? ''),
      ),
    );
    const between = (await lab.matrix()).filter(({ from, to }) => !`${from}${to}`.includes('c'));
    assert.ok(allReach(between), renderMatrix(between));
    await lab.start('node3');
    await restores(t, 'node1', wanted);
    await assertTraffic();
  });
});
