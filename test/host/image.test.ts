/**
 * The image, run by podman with the rights and mounts that the DaemonSet gives it and no others: it installs, attaches a pod for
 * a runtime outside, is replaced while the pod's traffic goes on, and leaves a clean node.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { agentDaemonSet, cleanupDaemonSet } from '#deploy/agent.ts';
import { planInstallation } from '#deploy/options.ts';
import { readProfiles } from '../../src/cli/profiles.ts';
import {
  execute,
  makeForwarding,
  makeNamespace,
  type Namespace,
  type Output,
  waitFor,
  whyNoKernel,
} from './namespace.ts';
import { makeUnderlay, type Underlay } from './node.ts';

const [archive] = globSync(`dist/image/tartan-*-${process.arch === 'arm64' ? 'arm64' : 'amd64'}.oci.tar`);
const tag = `localhost/tartan:${(archive ?? '').replace(/^.*tartan-(.*)-[a-z0-9]+\.oci\.tar$/, '$1')}`;
const skip =
  whyNoKernel(['podman', 'runc', 'ping']) ??
  (archive === undefined ? 'no image in dist/image: make image builds it' : false);

type Container = {
  readonly command: readonly string[];
  readonly securityContext: { readonly capabilities: { readonly add: readonly string[] } };
  readonly volumeMounts: readonly { readonly mountPath: string; readonly readOnly?: boolean }[];
};
type PodSpec = { readonly initContainers: readonly Container[]; readonly containers: readonly Container[] };

describe('the image', { skip }, () => {
  let directory: string;
  let underlay: Underlay;
  let node: Namespace;
  let pod: Namespace;
  let pinger: ChildProcess | undefined;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'kd-image-'));
    for (const name of ['etc', 'host-etc', 'run', 'state', 'bin', 'conf']) mkdirSync(join(directory, name));
    const paths = { run: 'run', state: 'state', cniBin: 'bin', cniConf: 'conf', etc: 'host-etc' };
    const settings = {
      apiVersion: 'tartan.dev/v1',
      kind: 'Settings',
      profile: 'flannel',
      store: { type: 'directory', path: join(directory, 'state/store') },
      paths: Object.fromEntries(Object.entries(paths).map(([name, at]) => [name, join(directory, at)])),
    };
    writeFileSync(join(directory, 'etc/settings.yaml'), JSON.stringify(settings));
    writeFileSync(
      join(directory, 'containers.conf'),
      '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n',
    );
    writeFileSync(join(directory, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
    underlay = await makeUnderlay('kd-image');
    node = makeNamespace('kd-node');
    pod = makeNamespace('kd-pod');
    await makeForwarding(node);
    underlay.plug(node, 1);
    await must('load', '--signature-policy', join(directory, 'policy.json'), '-i', archive ?? '');
  });
  after(async () => {
    pinger?.kill('SIGKILL');
    await podman('rm', '-f', '-t', '0', 'agent');
    pod?.remove();
    node?.remove();
    underlay?.remove();
    await podman('rmi', '-f', '-a');
    rmSync(directory, { recursive: true, force: true });
  });

  function podman(...words: readonly string[]): Promise<Output> {
    const root = ['--root', join(directory, 'graph'), '--runroot', join(directory, 'runroot')];
    const env = { ...process.env, CONTAINERS_CONF: join(directory, 'containers.conf') };
    return execute(['podman', ...root, '--storage-driver', 'vfs', ...words], { env, timeoutMs: 120_000 });
  }

  async function must(...words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await podman(...words);
    assert.equal(code, 0, `podman ${words.join(' ')}: ${stderr}${stdout}`);
    return stdout;
  }

  /** What the manifest says of the container, in podman's words; its mounts are the test's directories. */
  function runContainer({ command, securityContext }: Container, ...how: readonly string[]): Promise<string> {
    const limits = ['--cap-drop=ALL', ...securityContext.capabilities.add.map((name) => `--cap-add=${name}`)];
    const mounts = [`${directory}:${directory}`, `${directory}/etc:/etc/tartan:ro`];
    return must(
      'run',
      '--pid=host',
      `--network=ns:${node.path}`,
      '--read-only',
      '--env=TARTAN_NODE=image',
      ...limits,
      ...mounts.map((mount) => `--volume=${mount}`),
      ...how,
      tag,
      ...command,
    );
  }

  const plan = planInstallation({ profile: 'flannel', version: '0.0.0' }, readProfiles());
  const podOf = (set: { readonly [field: string]: unknown }): PodSpec =>
    (set['spec'] as { template: { spec: PodSpec } }).template.spec;
  const agent = podOf(agentDaemonSet(plan));
  const cleanup = podOf(cleanupDaemonSet(plan));
  const only = (containers: readonly Container[]): Container => containers[0] ?? assert.fail('no container');

  async function startAgent(): Promise<void> {
    await runContainer(only(agent.containers), '-d', '--name=agent');
    await waitFor(
      'the agent to be ready',
      async () => (await podman('exec', 'agent', 'tartan', 'status')).code === 0,
      60_000,
    ).catch(async () => assert.fail((await podman('logs', 'agent')).stderr));
  }

  async function cni(verb: string, prevResult?: unknown): Promise<string> {
    const environment = [`CNI_COMMAND=${verb}`, `CNI_PATH=${directory}/bin`, 'CNI_CONTAINERID=kd1'];
    const config = { cniVersion: '1.0.0', name: 'tartan', type: 'tartan-cni', prevResult };
    const words = ['env', ...environment, 'CNI_IFNAME=eth0', `CNI_NETNS=${pod.path}`];
    const done = await execute([...words, `${directory}/bin/tartan-cni`], { input: JSON.stringify(config) });
    assert.equal(done.code, 0, `${verb}: ${done.stdout}${(await podman('logs', 'agent')).stderr}`);
    return done.stdout;
  }

  test('it says its version, without a network and any rights', async () => {
    const version = await must('run', '--rm', '--network=none', '--cap-drop=ALL', tag, 'tartan', 'version');
    assert.match(version, /^tartan \d+\.\d+\.\d+ /);
  });

  test('with the rights of the DaemonSet it serves a runtime outside, and is replaced under traffic', async () => {
    await runContainer(only(agent.initContainers), '--rm');
    assert.ok(existsSync(join(directory, 'bin/tartan-cni')));
    await startAgent();
    const result = JSON.parse(await cni('ADD')) as { readonly ips: readonly { readonly gateway: string }[] };
    const gateway = result.ips[0]?.gateway ?? assert.fail('no address');
    await pod.must(['ping', '-c1', '-W5', gateway]);
    const pings = pod.start(['ping', '-i0.05', '-W1', gateway], { stdio: ['ignore', 'pipe', 'inherit'] });
    pinger = pings;
    let output = '';
    pings.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await must('rm', '-f', '-t', '10', 'agent');
    await startAgent();
    await cni('CHECK', result);
    const ended = new Promise((done) => pings.once('exit', done));
    pings.kill('SIGINT');
    await ended;
    assert.match(output, / 0% packet loss/, output.slice(-300));
    await cni('DEL');
  });

  test('the clean-up leaves nothing', async () => {
    await must('rm', '-f', '-t', '10', 'agent');
    await runContainer(only(cleanup.initContainers), '--rm');
    assert.deepEqual([readdirSync(join(directory, 'bin')), readdirSync(join(directory, 'conf'))], [[], []]);
    const links = node.list<{ ifname: string }>('link show').map(({ ifname }) => ifname);
    assert.deepEqual(
      links.filter((name) => /^(?:tartan|cni|flannel|veth)/.test(name)),
      [],
    );
    const tables = execFileSync('nsenter', [`--net=${node.path}`, 'nft', 'list', 'tables'], {
      encoding: 'utf8',
    });
    assert.equal(tables, '');
    assert.equal(existsSync(join(directory, 'state/store')), false, 'saved state');
  });
});
