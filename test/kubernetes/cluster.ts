/**
 * A real Kubernetes cluster on this host: an API server with etcd, controller manager and scheduler in one network
 * namespace, nodes in rooms of their own, all on one underlay. Nothing of it is left when it is disposed of.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeForwarding, makeNamespace, waitFor, whyNoKernel, type Namespace } from '../host/namespace.ts';
import { makeUnderlay, whyNoTartan, type Underlay } from '../host/node.ts';
import { startDaemon, tail, type Daemon } from '../runtimes/daemon.ts';
import { writeImage } from '../runtimes/image.ts';
import { noApiServer, startApiServer, type ApiServer, type User } from './api-server.ts';
import { startKubeNode, type KubeNode } from './node.ts';
import { pathOf, whyNoPrograms } from './programs.ts';

export const POD_RANGE = '10.244.0.0/16';
export const DNS_ADDRESS = '10.96.0.10';
const CONTROL = { index: 100, address: '172.30.0.100' };

const USERS: Readonly<Record<string, User>> = {
  manager: { name: 'system:kube-controller-manager' },
  scheduler: { name: 'system:kube-scheduler' },
  proxy: { name: 'system:kube-proxy' },
  tartan: { name: 'tartan' },
  node4: { name: 'system:node:node4', groups: ['system:nodes'] },
};

/** Pods of a node that is gone are replaced after seconds instead of five minutes. */
const EVICTION = {
  'default-not-ready-toleration-seconds': '5',
  'default-unreachable-toleration-seconds': '5',
};

/** Why a cluster cannot be run here, or undefined. */
export const noCluster: string | undefined =
  whyNoKernel(['containerd', 'ctr', 'runc', 'busybox', 'curl', 'nft', 'iptables', 'conntrack']) ??
  noApiServer ??
  whyNoPrograms(['kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy']) ??
  whyNoTartan();

/** Any object of Kubernetes, as far as tests read it. */
export type KubeObject = {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
};

export type Cluster = AsyncDisposable & {
  readonly directory: string;
  /** On every node, under the same path. */
  readonly shared: string;
  readonly underlay: Underlay;
  readonly api: ApiServer;
  readonly nodes: ReadonlyMap<string, KubeNode>;
  /** As administrator; throws unless the exit code is 0, and gives stdout. */
  kubectl(words: readonly string[], input?: string): Promise<string>;
  apply(...objects: readonly object[]): Promise<void>;
  list(words: readonly string[]): Promise<KubeObject[]>;
  /** `node1` to `node4`; its number is that of its address. */
  addNode(name: string): Promise<KubeNode>;
  /** The power of the node fails. The Node object stays. */
  killNode(name: string): Promise<void>;
  addImage(file: string): Promise<void>;
  /** The last lines of every log, for a failure. */
  logs(): string;
};

export async function startCluster(names: readonly string[] = ['node1', 'node2', 'node3']): Promise<Cluster> {
  const directory = mkdtempSync(join(tmpdir(), 'kr-cluster-'));
  const underlay = await makeUnderlay('kr');
  const netns = makeNamespace('kr-cp');
  underlay.plug(netns, CONTROL.index);
  const undo: (() => unknown)[] = [
    () => underlay.remove(),
    () => netns.remove(),
    () => rmSync(directory, { recursive: true, force: true }),
  ];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const place = { netns, address: CONTROL.address };
    const api = await startApiServer({ place, users: USERS, serviceAccounts: true, flags: EVICTION });
    undo.push(() => api[Symbol.asyncDispose]());
    const daemons = startControllers(netns, api, directory);
    for (const daemon of Object.values(daemons)) undo.push(() => daemon.stop());
    const images = [join(directory, 'busybox.tar')];
    writeImage(images[0] ?? '');
    const cluster = makeCluster({ directory, underlay, api, daemons, images, stop });
    undo.push(() => Promise.all([...cluster.nodes.keys()].map((name) => cluster.killNode(name))));
    await Promise.all(names.map((name) => cluster.addNode(name)));
    return cluster;
  } catch (error) {
    await stop();
    throw error;
  }
}

