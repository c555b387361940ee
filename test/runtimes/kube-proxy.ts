/**
 * A real kube-proxy in a node's network namespace, fed by kube-feed.ts. Which one: TARTAN_KUBE_PROXY is the path of the
 * binary (default: what scripts/kubernetes.sh has built) and TARTAN_KUBE_PROXY_MODE its mode (default iptables; nftables
 * exists from 1.29 on).
 */
import { execFileSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { waitFor, type Namespace } from '../host/namespace.ts';
import { pathOf } from '../kubernetes/programs.ts';

const PROGRAM = process.env.TARTAN_KUBE_PROXY ?? pathOf('kube-proxy');
export const MODE = process.env.TARTAN_KUBE_PROXY_MODE ?? 'iptables';
const FEED = resolve(import.meta.dirname, 'kube-feed.ts');
const FEED_PORT = 8001;

export type Family = 4 | 6;
export type ServiceShape = {
  readonly name: string;
  readonly family: Family;
  readonly clusterIp: string;
  readonly protocol?: 'TCP' | 'UDP';
  readonly port: number;
  readonly targetPort: number;
  readonly nodePort?: number;
  /** externalTrafficPolicy: Local. */
  readonly local?: boolean;
  readonly endpoints: readonly { readonly address: string; readonly node: string }[];
};

/** Why kube-proxy cannot be run here, or undefined. */
export function whyNoKubeProxy(): string | undefined {
  return existsSync(PROGRAM)
    ? undefined
    : `${PROGRAM} is not there: scripts/kubernetes.sh kube-proxy builds it`;
}

/** `v1.20.2`, as the program says it. */
export function kubeProxyVersion(): string {
  return execFileSync(PROGRAM, ['--version'], { encoding: 'utf8' }).trim().split(' ').at(-1) ?? '';
}

/** A Service of one family with its EndpointSlice, as the API server would hold them. */
export function describeService(shape: ServiceShape): object[] {
  const { name, family, clusterIp, protocol = 'TCP', port, targetPort, nodePort, local, endpoints } = shape;
  const metadata = { name, namespace: 'default', uid: name, resourceVersion: '1' };
  const service = {
    kind: 'Service',
    metadata,
    spec: {
      type: nodePort === undefined ? 'ClusterIP' : 'NodePort',
      clusterIP: clusterIp,
      clusterIPs: [clusterIp],
      ipFamilies: [`IPv${family}`],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ protocol, port, targetPort, ...(nodePort === undefined ? {} : { nodePort }) }],
      ...(nodePort === undefined ? {} : { externalTrafficPolicy: local === true ? 'Local' : 'Cluster' }),
      internalTrafficPolicy: 'Cluster',
      sessionAffinity: 'None',
    },
    status: { loadBalancer: {} },
  };
  const slice = {
    kind: 'EndpointSlice',
    metadata: { ...metadata, labels: { 'kubernetes.io/service-name': name } },
    addressType: `IPv${family}`,
    // v1 tells the node by nodeName, v1beta1 by topology.
    endpoints: endpoints.map(({ address, node }) => ({
      addresses: [address],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: node,
      topology: { 'kubernetes.io/hostname': node },
    })),
    ports: [{ name: '', protocol, port: targetPort }],
  };
  return [service, slice];
}

export function describeNode(name: string, addresses: readonly string[]): object {
  return {
    kind: 'Node',
    metadata: { name, uid: name, resourceVersion: '1', labels: { 'kubernetes.io/hostname': name } },
    spec: {},
    status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
  };
}

function featureGates(): Record<string, boolean> {
  const minor = Number(kubeProxyVersion().split('.')[1]);
  if (minor < 23) return { IPv6DualStack: true };
  return MODE === 'nftables' && minor < 31 ? { NFTablesProxyMode: true } : {};
}

function configuration(node: string, kubeconfig: string, clusterCidr: string): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clientConnection: { kubeconfig, contentType: 'application/json' },
    mode: MODE,
    hostnameOverride: node,
    clusterCIDR: clusterCidr,
    featureGates: featureGates(),
    healthzBindAddress: '127.0.0.1:10256',
    metricsBindAddress: '127.0.0.1:10249',
    // These are host-wide or would need privileges that a test has no use for.
    oomScoreAdj: 0,
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

function childrenOf(pid: number | undefined): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  return tasks.filter((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8') !== '').length;
}

export type KubeProxy = { log(): string; stop(): Promise<void> };

/** Starts it in `place.netns` as node `place.name`; resolves when its rules name every Service. */
export async function startKubeProxy(
  place: { readonly name: string; readonly netns: Namespace; readonly directory: string },
  clusterCidr: string,
  resources: readonly object[],
): Promise<KubeProxy> {
  const at = (file: string): string => join(place.directory, `kube-${file}`);
  const server = `http://127.0.0.1:${FEED_PORT}`;
  writeFileSync(at('objects.json'), JSON.stringify(resources));
  writeFileSync(
    at('config'),
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'feed', cluster: { server } }],
      contexts: [{ name: 'feed', context: { cluster: 'feed' } }],
      'current-context': 'feed',
    }),
  );
  writeFileSync(at('proxy.yaml'), stringify(configuration(place.name, at('config'), clusterCidr)));
  const feed = place.netns.start([process.execPath, FEED, at('objects.json'), String(FEED_PORT)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (feed.stdout === null) throw new Error('no pipe');
  await once(feed.stdout, 'data');
  const out = openSync(at('proxy.log'), 'w');
  const proxy = place.netns.start([PROGRAM, `--config=${at('proxy.yaml')}`], {
    stdio: ['ignore', out, out],
  });
  const log = (): string => readFileSync(at('proxy.log'), 'utf8');
  const stop = async (): Promise<void> => {
    await end(proxy);
    await end(feed);
  };
  const addresses = resources.flatMap(
    (each) => (each as { spec?: { clusterIPs?: string[] } }).spec?.clusterIPs ?? [],
  );
  try {
    await waitFor(
      `kube-proxy of ${place.name} to load its rules`,
      async () => {
        if (proxy.exitCode !== null) throw new Error(`kube-proxy of ${place.name} ended`);
        const { stdout } = await place.netns.run(['nft', 'list', 'ruleset']);
        return addresses.every((address) => stdout.includes(address));
      },
      60_000,
    );
    // Now it runs `conntrack -D` for each Service of UDP: what was translated before then loses its answer.
    let quiet = 0;
    await waitFor(
      `kube-proxy of ${place.name} to clear old connections`,
      () => (quiet = childrenOf(proxy.pid) === 0 ? quiet + 1 : 0) > 5,
      60_000,
    );
  } catch (error) {
    await stop();
    throw new Error(`${String(error)}; its log:\n${log()}`, { cause: error });
  }
  return { log, stop };
}
