/**
 * The cluster as a directory store holds it: the operator's manifests, and what the agents of other nodes tell of
 * themselves and of their pods.
 *
 *     manifests/policies-00.yaml … -99.yaml   100 NetworkPolicies each
 *     manifests/joined.yaml                   100 more, all for whoever has one label
 *     manifests/cluster.yaml                  Namespaces; Pods of the node that is measured, for their named ports
 *     state/Node, state/Workloads             of the other nodes
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { NodeWorkloads, Pod, Workload } from '#model/workload.ts';
import type { NodeAdvert } from '#model/world.ts';
import { address } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import { prefix } from '#net/prefix.ts';
import { formatObject } from '../../src/stores/object-file.ts';
import type { StateKind } from '../../src/stores/store.ts';
import {
  elsewhere,
  JOINED,
  type Json,
  makePods,
  NAMESPACES,
  namespaceLabels,
  NODES,
  nodeName,
  ordinary,
  POLICIES,
  usingJoined,
} from './cluster.ts';

const FILES = 100;
const PER_FILE = POLICIES / FILES;

export const localPods = (): Pod[] => makePods().filter(({ node }) => node === nodeName(0));

/** Namespaces, and the Pods of a node. */
export function coreObjects(node: string): Json[] {
  const namespaces = Array.from({ length: NAMESPACES }, (_, n) => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: `ns${n}`, labels: namespaceLabels(n) },
  }));
  const pods = localPods().map(({ name, namespace, labels, ports }) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: {
      nodeName: node,
      containers: [{ name: 'c', ports: ports.map(({ name, port }) => ({ name, containerPort: port })) }],
    },
  }));
  return [...namespaces, ...pods];
}

const byNode = Map.groupBy(makePods(), ({ node }) => node);

/** `joined`: names of pods that have the label JOINED besides their own. */
export function workloadsOf(node: string, joined: ReadonlySet<string>): NodeWorkloads {
  const pods = (byNode.get(node) ?? []).map(({ namespace, name, addresses, labels }): Workload => ({
    namespace,
    name,
    addresses,
    labels: joined.has(name) ? { ...labels, ...JOINED } : labels,
  }));
  return { node, pods };
}

export const otherNodes = (): string[] => Array.from({ length: NODES - 1 }, (_, n) => nodeName(n + 1));

function advertOf(node: string): NodeAdvert {
  const n = Number(node.slice(1));
  return {
    name: node,
    addresses: { 4: address(`192.0.2.${n + 1}`) },
    subnets: { 4: prefix(`10.64.${4 * n}.0/22`) },
    road: 'vxlan',
    vxlan: { vni: 1, port: 8472, mac: { 4: mac(`02:00:00:00:01:${n.toString(16).padStart(2, '0')}`) } },
    mtu: 1500,
    ready: true,
  };
}

export type StoreFolder = {
  readonly path: string;
  /** Ready to take the place of the node's object; answers how to put it there. */
  prepareWorkloads(value: NodeWorkloads): () => void;
  /** The text of the file that has the policy, with this port in it from now on. */
  changePolicy(index: number, port: number): { readonly file: string; readonly text: string };
};

/** An empty folder is filled. */
export function fillStore(path: string, node: string): StoreFolder {
  const manifests = join(path, 'manifests');
  mkdirSync(manifests, { recursive: true });
  const documents = elsewhere(POLICIES).map((policy) => stringify(policy));
  const fileOf = (index: number): string =>
    join(manifests, `policies-${String(Math.floor(index / PER_FILE)).padStart(2, '0')}.yaml`);
  const textOf = (file: number): string =>
    documents.slice(file * PER_FILE, (file + 1) * PER_FILE).join('---\n');
  for (let file = 0; file < FILES; file += 1) writeFileSync(fileOf(file * PER_FILE), textOf(file));
  for (const [name, objects] of [
    ['joined', usingJoined()],
    ['cluster', coreObjects(node)],
  ] as const)
    writeFileSync(join(manifests, `${name}.yaml`), objects.map((one) => stringify(one)).join('---\n'));
  let revision = 1;
  const prepare = (kind: StateKind, name: string, value: unknown): (() => void) => {
    const folder = join(path, 'state', kind);
    mkdirSync(folder, { recursive: true });
    const beside = join(folder, '.bench');
    writeFileSync(beside, formatObject({ kind, name, value, revision: (revision += 1) }));
    return () => renameSync(beside, join(folder, `${name}.yaml`));
  };
  for (const other of otherNodes()) {
    prepare('Node', other, advertOf(other))();
    prepare('Workloads', other, workloadsOf(other, new Set()))();
  }
  return {
    path,
    prepareWorkloads: (value) => prepare('Workloads', value.node, value),
    changePolicy: (index, port) => {
      documents[index] = stringify(ordinary(index, port));
      return { file: fileOf(index), text: textOf(Math.floor(index / PER_FILE)) };
    },
  };
}
