/** How things are seen on a cluster: readiness, traffic between pods, and what a network provider leaves on a node. */
import assert from 'node:assert/strict';
import { waitFor } from '../host/namespace.ts';
import type { Cluster, KubeObject } from './cluster.ts';
import type { KubeNode } from './node.ts';
import { WEB_PORT } from './workloads.ts';

type Condition = { readonly type: string; readonly status: string; readonly message?: string };
export type Pod = { readonly name: string; readonly node: string; readonly address: string };

export const isReady = ({ status = {} }: KubeObject): boolean =>
  ((status['conditions'] ?? []) as Condition[]).some(
    ({ type, status: value }) => type === 'Ready' && value === 'True',
  );

export async function waitForNodes(cluster: Cluster, names: readonly string[]): Promise<void> {
  let seen: KubeObject[] = [];
  const ready = async (): Promise<boolean> => {
    seen = await cluster.list(['nodes']);
    return names.every((name) => seen.some((node) => node.metadata.name === name && isReady(node)));
  };
  await waitFor('nodes to be ready', ready, 120_000).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify(seen.map(({ status }) => status?.['conditions']))}`);
  });
}

/** The pods with that label once `count` are ready and no other is there. */
export async function waitForPods(
  cluster: Cluster,
  label: string,
  count: number,
  namespace = 'default',
): Promise<Pod[]> {
  let seen: KubeObject[] = [];
  const ready = async (): Promise<boolean> => {
    seen = await cluster.list(['pods', '-l', label, '-n', namespace]);
    return seen.length === count && seen.every(isReady);
  };
  await waitFor(`${count} pods of ${label}`, ready, 180_000).catch(async (error: unknown) => {
    const told = await cluster.kubectl(['describe', 'pods', '-l', label, '-n', namespace]);
    throw new Error(`${String(error)}: ${told.slice(-4000)}`, { cause: error });
  });
  return seen.map(({ metadata, spec, status }) => ({
    name: metadata.name,
    node: String(spec?.['nodeName']),
    address: String(status?.['podIP']),
  }));
}

/** A script in a pod, by `kubectl exec`; its standard output. */
export async function inPod(cluster: Cluster, pod: string, script: string): Promise<string> {
  const done = await cluster.api.kubectl(['exec', pod, '--', 'sh', '-c', script]);
  return done.stdout + done.stderr;
}

/** By busybox's nc: its static wget cannot resolve names and ends with a segmentation fault. */
export const fetchPage = (address: string, port: number): string =>
  `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 ${address} ${port} | tail -1`;

/** From every pod to every other: one packet each way, and a page with the name of who serves it. */
export async function everyPair(cluster: Cluster, pods: readonly Pod[]): Promise<void> {
  await Promise.all(
    pods.map(async ({ name, node, address }) => {
      const others = pods.filter((other) => other.address !== address);
      const script = others.map(
        (other) =>
          `ping -c 1 -W 5 ${other.address} >/dev/null || echo no echo; ${fetchPage(other.address, WEB_PORT)}`,
      );
      const answers = (await inPod(cluster, name, script.join('\n'))).trim().split('\n');
      const expected = others.map((other) => other.name);
      assert.deepEqual(answers, expected, `from ${name} on ${node}`);
    }),
  );
}

/** Pings from one pod to another that go on without the API server; `end` tells how many were not answered. */
export async function startPings(
  from: KubeNode,
  pod: Pod,
  to: Pod,
): Promise<{ end(): Promise<{ sent: number; lost: number }> }> {
  const spaces = (await from.room.must(['ls', '/run/netns'])).trim().split('\n');
  const addresses = await Promise.all(
    spaces.map((name) => from.room.run(['nsenter', `--net=/run/netns/${name}`, 'ip', '-o', 'addr'])),
  );
  const index = addresses.findIndex(({ stdout }) => stdout.includes(`inet ${pod.address}/`));
  assert.notEqual(index, -1, `the namespace of ${pod.name}`);
  const enter = ['nsenter', `--net=/run/netns/${spaces[index]}`];
  const ping = await from.room.start(`ping-${Date.now()}-${to.address}`, [
    ...enter,
    'ping',
    '-i',
    '0.1',
    to.address,
  ]);
  return {
    end: async () => {
      await ping.stop('SIGINT');
      const log = ping.log();
      const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(log) ?? [];
      // The last may have been on its way.
      const isOpen = !log.includes(`icmp_seq=${sent} ttl=`);
      return { sent: Number(sent), lost: Number(sent) - Number(received) - (isOpen ? 1 : 0) };
    },
  };
}

/** Of programs that are no part of the provider. */
const FOREIGN = /^\/(var\/lib\/(kubelet|containerd|cni(\/results.*)?$)|var\/log\/(pods|containers)|root\/\.)/;

/** Tables of iptables: kubelet and kube-proxy make them as they need them. */
const IPTABLES = /^table (ip|ip6) (nat|filter|mangle|raw)$/;

/** What is on a node, in words: files, devices, routes, rules, nftables; of these only what a provider could leave. */
export async function lookAt({ room }: KubeNode): Promise<string[]> {
  const files = (await room.files()).filter((path) => !FOREIGN.test(path));
  const words = async (argv: readonly string[]): Promise<string[]> =>
    (await room.must(argv))
      .trim()
      .split('\n')
      .map((line) => line.trim());
  const links = (await words(['ip', '-o', 'link'])).map(
    (line) => line.split(':')[1]?.trim().split('@')[0] ?? '',
  );
  const tables = await words(['nft', 'list', 'tables']);
  const rules = await words(['nft', 'list', 'ruleset']);
  return [
    ...files,
    ...(await words(['find', '/run', '-ipath', '/run/*tartan*'])),
    ...links,
    ...(await words(['ip', '-4', 'route', 'show', 'table', 'all'])),
    ...(await words(['ip', 'rule'])),
    ...tables.filter((line) => !IPTABLES.test(line)),
    ...rules.filter((line) => /tartan/i.test(line)),
  ];
}
