/**
 * As a delegate of Multus: Debian has no package of it, so a small stand-in (the runtime of the conformance cases) does
 * what Multus does by exec: ADD of the pod's own network as eth0, ADD of a second network as net1 in the same container,
 * CHECK of both, DEL of net1, then of eth0, in that order.
 */
import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  add,
  addressesOf,
  check,
  deriveConfig,
  makePod,
  tryDel,
  type Attachment,
  type Result,
} from '../conformance/runtime.ts';
import type { NetworkConfig } from '../conformance/subject.ts';
import { pings, waitForPing } from '../conformance/traffic.ts';
import { waitFor, whyNoKernel, type Namespace } from './namespace.ts';
import { makeUnderlay, REFERENCE_PLUGINS, startNode, whyNoTartan, type Node, type Underlay } from './node.ts';

const skip = whyNoKernel(['ip', 'nft', 'ping']) ?? whyNoTartan() ?? false;

const network = (name: string): NetworkConfig => ({
  cniVersion: '1.1.0',
  name,
  plugins: [{ type: 'tartan-cni', capabilities: { portMappings: true, ips: true, mac: true } }],
});
const FIRST = network('bxnet');
const SECOND = network('second');

type Family = 4 | 6;
const FAMILIES = [4, 6] as const;
type Leg = { readonly network: NetworkConfig; readonly attachment: Attachment; readonly result: Result };
type Pod = { readonly node: Node; readonly netns: Namespace; readonly legs: readonly Leg[] };

/** Delegates of one pod, the first of which is its own network. */
async function addAll(node: Node, networks: readonly NetworkConfig[]): Promise<Pod> {
  const pod = makePod();
  const legs: Leg[] = [];
  for (const [index, each] of networks.entries()) {
    const attachment = { ...pod, ifname: index === 0 ? 'eth0' : `net${index}` };
    legs.push({ network: each, attachment, result: await add({ host: node }, each, attachment) });
  }
  return { node, netns: pod.netns, legs };
}

async function deleteLeg({ node }: Pod, { network: of, attachment, result }: Leg): Promise<void> {
  assert.equal(await tryDel({ host: node }, of, attachment, result), undefined);
}

async function removeAll(pod: Pod): Promise<void> {
  for (const leg of pod.legs.toReversed()) await deleteLeg(pod, leg);
  pod.netns.remove();
}

const addressOf = (pod: Pod, leg: number, family: Family): string =>
  addressesOf(pod.legs[leg]?.result ?? { cniVersion: '' })[family === 4 ? 0 : 1] ?? '';

const linksOf = (pod: Pod): string[] =>
  pod.netns
    .list<{ ifname: string }>('link')
    .map((link) => link.ifname)
    .filter((name) => name !== 'lo')
    .sort();

type Route = { readonly dst: string; readonly dev: string; readonly metric?: number };
/** Default routes of the main table, the preferred one first. */
const defaults = (pod: Pod, family: Family): string[] =>
  pod.netns
    .list<Route>(`-${family} route show default`)
    .toSorted((a, b) => (a.metric ?? 0) - (b.metric ?? 0))
    .map((route) => route.dev);

/** Rules that choose a table by the pod's addresses. */
const ruled = (pod: Pod, family: Family): string[] =>
  pod.netns.list<{ src: string }>(`-${family} rule`).flatMap(({ src }) => (src === 'all' ? [] : [src]));

const keyOf = ({ attachment }: Leg): object => ({
  containerID: attachment.containerId,
  ifname: attachment.ifname,
});

/** GC of one network with what a runtime says is still valid of it. */
async function collect(node: Node, of: NetworkConfig, valid: readonly Leg[]): Promise<void> {
  const [plugin] = of.plugins;
  assert.ok(plugin);
  const config = { ...deriveConfig(of, plugin, {}), 'cni.dev/valid-attachments': valid.map(keyOf) };
  const { code, stdout } = await node.cni('GC', {}, config);
  assert.equal(code, 0, stdout);
}

