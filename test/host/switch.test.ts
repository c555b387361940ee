/**
 * The cluster changes its road while pods of all nodes talk: 100 pings a second and a TCP stream between each two. What
 * this host's kernel has no device for is shown by ./switch-roads.test.ts under QEMU.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { allReach } from '../../src/lab/matrix.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';
import { startTraffic, type Traffic } from './traffic.ts';

const skip = whyNoKernel(['ip', 'nft', 'ping', 'iperf3']) ?? whyNoTartan() ?? false;

type Road = {
  readonly road: { readonly type: string; readonly mode: string };
  readonly change?: { readonly phase: string };
  readonly holds: readonly { readonly node: string; readonly why: string; readonly failed: boolean }[];
};

async function road(lab: Lab, node = 'node1'): Promise<Road> {
  const { stdout, stderr } = await lab.tartan(node, 'switch', '--no-wait', '-o', 'json');
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout) as Road;
}

/** Begins or turns round, and waits for the end. */
async function change(lab: Lab, ...words: string[]): Promise<void> {
  const { code, stdout, stderr } = await lab.tartan('node1', 'switch', ...words);
  assert.equal(code, 0, `${words.join(' ')}: ${stdout}${stderr}`);
}

async function routes(lab: Lab, node: string): Promise<string> {
  return (await lab.exec(node, ['ip', 'route', 'show', 'proto', '84'])).stdout;
}

async function assertNothingLost(t: TestContext, traffic: Traffic): Promise<void> {
  const { pings, streams } = await traffic.stop();
  for (const { pair, sent, lost } of pings) t.diagnostic(`${pair}: ${lost} of ${sent} pings lost`);
  for (const { pair, megabytes, longestPause } of streams)
    t.diagnostic(`${pair}: ${megabytes.toFixed(1)} MB, longest pause ${longestPause} s`);
  for (const { pair, sent, lost } of pings) assert.ok(lost <= 1 && sent > 100, `${pair}: ${lost} of ${sent}`);
  for (const { pair, stood, megabytes } of streams) assert.ok(stood && megabytes > 0.5, pair);
}

const SETTINGS = { network: { ipv6: { range: 'fd00:244::/48' } } };
const PODS = ['one', 'two', 'three'];

test('roads change under traffic on one subnet', { skip }, async (t) => {
  await using lab = await startLab({
    name: `sw-one-${process.pid}`,
    nodes: 3,
    subnets: 1,
    profile: 'flannel',
    settings: SETTINGS,
  });
  const nodes = lab.nodes.map(({ name }) => name);
  for (const [index, pod] of PODS.entries()) await lab.addPod(`node${index + 1}`, pod);
  await waitFor('all pods to meet', async () => allReach(await lab.matrix()));
  const traffic = await startTraffic(lab, PODS);

  await t.test('dry run: the steps of every node, and nothing is done', async () => {
    const before = await routes(lab, 'node2');
    const { code, stdout } = await lab.tartan('node1', 'switch', 'host-gw', '--dry-run');
    assert.equal(code, 0, stdout);
    for (const node of nodes) assert.match(stdout, new RegExp(`^${node}$`, 'm'));
    assert.match(stdout, /~ ip route add 10\.244\.\S+ via 192\.168\.10\.1\d dev eth0/);
    assert.match(stdout, /- ip link add tartan\.1/);
    assert.equal(await routes(lab, 'node2'), before);
    assert.equal((await road(lab)).change, undefined);
  });

  await t.test('vxlan to host-gw', async () => {
    await change(lab, 'host-gw');
    for (const node of nodes) {
      assert.match(await routes(lab, node), /via 192\.168\.10\.1\d dev eth0/);
      assert.notEqual((await lab.exec(node, ['ip', 'link', 'show', 'tartan.1'])).code, 0);
    }
    assert.equal((await road(lab)).road.type, 'host-gw');
  });

  await t.test('an agent that starts again goes by the store, not by its file', async () => {
    await lab.kill('node3');
    await lab.start('node3');
    assert.match(await routes(lab, 'node3'), /via 192\.168\.10\.10 dev eth0/);
    assert.match((await lab.tartan('node3', 'switch')).stdout, /settings of this node still say vxlan/);
  });

  await t.test('new pods of a bridge have the MTU of those that are there; mode and back', async () => {
    assert.match((await lab.exec('node1', ['ip', 'link', 'show', 'cni0'])).stdout, /mtu 1450/);
    await change(lab, 'vxlan', '--mode', 'CrossSubnet');
    assert.match(await routes(lab, 'node1'), /dev eth0/, 'same subnet, so nothing is encapsulated');
    await change(lab, 'vxlan');
    assert.match(await routes(lab, 'node1'), /dev tartan\.1/);
    const rpFilter = ['cat', '/proc/sys/net/ipv4/conf/eth0/rp_filter'];
    assert.notEqual((await lab.exec('node1', rpFilter)).stdout.trim(), '2', 'as it was before');
  });

  await t.test('the settings of all nodes say the road: they rule again', async () => {
    assert.equal((await road(lab)).change, undefined);
  });

  for (const phase of ['accept', 'move', 'remove']) {
    await t.test(`an agent killed in the phase ${phase}: the others wait, and go on with it`, async () => {
      process.env['TARTAN_KILL_AT'] = `switch:${phase}`;
      await lab.start('node3').finally(() => delete process.env['TARTAN_KILL_AT']);
      const [was, target] =
        (await road(lab)).road.type === 'vxlan' ? ['vxlan', 'host-gw'] : ['host-gw', 'vxlan'];
      await lab.tartan('node1', 'switch', target, '--no-wait');
      await waitFor('the others to wait for it', async () => {
        const now = await road(lab);
        const isHeld = now.holds.some(({ node, why }) => node === 'node3' && why.includes('is it running'));
        return now.change?.phase === phase && isHeld;
      });
      await lab.start('node3');
      await change(lab);
      assert.equal((await road(lab)).road.type, target, `was ${was}`);
    });
  }

  await t.test('a road that a node cannot take is told of, and all turn round', async () => {
    const { type } = (await road(lab)).road;
    const failed = await lab.tartan('node1', 'switch', 'wireguard', '--timeout', '20');
    if (failed.code === 0) await change(lab, '--back');
    else {
      assert.match(failed.stdout, /failed node1: .*\n(.*\n)*.*--back turns round/);
      await change(lab, '--back');
    }
    assert.equal((await road(lab)).road.type, type);
  });

  await t.test('without a node that is away', async () => {
    const [target] = (await road(lab)).road.type === 'vxlan' ? ['host-gw'] : ['vxlan'];
    await lab.kill('node3');
    const { code, stdout } = await lab.tartan('node1', 'switch', target ?? '', '--timeout', '2');
    assert.equal(code, 1);
    assert.match(stdout, /waits for node3: .*is it running\?/);
    await lab.start('node3');
    await change(lab);
  });

  await t.test('nothing was lost', () => assertNothingLost(t, traffic));
});

