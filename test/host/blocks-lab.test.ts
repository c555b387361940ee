/**
 * Agents that take their addresses from blocks: pods of nodes that have run out of blocks borrow, and reach each other all the same;
 * pods and namespaces choose pools; what a removed node held is free again; and the kill points of ADD and DEL leave nothing held that nobody
 * uses.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BlockStatus, Status } from '../../src/api/status.ts';
import type { Place } from '../../src/agent/crash.ts';
import { blockProblem, holderOf } from '../../src/ipam/blocks/block.ts';
import { type Lab, type LabOptions, startLab } from '../../src/lab/lab.ts';
import { allReach, renderMatrix } from '../../src/lab/matrix.ts';
import { storePath } from '../../src/lab/topology.ts';
import type { Block } from '../../src/model/block.ts';
import { parseAddress } from '../../src/net/address.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { startNode, whyNoTartan } from './node.ts';
import {
  assertHolds,
  makePod,
  request,
  restartArmed,
  ruleset,
  statusOf as statusOfNode,
  succeed,
  waitDead,
} from './reliability.ts';

const skip = whyNoKernel(['ip', 'nft', 'nsenter']) ?? whyNoTartan() ?? false;

/** Four blocks of seven addresses for three nodes that may have one each, or two. */
const TINY = {
  network: { name: 'tartan', ipv4: { range: '10.66.0.0/27' } },
  wiring: { type: 'routed' },
};
const blocks = (more: object = {}): object => ({
  addresses: {
    type: 'blocks',
    quarantineSeconds: 0,
    blocks: { ipv4Length: 29, ipv6Length: 125, reclaimSeconds: 10, ...more },
  },
});

function makeLab(name: string, options: Omit<LabOptions, 'name'>): Promise<Lab> {
  return startLab({ ...options, name: `bl-${name}-${process.pid}` });
}

async function statusOf(lab: Lab, node: string): Promise<Status> {
  const { stdout, stderr } = await lab.tartan(node, 'status', '-o', 'json');
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout) as Status;
}

async function assertAllReach(lab: Lab): Promise<void> {
  let reaches = await lab.matrix();
  for (let round = 0; round < 3 && !allReach(reaches); round += 1) reaches = await lab.matrix();
  assert.ok(allReach(reaches), `\n${renderMatrix(reaches)}`);
}

function storedBlocks(directory: string): Block[] {
  return readdirSync(directory)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => {
      const { metadata, spec } = JSON.parse(readFileSync(join(directory, file), 'utf8')) as {
        metadata: { name: string };
        spec: Block;
      };
      assert.equal(blockProblem(metadata.name, spec), undefined);
      return spec;
    });
}

const heldBy = (found: readonly BlockStatus[], node: string): number =>
  found.flatMap(({ holders }) => holders).reduce((sum, one) => sum + (one.node === node ? one.held : 0), 0);

const PODS = 9;

