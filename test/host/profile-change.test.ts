/**
 * Nodes that change from a profile to another one after the other, with pods on them: these keep their wiring and the bridge that
 * they are on, under its name, and lose no packet, whether the other pod is on their node or not.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeNamespace, type Namespace, waitFor, whyNoKernel } from './namespace.ts';
import { makeUnderlay, type Node, startNode, whyNoTartan } from './node.ts';
import { startPing } from './steady-ping.ts';

const skip = whyNoKernel(['ip', 'ping']) ?? whyNoTartan() ?? false;
const CONFIG = { cniVersion: '1.1.0', name: 'tartan', type: 'tartan-cni' };

type Pod = {
  readonly netns: Namespace;
  readonly address: string;
  readonly ask: (verb: 'CHECK' | 'DEL') => Promise<void>;
};

async function attach(node: Node, id: string): Promise<Pod> {
  const netns = makeNamespace(`pc-${id}`);
  const environment = { CNI_CONTAINERID: id, CNI_IFNAME: 'eth0', CNI_NETNS: netns.path };
  const added = await node.cni('ADD', environment, CONFIG);
  assert.equal(added.code, 0, added.stdout + node.log());
  const prevResult = JSON.parse(added.stdout) as { readonly ips: readonly { readonly address: string }[] };
  return {
    netns,
    address: prevResult.ips[0]?.address.split('/')[0] ?? assert.fail(added.stdout),
    ask: async (verb) => {
      const { code, stdout } = await node.cni(verb, environment, { ...CONFIG, prevResult });
      assert.equal(code, 0, `${verb} ${id}: ${stdout}`);
    },
  };
}

/** One node after the other, as a DaemonSet does. */
async function change(nodes: readonly Node[], from: string, to: string): Promise<void> {
  for (const node of nodes) {
    const text = readFileSync(node.settingsFile, 'utf8');
    assert.ok(text.includes(`profile: ${from}`));
    writeFileSync(node.settingsFile, text.replace(`profile: ${from}`, `profile: ${to}`));
    await node.restart();
  }
}

const bridges = ({ netns }: Node): string[] =>
  netns.list<{ ifname: string }>('link show type bridge').map(({ ifname }) => ifname);

async function reach(from: Pod, to: Pod): Promise<void> {
  const isThere = async (): Promise<boolean> =>
    (await from.netns.run(['ping', '-c', '1', '-W', '1', to.address])).code === 0;
  await waitFor(`${from.netns.name} to reach ${to.address}`, isThere, 30_000);
}

async function undisturbed(pods: readonly (readonly [Pod, Pod])[], work: () => Promise<void>): Promise<void> {
  const pings = pods.map(([from, to]) => startPing(from.netns, to.address));
  await work();
  // What is cached of the other pod's address is asked for again after some seconds.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const lost = await Promise.all(pings.map((ping) => ping.lost()));
  assert.deepEqual(
    lost.filter((text) => text !== ''),
    [],
  );
}

test('from flannel to canal and back, and pods lose nothing', { skip, timeout: 180_000 }, async (t) => {
  const underlay = await makeUnderlay('pc');
  const store = mkdtempSync(join(tmpdir(), 'pc-store-'));
  const nodes: Node[] = [];
  const pods: Pod[] = [];
  t.after(async () => {
    for (const node of nodes) await node.stop();
    for (const { netns } of pods) netns.remove();
    underlay.remove();
    rmSync(store, { recursive: true, force: true });
  });
  for (const index of [1, 2]) nodes.push(await startNode(`pc${index}`, {}, { underlay, index, store }));
  const [one = assert.fail(), two = assert.fail()] = nodes;
  for (const [node, id] of [
    [one, 'a'],
    [one, 'b'],
    [two, 'c'],
  ] as const)
    pods.push(await attach(node, id));
  const [a = assert.fail(), b = assert.fail(), c = assert.fail()] = pods;
  await reach(a, b);
  await reach(a, c);

  await undisturbed(
    [
      [a, b],
      [a, c],
      [c, b],
    ],
    () => change(nodes, 'flannel', 'canal'),
  );
  assert.deepEqual(bridges(one), ['cni0']);
  for (const pod of pods) await pod.ask('CHECK');
  const routed = await attach(one, 'd');
  pods.push(routed);
  for (const other of [a, b, c]) await reach(routed, other);

  await undisturbed(
    [
      [a, b],
      [a, c],
      [routed, a],
      [c, routed],
    ],
    () => change(nodes, 'canal', 'flannel'),
  );
  for (const pod of pods) await pod.ask('CHECK');

  await change(nodes, 'flannel', 'canal');
  for (const pod of [a, b]) await pod.ask('DEL');
  await waitFor('the bridge to go with its last pod', () => bridges(one).length === 0, 30_000);
  assert.deepEqual(bridges(two), ['cni0']);
  await reach(routed, c);
});
