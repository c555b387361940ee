/**
 * A cluster on this one host: nodes are network namespaces with an agent each, pods are namespaces attached by exec of
 * the CNI executable. Whatever is made is written down before, and is found by name besides, so `removeLab` removes a
 * lab that was only half made. Needs root.
 */
import { Fault } from '#model/fault.ts';
import type { Family } from '#net/address.ts';
import { etcdOf, type LabEtcd, startEtcd, wantsEtcd } from './etcd.ts';
import {
  labExists,
  type LabRecord,
  newRecord,
  type PodRecord,
  readRecord,
  removeFiles,
  writeRecord,
} from './lab-file.ts';
import { applyManifests } from './manifests.ts';
import { probeAll, type Reach } from './matrix.ts';
import {
  type NodePaths,
  nodePaths,
  prepareNode,
  type RawSettings,
  startAgent,
  tartan,
  waitReady,
} from './node.ts';
import { planPod, type PodOptions, startPod, stopPod } from './pod.ts';
import { endProcess, inNetns, type Output, type ProcessId, run } from './process.ts';
import { check } from './runtime.ts';
import { checkName, type LabShape, type NodePlace, nodePlaces } from './topology.ts';
import { buildUnderlay, cutNodes, healAll, labNamespaces, removeNetns } from './underlay.ts';

export type LabOptions = {
  readonly name: string;
  readonly nodes?: number;
  /** 1: all nodes on one subnet; 2: a third of them behind a router. */
  readonly subnets?: 1 | 2;
  /** Families that nodes have addresses of; absent: both. */
  readonly underlay?: readonly Family[];
  readonly profile?: string;
  /** Further settings of every node, by group as in a settings file. */
  readonly settings?: RawSettings;
  /** How long an agent may take to become ready. */
  readonly readyMs?: number;
  /** Told what is being done. */
  readonly progress?: (line: string) => void;
};

export type LabNode = NodePlace & { readonly paths: NodePaths; readonly pid: () => number };

