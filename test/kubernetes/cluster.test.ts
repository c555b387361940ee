/**
 * Tartan as the network of a real three-node cluster, from its first minute to its last: each step stands on the one
 * before, so after a failure the rest is skipped.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../host/namespace.ts';
import { DNS_ADDRESS, noCluster, startCluster, type Cluster } from './cluster.ts';
import { writeNodeImage } from './images.ts';
import {
  everyPair,
  fetchPage,
  inPod,
  isReady,
  lookAt,
  startPings,
  waitForNodes,
  waitForPods,
  type Pod,
} from './looks.ts';
import { changeProfile, install, noImage, tartanLogs, uninstall } from './manifest.ts';
import { clientPod, dnsObjects, NODE_PORT, webObjects, webPolicy, WEB_PORT } from './workloads.ts';

const NODES = ['node1', 'node2', 'node3'];
const PODS = 6;

describe('Tartan on a cluster', { skip: noCluster ?? noImage ?? false }, () => {
  let cluster: Cluster;
  let failed: string | undefined;
  const looks = new Map<string, string[]>();

  const nodeOf = (name: string) => {
    const node = cluster.nodes.get(name);
    if (node === undefined) throw new Error(`no ${name}`);
    return node;
  };
  function step(title: string, work: (context: TestContext) => Promise<void>): void {
    test(title, async (context) => {
      if (failed !== undefined) return context.skip(`after “${failed}” failed`);
      try {
        await work(context);
      } catch (error) {
        failed = title;
        console.log(cluster.logs());
        console.log(await tartanLogs(cluster));
        throw error;
      }
    });
  }

  before(async () => {
    cluster = await startCluster(NODES);
    const image = `${cluster.directory}/node.tar`;
    writeNodeImage(image);
    await cluster.addImage(image);
  });
  after(() => cluster[Symbol.asyncDispose]());

  step('nodes without a network are not ready; with Tartan they are', async () => {
    await waitFor('nodes', async () => (await cluster.list(['nodes'])).length === NODES.length, 120_000);
    for (const node of await cluster.list(['nodes'])) assert.equal(isReady(node), false, node.metadata.name);
    for (const name of NODES) looks.set(name, await lookAt(nodeOf(name)));
    await install(cluster, 'flannel');
    await waitForNodes(cluster, NODES);
  });

  step('pods of a Deployment on all nodes reach each other', async () => {
    await cluster.apply(...webObjects(PODS), ...dnsObjects());
    const pods = await waitForPods(cluster, 'app=web', PODS);
    assert.deepEqual([...new Set(pods.map(({ node }) => node))].sort(), NODES);
    await everyPair(cluster, pods);
  });

  step('a Service answers at its ClusterIP and NodePort, from pods, nodes and outside', async () => {
    const pods = await waitForPods(cluster, 'app=web', PODS);
    const names = new Set(pods.map(({ name }) => name));
    const address = (
      await cluster.kubectl(['get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}'])
    ).trim();
    const nodePorts = NODES.map((name) => fetchPage(nodeOf(name).address, NODE_PORT));
    const script = [fetchPage(address, 80), ...nodePorts].join('\n');
    for (const { name } of pods) {
      const pages = (await inPod(cluster, name, script)).trim().split('\n');
      assert.equal(pages.length, 1 + NODES.length, `${name}: ${pages.join(' ')}`);
      for (const page of pages) assert.ok(names.has(page), `${name}: ${page}`);
    }
    for (const name of NODES) {
      const { stdout } = await nodeOf(name).room.run(['curl', '-sS', '-m', '5', `http://${address}/`]);
      assert.ok(names.has(stdout.trim()), `${name}: ${stdout}`);
      const url = `http://${nodeOf(name).address}:${NODE_PORT}/`;
      const outside = await cluster.underlay.netns.run(['curl', '-sS', '-m', '5', url]);
      assert.ok(names.has(outside.stdout.trim()), `${url}: ${outside.stderr}`);
    }
  });

  step('pods resolve a Service by the DNS of the cluster', async () => {
    await waitForPods(cluster, 'app=dns', 1, 'kube-system');
    const address = (
      await cluster.kubectl(['get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}'])
    ).trim();
    for (const { name } of await waitForPods(cluster, 'app=web', PODS)) {
      assert.match(
        await inPod(cluster, name, 'cat /etc/resolv.conf'),
        new RegExp(`nameserver ${DNS_ADDRESS}`),
      );
      const answer = await inPod(cluster, name, 'nslookup web.default.svc.cluster.local');
      assert.match(
        answer,
        new RegExp(`Address[ 0-9]*: ${address.replaceAll('.', '\\.')}\\b`),
        `${name}: ${answer}`,
      );
      assert.match(
        await inPod(cluster, name, 'nslookup none.default.svc.cluster.local'),
        /NXDOMAIN|can't resolve/,
      );
    }
  });

  step('traffic goes on while the API server and etcd are away and come back', async () => {
    const pods = await waitForPods(cluster, 'app=web', PODS);
    const [from, to] = apart(pods);
    const pings = await startPings(nodeOf(from.node), from, to);
    await cluster.api.kill();
    for (const member of cluster.api.etcd.members) await member.stop();
    await sleep(3000);
    for (const member of cluster.api.etcd.members) await member.start();
    await cluster.api.start();
    await waitForNodes(cluster, NODES);
    const { sent, lost } = await pings.end();
    assert.ok(sent > 30, `${sent} pings`);
    assert.equal(lost, 0, `of ${sent}`);
    await everyPair(cluster, await waitForPods(cluster, 'app=web', PODS));
  });

  step('a node is gone, another takes its place', async () => {
    await cluster.killNode('node3');
    const isGone = async (): Promise<boolean> =>
      (await cluster.list(['nodes'])).some((node) => node.metadata.name === 'node3' && !isReady(node));
    await waitFor('node3 to be seen as gone', isGone, 60_000);
    await cluster.kubectl(['delete', 'node', 'node3']);
    const there = ['--all-namespaces', '--field-selector=spec.nodeName=node3'];
    for (const { metadata } of await cluster.list(['pods', ...there]))
      await cluster.kubectl(['delete', 'pod', metadata.name, '-n', String(metadata.namespace), '--force']);
    await cluster.addNode('node4');
    await waitFor('node4', async () => (await cluster.list(['nodes'])).length === NODES.length, 120_000);
    const address = [nodeOf('node4').address, '172.30.0.3'] as const;
    looks.set(
      'node4',
      (looks.get('node3') ?? []).map((line) => line.replaceAll(address[1], address[0])),
    );
    looks.delete('node3');
    await waitForNodes(cluster, ['node1', 'node2', 'node4']);
    const pods = await waitForPods(cluster, 'app=web', PODS);
    await everyPair(cluster, pods);
  });

  step('from flannel to canal: policies come into force, and what they allow goes on', async () => {
    await cluster.apply(
      clientPod('friend', { access: 'yes' }, 'node1'),
      clientPod('newcomer', { access: 'yes' }, 'node4'),
      clientPod('stranger', { access: 'no' }, 'node1'),
      webPolicy('yes'),
    );
    await waitForPods(cluster, 'access', 3);
    const pods = await waitForPods(cluster, 'app=web', PODS);
    const names = pods.map(({ name }) => name);
    const script = pods.map(({ address }) => fetchPage(address, WEB_PORT)).join('\n');
    const pages = async (client: string): Promise<string[]> =>
      (await inPod(cluster, client, script)).split('\n').filter((line) => names.includes(line));
    assert.equal((await pages('stranger')).length, PODS, 'flannel enforces nothing');
    // From several nodes to several, as they come to enforce one after the other.
    const served = [...new Map(pods.map((pod) => [pod.node, pod])).values()];
    const friends = await waitForPods(cluster, 'access=yes', 2);
    const pairs = friends.flatMap((friend) => served.map((pod) => [friend, pod] as const));
    const pings = await Promise.all(pairs.map(([from, to]) => startPings(nodeOf(from.node), from, to)));
    await changeProfile(cluster, 'canal');
    const counts = await Promise.all(pings.map((each) => each.end()));
    const told = counts.map(({ sent, lost }, index) => {
      assert.ok(sent > 50, `${sent} pings`);
      const [from, to] = pairs[index] ?? [];
      return lost === 0 ? '' : `${lost} of ${sent} from ${from?.node} to ${to?.node}`;
    });
    assert.deepEqual([...new Set(told)], ['']);
    await waitFor('the policy to be enforced', async () => (await pages('stranger')).length === 0, 60_000);
    assert.deepEqual(await pages('friend'), names);
    await cluster.kubectl(['delete', 'networkpolicy', 'web']);
    await waitFor('the policy to be gone', async () => (await pages('stranger')).length === PODS, 60_000);
  });

  step('uninstalled, it leaves no trace', async () => {
    await cluster.kubectl(['delete', 'deployment,service,pod', '--all', '--wait', '-n', 'default']);
    await cluster.kubectl(['delete', 'deployment', 'dns', '-n', 'kube-system']);
    await waitForPods(cluster, 'app', 0);
    await waitForPods(cluster, 'app', 0, 'kube-system');
    await uninstall(cluster, 'canal');
    for (const [name, look] of looks) {
      const left = await lookAt(nodeOf(name));
      const known = new Set(look);
      assert.deepEqual(
        left.filter((line) => !known.has(line)),
        [],
        name,
      );
    }
  });
});

/** Two pods of different nodes. */
function apart([first, ...rest]: readonly Pod[]): [Pod, Pod] {
  const other = rest.find(({ node }) => node !== first?.node);
  assert.ok(first !== undefined && other !== undefined);
  return [first, other];
}