test('the wiring changes with the road: old pods stay ports of the bridge', { skip }, async (t) => {
  await using lab = await startLab({
    name: `sw-wire-${process.pid}`,
    nodes: 2,
    subnets: 1,
    profile: 'flannel',
  });
  for (const node of ['node1', 'node2']) await lab.addPod(node, `old-${node}`);
  const traffic = await startTraffic(lab, ['old-node1', 'old-node2']);
  for (const { name, paths } of lab.nodes) {
    writeFileSync(paths.settings, `${readFileSync(paths.settings, 'utf8')}wiring: { type: routed }\n`);
    await lab.start(name);
  }
  await change(lab, 'host-gw');
  for (const node of ['node1', 'node2']) await lab.addPod(node, `new-${node}`);
  const links = (await lab.exec('node1', ['ip', '-d', 'link', 'show', 'type', 'veth'])).stdout;
  assert.equal(
    links.match(/master cni0/g)?.length,
    1,
    'the old pod is a port of the bridge, the new one is not',
  );
  await waitFor('all pods to meet', async () => allReach(await lab.matrix()));

  // A route, and so a new pod, carries more now than after the next change.
  assert.match((await lab.exec('new-node1', ['ip', 'link', 'show', 'eth0'])).stdout, /mtu 1500/);
  const wide = await startTraffic(lab, ['new-node1', 'new-node2']);
  await change(lab, 'vxlan');
  const [to = ''] = lab.pods().find(({ name }) => name === 'new-node2')?.addresses ?? [];
  const large = await lab.exec('new-node1', `ping -n -c 3 -W 2 -s 1472 -M dont ${to}`.split(' '));
  assert.equal(large.code, 0, large.stdout);
  await assertNothingLost(t, wide);
  await assertNothingLost(t, traffic);
});

test(
  'a road that needs one subnet is refused where there are two, and nothing happens',
  { skip },
  async () => {
    await using lab = await startLab({ name: `sw-two-${process.pid}`, nodes: 3, subnets: 2 });
    const before = await routes(lab, 'node1');
    const why = /192\.168\.20\.12 is not on a prefix of eth0: a router is between/;
    const dry = await lab.tartan('node1', 'switch', 'host-gw', '--dry-run');
    assert.equal(dry.code, 1);
    assert.match(dry.stdout, why);
    const refused = await lab.tartan('node1', 'switch', 'host-gw');
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, why);
    assert.equal((await road(lab)).change, undefined);
    assert.equal(await routes(lab, 'node1'), before);
  },
);

test('auto takes the cheapest road of each two nodes, both the same', { skip }, async () => {
  await using lab = await startLab({
    name: `sw-auto-${process.pid}`,
    nodes: 3,
    subnets: 2,
    settings: { road: { type: 'auto', auto: { roads: ['vxlan', 'host-gw'] } } },
  });
  for (const [index, pod] of PODS.entries()) await lab.addPod(`node${index + 1}`, pod);
  await waitFor('all pods to meet', async () => allReach(await lab.matrix()));
  type Peer = { name: string; road: string; why: string };
  const taken: Record<string, string> = {};
  for (const { name } of lab.nodes) {
    const { stdout } = await lab.tartan(name, 'status', '-o', 'json');
    for (const peer of (JSON.parse(stdout) as { peers: Peer[] }).peers) {
      taken[`${name} ${peer.name}`] = peer.road;
      if (peer.road === 'vxlan') assert.match(peer.why, /not host-gw: .* a router is between/);
    }
  }
  assert.deepEqual(taken, {
    'node1 node2': 'direct',
    'node1 node3': 'vxlan',
    'node2 node1': 'direct',
    'node2 node3': 'vxlan',
    'node3 node1': 'vxlan',
    'node3 node2': 'vxlan',
  });
});
