/**
 * A place for a container runtime: a node's network namespace with a mount namespace of its own, in which /sys shows
 * that network, the cgroup trees stay reachable (runc needs them), and libcni's cache under /var/lib/cni is private.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace } from '../host/namespace.ts';

/** Mounts a fresh sysfs needs the network namespace first; the cgroup trees are carried over by a bind. */
const PREPARE = `set -e
mkdir -p /var/lib/cni
mount --bind "$1/cni" /var/lib/cni
mount -t tmpfs tmpfs "$1/cgroup"
mount --rbind /sys/fs/cgroup "$1/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$1/cgroup" /sys/fs/cgroup
`;

/** Starts a shell script there; the process given is the script's own (exec the runtime as its last command). */
export function enterMounts(netns: Namespace, folder: string, script: string): ChildProcess {
  for (const name of ['cni', 'cgroup']) mkdirSync(join(folder, name), { recursive: true });
  return spawn(
    'nsenter',
    [
      `--net=${netns.path}`,
      'unshare',
      '--mount',
      '--propagation',
      'private',
      'sh',
      '-c',
      PREPARE + script,
      'sh',
      folder,
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
}