for (const wiring of ['routed', 'bridge'])
  describe(`a second interface, ${wiring} wiring`, { skip }, () => {
    let underlay: Underlay;
    const nodes: Node[] = [];
    const pods: Pod[] = [];
    let pod: Pod;
    let others: Pod[];

    async function start(at: number, networks: readonly NetworkConfig[]): Promise<Pod> {
      const made = await addAll(nodes[at] as Node, networks);
      pods.push(made);
      return made;
    }
    const isIntact = async ({ attachment, network: of, result }: Leg): Promise<boolean> =>
      (await check({ host: nodes[0] as Node }, of, attachment, result)) === undefined;

    before(async () => {
      underlay = await makeUnderlay('mu');
      const settings = {
        network: {
          name: 'bxnet',
          ipv4: { range: '10.88.0.0/16' },
          ipv6: { range: 'fd88::/96', subnetLength: 112 },
        },
        addresses: { quarantineSeconds: 0 },
        wiring: { type: wiring },
      };
      for (const index of [1, 2]) {
        const [first] = nodes;
        const store = first === undefined ? {} : { store: join(first.directory, 'store') };
        nodes.push(await startNode(`mu${index}`, settings, { underlay, index, ...store }));
      }
      pod = await start(0, [FIRST, SECOND]);
      others = [await start(0, [FIRST]), await start(1, [FIRST])];
      const [near, far] = others as [Pod, Pod];
      for (const family of FAMILIES) await waitForPing(far.netns, addressOf(near, 0, family), 20_000);
    });
    after(async () => {
      for (const each of pods) await removeAll(each);
      for (const node of nodes) await node.stop();
      underlay?.remove();
    });

    /** In both directions, bound to the address or to the interface, with the pods of both nodes. */
    async function meets(leg: number, family: Family): Promise<void> {
      const mine = addressOf(pod, leg, family);
      const ifname = pod.legs[leg]?.attachment.ifname ?? '';
      for (const other of others) {
        const theirs = addressOf(other, 0, family);
        assert.ok(await pings(other.netns, mine), `${theirs} → ${mine}`);
        assert.ok(await pings(pod.netns, theirs, ['-I', mine]), `${mine} → ${theirs}`);
        assert.ok(await pings(pod.netns, theirs, ['-I', ifname]), `${ifname} → ${theirs}`);
      }
    }

    for (const family of FAMILIES) {
      test(`both addresses reach others and are reached, IPv${family}`, async () => {
        assert.deepEqual(linksOf(pod), ['eth0', 'net1']);
        const all = [0, 1].map((leg) => addressOf(pod, leg, family));
        all.push(...others.map((other) => addressOf(other, 0, family)));
        assert.equal(new Set(all).size, 4, `all differ: ${all.join(' ')}`);
        await meets(0, family);
        await meets(1, family);
      });
      test(`the default route stays eth0's, and is the other's when it is asked for, IPv${family}`, async () => {
        assert.deepEqual(defaults(pod, family), ['eth0', 'net1']);
        // What Multus does for `default-route` of a network selection: eth0's goes, so the other is left.
        const gateway = pod.legs[0]?.result.ips?.[family === 4 ? 0 : 1]?.gateway ?? '';
        const route = `default via ${gateway} dev eth0 proto 84 ${family === 4 ? '' : 'metric 1024'}`;
        pod.netns.ip(`-${family} route del ${route}`);
        assert.deepEqual(defaults(pod, family), ['net1']);
        const [leg] = pod.legs as [Leg];
        const routes = leg.result.routes?.filter(({ dst }) => dst.includes(':') !== (family === 6));
        assert.equal(await isIntact(leg), false, 'its route is missing');
        assert.ok(await isIntact({ ...leg, result: { ...leg.result, routes: routes ?? [] } }), 'given up');
        const outside = family === 4 ? '172.30.0.254' : 'fd30::fe';
        assert.ok(await pings(pod.netns, outside), 'out of the cluster by net1');
        await meets(1, family);
        pod.netns.ip(`-${family} route add ${route}`);
        await meets(0, family);
      });
    }

    test('beside an eth0 that another plugin made', async () => {
      const [node] = nodes as [Node];
      copyFileSync(join(REFERENCE_PLUGINS, 'ptp'), join(node.bin, 'ptp'));
      const ipam = {
        type: 'host-local',
        dataDir: join(node.directory, 'leases'),
        subnet: '10.77.0.0/24',
        routes: [{ dst: '0.0.0.0/0' }],
      };
      const foreign = { cniVersion: '1.0.0', name: 'foreign', plugins: [{ type: 'ptp', ipam }] };
      const mixed = await start(0, [foreign, SECOND]);
      assert.deepEqual(defaults(mixed, 4), ['eth0', 'net1']);
      for (const other of others) {
        assert.ok(await pings(other.netns, addressOf(mixed, 1, 4)));
        assert.ok(await pings(mixed.netns, addressOf(other, 0, 4), ['-I', addressOf(mixed, 1, 4)]));
      }
    });

    test('CHECK and DEL of one leave the other alone', async () => {
      const victim = await start(0, [FIRST, SECOND]);
      const [first, second] = victim.legs as [Leg, Leg];
      assert.ok((await isIntact(first)) && (await isIntact(second)));
      assert.deepEqual(
        FAMILIES.flatMap((family) => ruled(victim, family)),
        addressesOf(second.result),
      );
      victim.netns.ip('link set net1 down');
      assert.equal(await isIntact(second), false, 'routes went with the link');
      assert.ok(await isIntact(first));

      await deleteLeg(victim, second);
      await waitFor('net1 to go', () => linksOf(victim).join() === 'eth0');
      assert.deepEqual(
        FAMILIES.flatMap((family) => ruled(victim, family)),
        [],
        'its rules are gone',
      );
      assert.ok(await isIntact(first));
      const [near] = others as [Pod];
      assert.ok(await pings(near.netns, addressOf(victim, 0, 4)));
    });

    test('GC of one network leaves the other alone; a restart of the agent both', async () => {
      const [node] = nodes as [Node];
      const victim = await start(0, [FIRST, SECOND]);
      const [first, second] = victim.legs as [Leg, Leg];
      const living = (index: number): Leg[] =>
        pods.filter((each) => each.node === node).flatMap((each) => each.legs[index] ?? []);
      await node.restart();
      assert.ok((await isIntact(first)) && (await isIntact(second)));
      await collect(node, FIRST, living(0));
      assert.ok((await isIntact(first)) && (await isIntact(second)));
      await collect(
        node,
        SECOND,
        living(1).filter((leg) => leg !== second),
      );
      await waitFor('net1 to go', () => linksOf(victim).join() === 'eth0');
      assert.ok(await isIntact(first));
      for (const leg of pod.legs) assert.ok(await isIntact(leg), 'the other pod keeps both');
    });

    test('DEL of all, once more, and without the namespace', async () => {
      const [node] = nodes as [Node];
      const victim = await addAll(node, [FIRST, SECOND]);
      const gone = await addAll(node, [FIRST, SECOND]);
      for (const each of [victim, victim])
        for (const leg of each.legs.toReversed()) await deleteLeg(each, leg);
      await waitFor('both links to go', () => linksOf(victim).length === 0);
      await removeAll(victim);
      gone.netns.remove();
      for (const leg of gone.legs.toReversed()) await deleteLeg(gone, leg);
      const ids = [victim, gone].map((each) => each.legs[0]?.attachment.containerId ?? '');
      await waitFor('nothing to be kept of them', async () => {
        const { stdout } = await node.run(['status', '-o', 'json']);
        return stdout.includes('"pods"') && ids.every((id) => !stdout.includes(id));
      });
    });
  });
