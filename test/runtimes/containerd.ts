/**
 * Debian's containerd on one node of a test, as kubelet would use it: CRI over its socket. Each has its own root, state,
 * socket and CNI directories, a private mount namespace, and runs in the node's network namespace.
 */
import { execFileSync, type ChildProcess } from 'node:child_process';
import {
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  readdirSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { waitFor, type Namespace } from '../host/namespace.ts';
import { enterMounts } from './mounts.ts';
import { IMAGE } from './image.ts';

export type PortMapping = {
  readonly container_port: number;
  readonly host_port: number;
  readonly protocol?: number;
};

export type Pod = {
  readonly name: string;
  readonly ips: readonly string[];
  exec(command: string): Promise<{ code: number; stdout: string; stderr: string }>;
  remove(): Promise<void>;
};

export type Containerd = {
  /** CRI's NetworkReady condition: its message, or undefined when ready. */
  networkProblem(): Promise<string | undefined>;
  /** A pod that serves its own name over HTTP on port 8080. */
  runPod(name: string, ports?: readonly PortMapping[]): Promise<Pod>;
  log(): string;
  stop(): Promise<void>;
};

type Call = (
  request: object,
  options: object,
  done: (error: ServiceError | null, reply: unknown) => void,
) => void;

function connect(socket: string) {
  const proto = loadSync(join(import.meta.dirname, 'cri.proto'), { keepCase: true, defaults: true });
  const loaded = loadPackageDefinition(proto) as unknown as {
    runtime: {
      v1: { RuntimeService: new (...parts: unknown[]) => Record<string, Call> & { close(): void } };
    };
  };
  const client = new loaded.runtime.v1.RuntimeService(`unix://${socket}`, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
  });
  const call = <T>(method: string, request: object): Promise<T> =>
    new Promise((resolve, reject) => {
      const deadline = Date.now() + 30_000;
      client[method]?.(request, { deadline }, (error, reply) =>
        error ? reject(error) : resolve(reply as T),
      );
    });
  return { call, close: () => client.close() };
}

function writeConfig(folder: string, cni: { bin: string; conf: string }): string {
  const config = `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "${folder}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${cni.bin}"
    conf_dir = "${cni.conf}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    Root = "${folder}/state/runc"
`;
  const file = join(folder, 'config.toml');
  writeFileSync(file, config);
  return file;
}

/** Processes that belong to this containerd: their command line or a mount names its folder. */
export function processesOf(folder: string): number[] {
  const mentions = (pid: string, file: string): boolean => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'utf8').includes(`${folder}/`);
    } catch {
      return false;
    }
  };
  const here = readlinkSync('/proc/self/ns/mnt');
  const elsewhere = (pid: string): boolean => {
    try {
      return readlinkSync(`/proc/${pid}/ns/mnt`) !== here;
    } catch {
      return false;
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && elsewhere(name))
    .filter((name) => mentions(name, 'cmdline') || mentions(name, 'mountinfo'))
    .map(Number);
}

/** Ends what containerd left: shims outlive it, and containers outlive their shims. */
async function endAll(folder: string): Promise<void> {
  await waitFor('containerd’s processes to end', () => {
    const left = processesOf(folder);
    for (const pid of left) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // gone meanwhile
      }
    }
    return left.length === 0;
  });
}

/** Control groups of the pods: directories without files of their own, children first. */
function removeGroups(name: string): void {
  for (const top of globSync(`/sys/fs/cgroup/*/${name}`)) {
    const inside = globSync(`${top}/**/`).sort().reverse();
    for (const group of new Set([...inside, top])) if (existsSync(group)) rmdirSync(group);
  }
}

const podConfig = (name: string, ports: readonly PortMapping[], parent: string) => ({
  metadata: { name, uid: `uid-${name}`, namespace: 'default', attempt: 0 },
  hostname: name,
  port_mappings: ports,
  linux: { cgroup_parent: parent, security_context: { namespace_options: { network: 0, pid: 1, ipc: 0 } } },
});

const SERVE = (name: string): string =>
  `mkdir -p /www; echo hello-from-${name} > /www/index.html; exec /bin/httpd -f -p 8080 -h /www`;

export async function startContainerd(
  node: { readonly netns: Namespace; readonly directory: string; readonly bin: string },
  options: { readonly conf: string; readonly image: string },
): Promise<Containerd> {
  const folder = join(node.directory, 'containerd');
  mkdirSync(folder, { recursive: true });
  const logFile = join(folder, 'log');
  const config = writeConfig(folder, { bin: node.bin, conf: options.conf });
  const parent = `/${node.netns.name}`;
  const child: ChildProcess = enterMounts(
    node.netns,
    folder,
    `exec containerd --config ${config} > ${logFile} 2>&1`,
  );
  const log = (): string => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : '');
  const socket = join(folder, 'c.sock');
  const cleanUp = async (): Promise<void> => {
    child.kill('SIGTERM');
    await waitFor('containerd to end', () => child.exitCode !== null || child.signalCode !== null);
    await endAll(folder);
    removeGroups(node.netns.name);
  };
  try {
    await waitFor(
      `containerd to serve:\n${log()}`,
      () => log().includes('successfully booted') && existsSync(socket),
    );
    execFileSync(
      'nsenter',
      ['-t', String(child.pid), '-m', 'ctr', '-a', socket, '-n', 'k8s.io', 'image', 'import', options.image],
      { stdio: 'pipe' },
    );
  } catch (error) {
    await cleanUp();
    throw error;
  }
  const cri = connect(socket);

  async function runPod(name: string, ports: readonly PortMapping[] = []): Promise<Pod> {
    const sandbox = podConfig(name, ports, parent);
    const id = await cri.call<{ pod_sandbox_id: string }>('RunPodSandbox', { config: sandbox });
    const { status } = await cri.call<{
      status: { network: { ip: string; additional_ips: { ip: string }[] } };
    }>('PodSandboxStatus', id);
    const container = await cri.call<{ container_id: string }>('CreateContainer', {
      ...id,
      sandbox_config: sandbox,
      config: {
        metadata: { name: 'web', attempt: 0 },
        image: { image: IMAGE },
        command: ['/bin/sh', '-c', SERVE(name)],
      },
    });
    await cri.call('StartContainer', container);
    return {
      name,
      ips: [status.network.ip, ...status.network.additional_ips.map((one) => one.ip)],
      exec: async (command) => {
        const request = { ...container, cmd: ['/bin/sh', '-c', command], timeout: 10 };
        const done = await cri.call<{ exit_code: number; stdout: Buffer; stderr: Buffer }>(
          'ExecSync',
          request,
        );
        return { code: done.exit_code, stdout: String(done.stdout), stderr: String(done.stderr) };
      },
      remove: async () => {
        await cri.call('StopPodSandbox', id);
        await cri.call('RemovePodSandbox', id);
      },
    };
  }
  return {
    networkProblem: async () => {
      const { status } = await cri.call<{
        status: { conditions: { type: string; status: boolean; message: string }[] };
      }>('Status', {});
      const found = status.conditions.find((condition) => condition.type === 'NetworkReady');
      return found?.status === true ? undefined : (found?.message ?? 'no NetworkReady condition');
    },
    runPod,
    log,
    stop: async () => {
      cri.close();
      await cleanUp();
    },
  };
}
