/** One pod of a lab: a namespace with a web server that tells the pod's name, attached by the real CNI executable. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodePaths } from './node.ts';
import type { PodRecord } from './lab-file.ts';
import { inNetns, startDetached } from './process.ts';
import { attach, type CniResult, type Container, detach } from './runtime.ts';
import { labDirectory, netnsName, netnsPath, type NodePlace } from './topology.ts';
import { addNetns, removeNetns } from './underlay.ts';

/** By capability, as a runtime hands it over: portMappings, bandwidth, ips, mac … */
export type PodOptions = {
  readonly runtimeConfig?: Readonly<Record<string, unknown>>;
  /** Kubernetes' namespace; absent: `default`. */
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
};

/** Port that every pod serves HTTP on. */
export const POD_PORT = 80;

/** What is known of a pod before it exists, so that it can be removed whatever happens on the way. */
export function planPod(lab: string, node: string, name: string, options: PodOptions): PodRecord {
  const netns = netnsName(lab, `pod-${name}`);
  const args = {
    IgnoreUnknown: '1',
    K8S_POD_NAMESPACE: options.namespace ?? 'default',
    K8S_POD_NAME: name,
    K8S_POD_UID: randomBytes(8).toString('hex'),
  };
  const container: Container = {
    containerId: randomBytes(32).toString('hex'),
    netns: netnsPath(netns),
    ifname: 'eth0',
    args: Object.entries(args)
      .map(([key, value]) => `${key}=${value}`)
      .join(';'),
    runtimeConfig: options.runtimeConfig ?? {},
    ...(options.labels === undefined ? {} : { labels: options.labels }),
  };
  return { name, node, netns, container, addresses: [] };
}

/** Namespace, ADD, web server. */
export async function startPod(lab: string, place: NodePlace, pod: PodRecord): Promise<PodRecord> {
  await addNetns(pod.netns);
  const result = await attach(nodePaths(lab, place).runtime, pod.container);
  serve(lab, pod);
  return { ...pod, addresses: addressesOf(result) };
}

/** DEL first, as a runtime does, then the namespace with all that runs in it. */
export async function stopPod(lab: string, place: NodePlace, pod: PodRecord): Promise<void> {
  await detach(nodePaths(lab, place).runtime, pod.container);
  await removeNetns(pod.netns);
  rmSync(podDirectory(lab, pod.name), { recursive: true, force: true });
}

function serve(lab: string, pod: PodRecord): void {
  const directory = podDirectory(lab, pod.name);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'index.html'), `${pod.name} on ${pod.node}\n`);
  const words = ['busybox', 'httpd', '-f', '-p', String(POD_PORT), '-h', directory];
  startDetached(inNetns(pod.netns, words), join(directory, 'httpd.log'));
}

function podDirectory(lab: string, name: string): string {
  return join(labDirectory(lab), 'pods', name);
}

function addressesOf(result: CniResult): string[] {
  return (result.ips ?? []).map(({ address }) => address.split('/')[0] ?? address);
}