for (const road of ['vxlan', 'host-gw'] as const) {
  const subnets = road === 'vxlan' ? 2 : 1;
  test(`${road}: pods beyond their node’s blocks borrow, and all reach all`, { skip }, async (t) => {
    const network = road === 'vxlan' ? { ...TINY.network, ipv6: { range: 'fd66::/123' } } : TINY.network;
    const settings = { ...TINY, network, ...blocks({ maxPerNode: 1 }), road: { type: road } };
    await using lab = await makeLab(road, { nodes: 3, subnets, settings });

    await t.test('nine pods on a node that may have one block of seven', async () => {
      for (let n = 1; n <= PODS; n += 1) await lab.addPod('node1', `many${n}`);
      await lab.addPod('node2', 'two');
      await lab.addPod('node3', 'three');
      const status = await statusOf(lab, 'node1');
      const own = (status.blocks ?? []).filter(({ node }) => node === 'node1');
      const families = road === 'vxlan' ? 2 : 1;
      assert.equal(own.length, families, 'one of each family');
      const borrowed = (status.blocks ?? []).filter(({ node }) => node !== 'node1');
      assert.ok(heldBy(borrowed, 'node1') >= 2 * families, JSON.stringify(status.blocks));
      await assertAllReach(lab);
    });

    await t.test('a borrowed address goes back with its pod', async () => {
      for (let n = 1; n <= PODS; n += 1) await lab.removePod(`many${n}`);
      await waitFor('borrowed addresses to be given back', async () => {
        const found = (await statusOf(lab, 'node2')).blocks ?? [];
        return (
          heldBy(
            found.filter(({ node }) => node !== 'node1'),
            'node1',
          ) === 0
        );
      });
    });

    if (road !== 'vxlan') return;
    await t.test('a removed node’s blocks are free again after the grace, and no sooner', async () => {
      await lab.removePod('three');
      await lab.kill('node3');
      await new Promise((resolve) => setTimeout(resolve, 3000));
      const path = join(storePath(lab.name), 'state');
      assert.ok(
        storedBlocks(join(path, 'Block')).some(({ node }) => node === 'node3'),
        'it is only away',
      );
      rmSync(join(path, 'Node', 'node3.yaml'));
      await waitFor(
        'the blocks of node3 to be reclaimed',
        () => storedBlocks(join(path, 'Block')).every((block) => !JSON.stringify(block).includes('node3')),
        60_000,
      );
      await waitFor('no route to lead there', async () => {
        const { blocks: found = [] } = await statusOf(lab, 'node1');
        return heldBy(found, 'node3') === 0;
      });
    });
  });
}

const POOLS = `
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: blue }
spec: { cidr: 10.67.1.0/24, namespaceSelector: "team == 'shop'" }
---
apiVersion: crd.projectcalico.org/v1
kind: IPPool
metadata: { name: green }
spec: { cidr: 10.67.2.0/24, assignmentMode: Manual, blockSize: 28 }
---
apiVersion: tartan.dev/v1
kind: Pool
metadata: { name: plain }
spec: { prefix: 10.67.0.0/24, reserved: [10.67.0.0/26], namespaces: "!has(team)" }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { team: shop } }
---
apiVersion: v1
kind: Namespace
metadata: { name: lab, annotations: { cni.projectcalico.org/ipv4pools: '["green"]' } }
---
apiVersion: v1
kind: Pod
metadata: { name: fixed, namespace: shop, annotations: { cni.projectcalico.org/ipAddrs: '["10.67.1.77"]' } }
---
apiVersion: v1
kind: Pod
metadata: { name: chooser, namespace: shop, annotations: { cni.projectcalico.org/ipv4pools: '["10.67.0.0/24"]' } }
---
apiVersion: v1
kind: Pod
metadata: { name: wrong, namespace: shop, annotations: { cni.projectcalico.org/ipv4pools: '["red"]' } }
`;

test('pods and namespaces choose pools and addresses; reserved ones stay', { skip }, async () => {
  const settings = {
    network: { ipv4: { range: '10.67.0.0/16' } },
    wiring: { type: 'routed' },
    ...blocks({ ipv4Length: 26 }),
  };
  await using lab = await makeLab('pools', { nodes: 2, subnets: 1, settings });
  lab.apply('pools', POOLS);
  await waitFor('the pools to be read', async () => {
    const { blockPools = [] } = await statusOf(lab, 'node1');
    return blockPools.map(({ name }) => name).join() === 'blue,green,plain';
  });
  const add = async (pod: string, namespace: string): Promise<string> =>
    (await lab.addPod('node1', pod, { namespace })).addresses[0] ?? '';
  assert.match(
    await add('any', 'other'),
    /^10\.67\.0\.(?:6[4-9]|[7-9]\d|\d{3})$/,
    'not reserved, by its labels',
  );
  assert.match(await add('web', 'shop'), /^10\.67\.1\./, 'by the namespace’s labels');
  assert.match(await add('tool', 'lab'), /^10\.67\.2\./, 'by the namespace’s annotation');
  assert.match(await add('chooser', 'shop'), /^10\.67\.0\./, 'the pod’s annotation counts more');
  assert.equal(await add('fixed', 'shop'), '10.67.1.77');
  await assert.rejects(add('wrong', 'shop'), /red/);
  const ips = (text: string): object => ({ runtimeConfig: { ips: [text] }, namespace: 'other' });
  await assert.rejects(lab.addPod('node2', 'twin', ips('10.67.1.77/32')), /held/);
  assert.deepEqual((await lab.addPod('node2', 'reserved', ips('10.67.0.5/32'))).addresses, ['10.67.0.5']);
  await assertAllReach(lab);
  lab.apply('pools', POOLS.replace('blockSize: 28', 'blockSize: 27'));
  await waitFor('the changed length to be told of', async () => {
    const { events } = await statusOf(lab, 'node1');
    return events.some(({ text }) => /pool green: blocks .* are \/28 since the first/.test(text));
  });
  assert.match(await add('another', 'lab'), /^10\.67\.2\./);
  const { stdout } = await lab.tartan('node1', 'get', 'pools');
  assert.match(stdout, /green +10\.67\.2\.0\/24 +1 of \/28 +by name/);
});

