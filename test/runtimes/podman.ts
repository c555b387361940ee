/**
 * Debian's podman with its CNI backend on one node of a test: own storage, configuration and locks in a private mount
 * namespace, in the node's network namespace.
 */
import { once } from 'node:events';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace, Output } from '../host/namespace.ts';
import { execute } from '../host/namespace.ts';
import { enterMounts } from './mounts.ts';
import { waitFor } from '../host/namespace.ts';

export type Podman = {
  run(...words: readonly string[]): Promise<Output>;
  must(...words: readonly string[]): Promise<string>;
  stop(): Promise<void>;
};

const containersConf = (bin: string, conf: string): string => `[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
seccomp_profile = ""
[network]
network_backend = "cni"
cni_plugin_dirs = ["${bin}"]
network_config_dir = "${conf}"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
`;

const storageConf = (folder: string): string => `[storage]
driver = "vfs"
graphroot = "${folder}/graph"
runroot = "${folder}/runroot"
`;

const POLICY = JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] });

export async function startPodman(
  node: { readonly netns: Namespace; readonly directory: string; readonly bin: string },
  options: { readonly conf: string; readonly image: string },
): Promise<Podman> {
  const folder = join(node.directory, 'podman');
  for (const name of ['graph', 'runroot', 'tmp', 'etc', 'netns'])
    mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'containers.conf'), containersConf(node.bin, options.conf));
  writeFileSync(join(folder, 'storage.conf'), storageConf(folder));
  cpSync('/etc/containers', join(folder, 'etc'), { recursive: true, dereference: true });
  writeFileSync(join(folder, 'etc/policy.json'), POLICY);
  const room = enterMounts(node.netns, folder, 'mount --bind "$1/etc" /etc/containers\nexec sleep infinity');
  await waitFor(
    'podman’s mounts',
    async () =>
      (
        await execute([
          'nsenter',
          '-t',
          String(room.pid),
          '-m',
          'grep',
          '-q',
          'example\\|insecure',
          '/etc/containers/policy.json',
        ])
      ).code === 0,
  );
  const env = {
    ...process.env,
    CONTAINERS_CONF: join(folder, 'containers.conf'),
    CONTAINERS_STORAGE_CONF: join(folder, 'storage.conf'),
  };
  const enter = ['nsenter', '-t', String(room.pid), '-m', '-n', 'podman', '--tmpdir', join(folder, 'tmp')];
  const run: Podman['run'] = (...words) => execute([...enter, ...words], { env, timeoutMs: 60_000 });
  const must: Podman['must'] = async (...words) => {
    const done = await run(...words);
    if (done.code !== 0) throw new Error(`podman ${words.join(' ')}: exit ${done.code}: ${done.stderr}`);
    return done.stdout.trim();
  };
  const stop = async (): Promise<void> => {
    await run('rm', '-fa', '-t', '0');
    await run('rmi', '-fa');
    const gone = once(room, 'exit');
    room.kill('SIGKILL');
    await gone;
  };
  try {
    await must('load', '-q', '-i', options.image);
  } catch (error) {
    await stop();
    throw error;
  }
  return { run, must, stop };
}