function startControllers(netns: Namespace, api: ApiServer, directory: string): Record<string, Daemon> {
  const start = (program: 'kube-controller-manager' | 'kube-scheduler', flags: readonly string[]): Daemon =>
    startDaemon(
      ['nsenter', `--net=${netns.path}`, pathOf(program), '--leader-elect=false', ...flags],
      join(directory, `${program}.log`),
    );
  return {
    'controller-manager': start('kube-controller-manager', [
      `--kubeconfig=${api.kubeconfig('manager')}`,
      `--service-account-private-key-file=${join(api.directory, 'accounts.key')}`,
      `--root-ca-file=${api.caFile}`,
      '--use-service-account-credentials',
      '--allocate-node-cidrs',
      `--cluster-cidr=${POD_RANGE}`,
      '--node-cidr-mask-size=24',
      '--node-monitor-period=1s',
      '--node-monitor-grace-period=10s',
      '--pod-eviction-timeout=5s',
      '--controllers=*,-ttl,-bootstrapsigner,-tokencleaner',
    ]),
    scheduler: start('kube-scheduler', [`--kubeconfig=${api.kubeconfig('scheduler')}`]),
  };
}

type Parts = {
  readonly directory: string;
  readonly underlay: Underlay;
  readonly api: ApiServer;
  readonly daemons: Readonly<Record<string, Daemon>>;
  readonly images: string[];
  readonly stop: () => Promise<void>;
};

function makeCluster({ directory, underlay, api, daemons, images, stop }: Parts): Cluster {
  const nodes = new Map<string, KubeNode>();
  const shared = join(directory, 'shared');
  mkdirSync(shared);
  const kubectl: Cluster['kubectl'] = async (words, input) => {
    const done = await api.kubectl(words, input === undefined ? {} : { input });
    if (done.code === 0) return done.stdout;
    throw new Error(`kubectl ${words.join(' ')}: exit ${done.code}: ${done.stderr}${done.stdout}`);
  };
  const addNode = async (name: string): Promise<KubeNode> => {
    const index = Number(name.replace('node', ''));
    const netns = makeNamespace(`kr-${name}`);
    await makeForwarding(netns);
    underlay.plug(netns, index);
    const folder = join(directory, `${name}-${Date.now()}`);
    mkdirSync(folder);
    const read = (user: string): string => readFileSync(api.kubeconfig(user), 'utf8');
    const node = await startKubeNode(
      { name, address: `172.30.0.${index}`, netns, folder },
      {
        kubeconfigs: { kubelet: read(name), proxy: read('proxy') },
        directories: [api.directory, shared],
        clusterCidr: POD_RANGE,
        dns: DNS_ADDRESS,
        images,
      },
    ).catch((error: unknown) => {
      netns.remove();
      throw error;
    });
    nodes.set(name, node);
    return node;
  };
  return {
    directory,
    shared,
    underlay,
    api,
    nodes,
    kubectl,
    addNode,
    apply: async (...objects) =>
      void (await kubectl(
        ['apply', '-f', '-'],
        JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
      )),
    list: async (words) =>
      (JSON.parse(await kubectl(['get', ...words, '-o', 'json'])) as { items: KubeObject[] }).items,
    killNode: async (name) => {
      const node = nodes.get(name);
      nodes.delete(name);
      await node?.stop().finally(() => node.netns.remove());
      // The switch's end of the cable goes with the other end, a moment later.
      await waitFor(`the cable of ${name} to be gone`, () => !cables(underlay).includes(`p${name.slice(4)}`));
    },
    addImage: async (file) => {
      images.push(file);
      await Promise.all([...nodes.values()].map((node) => node.importImage(file)));
    },
    logs: () => {
      const all = { 'kube-apiserver': api, ...daemons };
      for (const { name, daemons: own } of nodes.values())
        for (const [program, daemon] of Object.entries(own))
          Object.assign(all, { [`${name} ${program}`]: daemon });
      return Object.entries(all)
        .map(([name, program]) => `--- ${name}\n${tail(program.log(), 15)}`)
        .join('\n');
    },
    [Symbol.asyncDispose]: stop,
  };
}

const cables = (underlay: Underlay): string[] =>
  underlay.netns.list<{ ifname: string }>('link show').map(({ ifname }) => ifname);