/** Where addresses change hands; ./reliability-kill.test.ts has the other places. */
const AROUND: readonly Place[] = [
  'add:begun',
  'add:allocated',
  'add:planned',
  'add:ready',
  'del:released',
  'del:forgotten',
];

test('killed where addresses change hands: nothing leaks and nothing is held twice', { skip }, async (t) => {
  const node = await startNode('bl-kill', { ...TINY, ...blocks() });
  const pod = makePod(8080);
  try {
    await assertHolds(node, [], 'routed');
    const empty = await ruleset(node);
    const store = join(node.directory, 'store/state/Block');
    const before = storedBlocks(store);
    for (const place of AROUND) {
      await t.test(place, async () => {
        await restartArmed(node, place);
        const { code } = await request(node, 'ADD', pod);
        if (place.startsWith('del:')) {
          assert.equal(code, 0);
          await succeed(node, 'DEL', pod); // answered, or spooled
        } else assert.notEqual(code, 0);
        await waitDead(node);
        await restartArmed(node);
        await succeed(node, 'DEL', pod);
        await assertHolds(node, [], 'routed');
        assert.equal(await ruleset(node), empty);
        await succeed(node, 'ADD', pod);
        await assertHolds(node, [pod], 'routed');
        await succeed(node, 'DEL', pod);
        await assertHolds(node, [], 'routed');
        const holdings = (found: readonly Block[]): unknown =>
          found.map(({ prefix, free, node: whose }) => [prefix, free, whose]);
        assert.deepEqual(holdings(storedBlocks(store)), holdings(before));
      });
    }
  } finally {
    await node.stop();
    pod.netns.remove();
  }
});

test(
  'a node that had a subnet takes blocks from now on: its pods keep their addresses',
  { skip },
  async () => {
    const network = { name: 'tartan', ipv4: { range: '10.68.0.0/16' } };
    const before = { network, wiring: { type: 'routed' }, addresses: { quarantineSeconds: 0 } };
    const node = await startNode('bl-move', before);
    const [old, young] = [makePod(), makePod()];
    try {
      const result = await succeed(node, 'ADD', old);
      const [ip = ''] = (await statusOfNode(node)).pods.flatMap((pod) => pod.addresses);
      const settings = readFileSync(node.settingsFile, 'utf8');
      writeFileSync(
        node.settingsFile,
        settings.replace('quarantineSeconds: 0', 'quarantineSeconds: 0\n  type: blocks'),
      );
      await node.restart();
      await assertHolds(node, [old], 'routed');
      const check = await request(node, 'CHECK', old, result);
      assert.equal(check.code, 0, check.stdout);
      const stored = storedBlocks(join(node.directory, 'store/state/Block'));
      const address = parseAddress(ip.split('/')[0] ?? '');
      assert.ok(
        stored.some((block) => address !== undefined && holderOf(block, address) === 'bl-move'),
        ip,
      );
      await succeed(node, 'ADD', young);
      await assertHolds(node, [old, young], 'routed');
      for (const pod of [old, young]) await succeed(node, 'DEL', pod);
      await assertHolds(node, [], 'routed');
    } finally {
      await node.stop();
      for (const pod of [old, young]) pod.netns.remove();
    }
  },
);
