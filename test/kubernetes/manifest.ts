/**
 * Tartan on a cluster as an operator installs it: what `tartan install --profile` prints goes to `kubectl apply`, and the
 * image is that of deploy/image/build.sh.
 */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { execute } from '../host/namespace.ts';
import { POD_RANGE, type Cluster } from './cluster.ts';
import { ROOT } from './node.ts';

const TARTAN = join(ROOT, 'dist/tartan');
const NAMESPACE = 'tartan-system';
const LIMIT = '--timeout=180s';
const [IMAGE] = globSync(join(ROOT, 'dist/image/tartan-*-*.oci.tar')).sort();

/** Why there is no image to install, or undefined. */
export const noImage: string | undefined =
  IMAGE === undefined ? 'no dist/image/*.oci.tar: deploy/image/build.sh builds it' : undefined;

/** `more`: as `--uninstall`. */
async function printManifest(profile: string, more: readonly string[] = []): Promise<string> {
  const range = `network.ipv4.range=${POD_RANGE}`;
  const words = ['install', '--profile', profile, '--kubernetes', '1.20', '--set', range, ...more];
  const { code, stdout, stderr } = await execute([TARTAN, ...words]);
  if (code !== 0) throw new Error(`tartan ${words.join(' ')}: ${stderr}`);
  return stdout;
}

const rollout = (what: string): string[] => ['rollout', 'status', '-n', NAMESPACE, what, LIMIT];

/** Installs it where it is not, or changes the profile; resolves when every node's agent is of that profile and ready. */
export async function install(cluster: Cluster, profile: string): Promise<void> {
  if (IMAGE !== undefined) await cluster.addImage(IMAGE);
  await cluster.kubectl(['apply', '-f', '-'], await printManifest(profile));
  await cluster.kubectl(rollout('daemonset/tartan-agent'));
  await cluster.kubectl(rollout('deployment/tartan-controller'));
}

/** Other settings count for agents that start after them. */
export async function changeProfile(cluster: Cluster, profile: string): Promise<void> {
  await cluster.kubectl(['apply', '-f', '-'], await printManifest(profile));
  await cluster.kubectl(['rollout', 'restart', '-n', NAMESPACE, 'daemonset/tartan-agent']);
  await cluster.kubectl(rollout('daemonset/tartan-agent'));
}

/** Agents go, then each node is cleaned, then all objects go. */
export async function uninstall(cluster: Cluster, profile: string): Promise<void> {
  const cleanup = await printManifest(profile, ['--uninstall']);
  const parts = ['daemonset/tartan-agent', 'deployment/tartan-controller'];
  await cluster.kubectl(['delete', '-n', NAMESPACE, ...parts, '--wait', LIMIT]);
  const pods = ['pods', '-n', NAMESPACE, '--all', '--for=delete', LIMIT];
  await cluster.kubectl(['wait', ...pods]).catch(() => undefined); // there may be none any more
  await cluster.kubectl(['apply', '-f', '-'], cleanup);
  await cluster.kubectl(rollout('daemonset/tartan-cleanup'));
  await cluster.kubectl(['delete', '-f', '-', '--wait', LIMIT], cleanup);
  await cluster.kubectl(
    ['delete', '-f', '-', '--wait', '--ignore-not-found', LIMIT],
    await printManifest(profile),
  );
}

/** The last lines of every agent and controller. */
export async function tartanLogs(cluster: Cluster): Promise<string> {
  const about = ['-n', NAMESPACE, '-o', 'wide'];
  const pods = await cluster.api.kubectl(['get', 'pods', ...about]);
  const events = await cluster.api.kubectl(['get', 'events', '-A', '--sort-by=.lastTimestamp']);
  const words = [
    'logs',
    '-n',
    NAMESPACE,
    '-l',
    'app.kubernetes.io/name=tartan',
    '--prefix',
    '--all-containers',
  ];
  const logs = await cluster.api.kubectl([...words, '--tail=30', '--max-log-requests=20']);
  return [pods, events, logs].map(({ stdout, stderr }) => stdout.slice(-12_000) + stderr).join('\n');
}