export type Lab = AsyncDisposable & {
  readonly name: string;
  readonly profile: string;
  readonly nodes: readonly LabNode[];
  /** Absent: the store is another. */
  readonly etcd?: LabEtcd | undefined;
  pods(): readonly PodRecord[];
  /** Attaches a new pod; after a failure it is as far removed as a runtime would remove it. */
  addPod(node: string, pod: string, options?: PodOptions): Promise<PodRecord>;
  removePod(pod: string): Promise<void>;
  /** CNI CHECK of the pod; throws Fault `delegate`. */
  checkPod(pod: string): Promise<void>;
  /** Runs a program in a pod or a node. A bad exit code is an answer. */
  exec(where: string, words: readonly string[]): Promise<Output>;
  /** This program's own command line, with the node's settings: `tartan(node, 'status', '-o', 'json')`. */
  tartan(node: string, ...words: string[]): Promise<Output>;
  matrix(): Promise<Reach[]>;
  /** Writes Kubernetes-style manifests into the directory store, at once; an empty text removes the file. */
  apply(file: string, manifests: string): void;
  /** Ends the agent, by SIGKILL or (gently) SIGTERM. Pods go on. */
  kill(node: string, signal?: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Starts the agent (again) and waits until it is ready. */
  start(node: string): Promise<void>;
  /** Nothing passes between the two, or to and from the one. */
  cut(a: string, b?: string): Promise<void>;
  heal(): Promise<void>;
  down(): Promise<void>;
};

const READY_MS = 20_000;

/** Makes the lab and waits until every node is ready. After a failure nothing is left of it. */
export async function startLab(options: LabOptions): Promise<Lab> {
  const shape = shapeOf(options);
  if (process.getuid?.() !== 0) throw new Fault('no-root', 'a lab makes network namespaces and needs root');
  if (labExists(shape.name)) throw new Fault('lab-state', `lab ${shape.name} is up already`);
  const record = newRecord(shape, options.profile ?? 'flannel');
  const progress = options.progress ?? (() => undefined);
  try {
    writeRecord(record);
    progress(
      `network: ${shape.nodes} nodes on ${shape.subnets === 1 ? 'one subnet' : 'two subnets and a router'}`,
    );
    await buildUnderlay(shape);
    const settings = { profile: record.profile, ...options.settings };
    if (wantsEtcd(settings)) record.etcd = await startEtcd(shape.name);
    writeRecord(record);
    const places = nodePlaces(shape);
    await Promise.all(places.map((place) => prepareNode(shape.name, place, settings)));
    const lab = makeLab(record, options.readyMs);
    await Promise.all(
      places.map(async ({ name }) => {
        await lab.start(name);
        progress(`${name}: ready`);
      }),
    );
    return lab;
  } catch (error) {
    await removeLab(shape.name);
    throw error;
  }
}

/** A lab that an earlier process made. */
export function openLab(name: string): Lab {
  return makeLab(readRecord(name));
}

/** Removes every trace of the lab, known to its file or not. A lab that is not there is fine. */
export async function removeLab(name: string): Promise<void> {
  checkName('lab', name);
  const record = labExists(name) ? readRecordOrNothing(name) : undefined;
  const processes = [
    ...Object.values(record?.agents ?? {}),
    ...(record?.etcd === undefined ? [] : [record.etcd]),
  ];
  await Promise.all(processes.map((each) => endProcess(each, 'SIGKILL')));
  await Promise.all(labNamespaces(name).map(removeNetns));
  removeFiles(name);
}

function readRecordOrNothing(name: string): LabRecord | undefined {
  try {
    return readRecord(name);
  } catch {
    return undefined; // a damaged file must not keep the rest from being removed
  }
}

function shapeOf(options: LabOptions): LabShape {
  const { name, nodes = 3, subnets = 2, underlay } = options;
  checkName('lab', name);
  if (nodes >= 1 && nodes <= 100)
    return { name, nodes, subnets, ...(underlay === undefined ? {} : { underlay }) };
  throw new Fault('settings-invalid', 'a lab has 1 to 100 nodes');
}

function makeLab(record: LabRecord, readyMs = READY_MS): Lab {
  const { shape } = record;
  const nodes = nodePlaces(shape).map((place) => ({
    ...place,
    paths: nodePaths(shape.name, place),
    pid: () => record.agents[place.name]?.pid ?? 0,
  }));
  const node = (name: string): LabNode => found('node', nodes, name);
  const pod = (name: string): PodRecord => found('pod', Object.values(record.pods), name);
  const down = (): Promise<void> => removeLab(shape.name);
  return {
    name: shape.name,
    profile: record.profile,
    nodes,
    etcd: record.etcd === undefined ? undefined : labEtcd(record),
    pods: () => Object.values(record.pods),
    ...podOperations(record, node, pod),
    ...agentOperations(record, node, readyMs),
    exec: (where, words) => {
      const place = record.pods[where] ?? node(where);
      return run(inNetns(place.netns, words));
    },
    tartan: (where, ...words) => {
      const { netns, paths } = node(where);
      return run(inNetns(netns, [...tartan(), ...words, '--config', paths.settings]));
    },
    apply: (file, manifests) => applyManifests(shape.name, file, manifests),
    matrix: () => probeAll(Object.values(record.pods)),
    cut: (a, b) => cutNodes(shape.name, node(a), b === undefined ? undefined : node(b)),
    heal: () => healAll(shape),
    down,
    [Symbol.asyncDispose]: down,
  };
}

function labEtcd(record: LabRecord): LabEtcd {
  const keep = (etcd: ProcessId): void => {
    record.etcd = etcd;
    writeRecord(record);
  };
  return etcdOf(record.shape.name, () => record.etcd, keep);
}

type Find<T> = (name: string) => T;

function podOperations(
  record: LabRecord,
  node: Find<LabNode>,
  pod: Find<PodRecord>,
): Pick<Lab, 'addPod' | 'removePod' | 'checkPod'> {
  const lab = record.shape.name;
  const removePod = async (name: string): Promise<void> => {
    await stopPod(lab, node(pod(name).node), pod(name));
    delete record.pods[name];
    writeRecord(record);
  };
  return {
    removePod,
    addPod: async (where, name, options = {}) => {
      checkName('pod', name);
      if (record.pods[name] !== undefined) throw new Fault('lab-state', `there is a pod ${name} already`);
      const place = node(where);
      record.pods[name] = planPod(lab, where, name, options);
      writeRecord(record);
      try {
        const started = await startPod(lab, place, record.pods[name]);
        record.pods[name] = started;
        writeRecord(record);
        return started;
      } catch (error) {
        await removePod(name);
        throw error;
      }
    },
    checkPod: (name) => check(node(pod(name).node).paths.runtime, pod(name).container),
  };
}

function agentOperations(
  record: LabRecord,
  node: Find<LabNode>,
  readyMs: number,
): Pick<Lab, 'kill' | 'start'> {
  const lab = record.shape.name;
  const kill: Lab['kill'] = async (name, signal = 'SIGKILL') => {
    const agent = record.agents[node(name).name];
    if (agent !== undefined) await endProcess(agent, signal);
  };
  return {
    kill,
    start: async (name) => {
      await kill(name, 'SIGTERM');
      const agent = startAgent(lab, node(name));
      record.agents[name] = agent;
      writeRecord(record);
      await waitReady(lab, node(name), agent, readyMs);
    },
  };
}

function found<T extends { readonly name: string }>(kind: string, all: readonly T[], name: string): T {
  const one = all.find((candidate) => candidate.name === name);
  if (one !== undefined) return one;
  const known = all.length === 0 ? 'none' : all.map((candidate) => candidate.name).join(', ');
  throw new Fault('lab-state', `there is no ${kind} ${name} in this lab; there are: ${known}`);
}
