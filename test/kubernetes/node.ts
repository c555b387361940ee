/**
 * A node of a cluster: a room with containerd, kubelet and kube-proxy, in their usual places. There is no network for
 * pods on it: `/etc/cni/net.d` is empty until a provider writes there, and until then the node is not ready.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { waitFor, type Namespace } from '../host/namespace.ts';
import { tail, type Daemon } from '../runtimes/daemon.ts';
import { IMAGE } from '../runtimes/image.ts';
import { pathOf } from './programs.ts';
import { makeRoom, removeGroups, type Room } from './room.ts';

export const ROOT = resolve(import.meta.dirname, '../..');
/** The control group of containers, of all nodes. */
const CONTAINERS = 'k8s.io';
const SOCKET = '/run/containerd/containerd.sock';
export const CLUSTER_DOMAIN = 'cluster.local';

export type Machine = {
  readonly name: string;
  readonly address: string;
  readonly netns: Namespace;
  /** Of its own on the host, bound into the room: logs and what a test puts there. */
  readonly folder: string;
};

export type KubeNode = Machine & {
  readonly room: Room;
  readonly daemons: { readonly [name in 'containerd' | 'kubelet' | 'kube-proxy']: Daemon };
  importImage(file: string): Promise<void>;
  /** Everything on it ends at once, as when the power fails; what is on its disk is gone with it. */
  stop(): Promise<void>;
};

const CONTAINERD = `version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`;

const kubeletConfig = (dns: string) => ({
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  cgroupDriver: 'cgroupfs',
  cgroupsPerQOS: false,
  enforceNodeAllocatable: [],
  failSwapOn: false,
  authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
  authorization: { mode: 'AlwaysAllow' },
  clusterDNS: [dns],
  clusterDomain: CLUSTER_DOMAIN,
  nodeStatusUpdateFrequency: '2s',
  syncFrequency: '10s',
  evictionHard: { 'memory.available': '50Mi' },
  imageGCHighThresholdPercent: 100,
  oomScoreAdj: 0,
});

const proxyConfig = (node: string, clusterCidr: string) => ({
  apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
  kind: 'KubeProxyConfiguration',
  clientConnection: { kubeconfig: '/etc/kubernetes/kube-proxy' },
  mode: 'iptables',
  hostnameOverride: node,
  clusterCIDR: clusterCidr,
  healthzBindAddress: '127.0.0.1:10256',
  metricsBindAddress: '127.0.0.1:10249',
  iptables: { minSyncPeriod: '0s' },
  // These are host-wide or would need privileges that a test has no use for.
  oomScoreAdj: 0,
  conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
});

export type Joining = {
  /** The text of kubeconfig files. */
  readonly kubeconfigs: { readonly kubelet: string; readonly proxy: string };
  /** Of the host, on the node under the same paths; the certificates that kubeconfig files name among them. */
  readonly directories: readonly string[];
  readonly clusterCidr: string;
  readonly dns: string;
  /** Files that `ctr image import` reads. */
  readonly images: readonly string[];
};

/** Starts the node; it has registered itself when kubelet comes to it, which this does not wait for. */
export async function startKubeNode(machine: Machine, joining: Joining): Promise<KubeNode> {
  mkdirSync(machine.folder, { recursive: true });
  const binds = [ROOT, dirname(pathOf('kubelet')), ...joining.directories];
  const room = await makeRoom(machine.netns, join(machine.folder, 'room'), binds);
  const stop = async (): Promise<void> => {
    await room.stop();
    removeGroups(CONTAINERS);
  };
  try {
    await writeFiles(room, machine, joining);
    const containerd = await startContainerd(room);
    const importImage = async (file: string): Promise<void> =>
      void (await room.must(['ctr', '-a', SOCKET, '-n', 'k8s.io', 'image', 'import', file], {
        timeoutMs: 120_000,
      }));
    for (const image of joining.images) await importImage(image);
    const kubelet = await startKubelet(room, machine);
    const proxy = await room.start('kube-proxy', [
      pathOf('kube-proxy'),
      '--config=/etc/kubernetes/kube-proxy.yaml',
    ]);
    return { ...machine, room, daemons: { containerd, kubelet, 'kube-proxy': proxy }, importImage, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function writeFiles(room: Room, machine: Machine, joining: Joining): Promise<void> {
  const files = {
    '/etc/containerd/config.toml': CONTAINERD,
    '/etc/kubernetes/kubelet': joining.kubeconfigs.kubelet,
    '/etc/kubernetes/kubelet.yaml': stringify(kubeletConfig(joining.dns)),
    '/etc/kubernetes/kube-proxy': joining.kubeconfigs.proxy,
    '/etc/kubernetes/kube-proxy.yaml': stringify(proxyConfig(machine.name, joining.clusterCidr)),
  };
  await room.must(['mkdir', '-p', '/etc/containerd', '/etc/kubernetes', '/etc/cni/net.d', '/opt/cni/bin']);
  // What this machine has there is no part of the node.
  await room.must(['sh', '-c', 'rm -rf /etc/cni/net.d/* /opt/cni/bin/*']);
  for (const [path, input] of Object.entries(files)) await room.must(['tee', path], { input });
}

async function startContainerd(room: Room): Promise<Daemon> {
  const containerd = await room.start('containerd', ['containerd']);
  await waitFor(
    'containerd to serve',
    async () => {
      if (containerd.ended() !== undefined) throw new Error(`containerd ended: ${tail(containerd.log())}`);
      if (!containerd.log().includes('successfully booted')) return false;
      return (await room.run(['test', '-S', SOCKET])).code === 0;
    },
    60_000,
  );
  return containerd;
}

const startKubelet = (room: Room, machine: Machine): Promise<Daemon> =>
  room.start('kubelet', [
    pathOf('kubelet'),
    '--config=/etc/kubernetes/kubelet.yaml',
    '--kubeconfig=/etc/kubernetes/kubelet',
    '--container-runtime=remote',
    `--container-runtime-endpoint=unix://${SOCKET}`,
    `--hostname-override=${machine.name}`,
    `--node-ip=${machine.address}`,
    `--pod-infra-container-image=${IMAGE}`,
  ]);
