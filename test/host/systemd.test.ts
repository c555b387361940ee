/**
 * The systemd unit: verified by systemd, and its command lines run exactly as they are written, at the paths that it
 * names, with no more capabilities than it leaves. The paths exist in a mount namespace of the test only.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  execute,
  makeForwarding,
  makeNamespace,
  type Namespace,
  type Output,
  waitFor,
  whyNoKernel,
} from './namespace.ts';
import { makeUnderlay, type Underlay, whyNoTartan } from './node.ts';

const skip = whyNoKernel(['ip', 'unshare', 'setpriv', 'systemd-analyze']) ?? whyNoTartan() ?? false;
const ROOT = resolve(import.meta.dirname, '../..');
const SETTINGS = 'apiVersion: tartan.dev/v1\nkind: Settings\nprofile: flannel\nnode: {name: unit}\n';

/** $1: a private directory, $2: this tree. */
const PREPARE = `set -e
mount --make-rprivate /
cp -a /etc "$1/etc" && mount --bind "$1/etc" /etc
mkdir -p /etc/tartan && cp "$1/settings.yaml" /etc/tartan/settings.yaml
mount -t tmpfs none /opt && mkdir /opt/tartan && mount --bind "$2" /opt/tartan
mount -t tmpfs none /var/lib
mount -t tmpfs none /run
touch "$1/ready"
exec sleep 3600`;

describe('the systemd unit', { skip }, () => {
  const unit = readFileSync(join(ROOT, 'deploy/tartan.service'), 'utf8');
  let underlay: Underlay;
  let netns: Namespace;
  let directory: string;
  let holder: ChildProcess;
  let pod: Namespace;
  /** Keeps the pod's namespace at a path that the mounts do not cover. */
  let sandbox: ChildProcess;
  let agent: ChildProcess | undefined;
  let log = '';
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'ar-unit-'));
    writeFileSync(join(directory, 'settings.yaml'), SETTINGS);
    underlay = await makeUnderlay('ar-unit');
    netns = makeNamespace('ar-unit');
    await makeForwarding(netns);
    underlay.plug(netns, 1);
    pod = makeNamespace('ar-pod');
    sandbox = pod.start(['sleep', '3600']);
    holder = netns.start(['unshare', '--mount', 'sh', '-c', PREPARE, 'sh', directory, ROOT]);
    await waitFor(
      'the mounts',
      async () => (await execute(['test', '-e', join(directory, 'ready')])).code === 0,
    );
  });
  after(async () => {
    for (const child of [agent, holder, sandbox]) {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const gone = new Promise((done) => child.once('exit', done));
      child.kill('SIGKILL');
      await gone;
    }
    pod?.remove();
    netns?.remove();
    underlay?.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  /** The words of a line of the unit; systemd does no more with these than to split them. */
  function wordsOf(name: string): string[] {
    const line = unit.split('\n').find((one) => one.startsWith(`${name}=`)) ?? assert.fail(name);
    return line.slice(name.length + 1).split(' ');
  }
  const inside = (words: readonly string[]): string[] => [
    'nsenter',
    `--target=${holder.pid}`,
    '--mount',
    '--net',
    ...words,
  ];
  /** As systemd would: CapabilityBoundingSet and NoNewPrivileges. */
  function confined(words: readonly string[]): string[] {
    const left = wordsOf('CapabilityBoundingSet').map((name) => `+${name.replace('CAP_', '').toLowerCase()}`);
    return inside(['setpriv', '--no-new-privs', `--bounding-set=-all,${left.join(',')}`, ...words]);
  }
  const tartan = (...words: string[]): Promise<Output> =>
    execute(inside(['/opt/tartan/dist/tartan', ...words]));

  function cni(verb: string): Promise<Output> {
    const runtimeConfig = { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] };
    const capabilities = { portMappings: true };
    const config = { cniVersion: '1.1.0', name: 'tartan', type: 'tartan-cni', capabilities, runtimeConfig };
    const environment = [
      `CNI_COMMAND=${verb}`,
      'CNI_PATH=/opt/cni/bin',
      'CNI_CONTAINERID=ar1',
      'CNI_IFNAME=eth0',
      `CNI_NETNS=/proc/${sandbox.pid}/ns/net`,
    ];
    const words = inside(['env', ...environment, '/opt/cni/bin/tartan-cni']);
    return execute(words, { input: JSON.stringify(config) });
  }

  test('systemd finds nothing wrong with it', async () => {
    const verify = ['systemd-analyze', 'verify', '--man=no', '/opt/tartan/deploy/tartan.service'];
    const { code, stdout, stderr } = await execute(inside(verify));
    assert.deepEqual([code, stdout + stderr], [0, '']);
  });

  test('its command lines install, start, serve and stop', async () => {
    const installed = await execute(confined(wordsOf('ExecStartPre')));
    assert.equal(installed.code, 0, installed.stdout + installed.stderr);
    const [program = '', ...words] = confined(wordsOf('ExecStart'));
    agent = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    agent.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()));
    await waitFor('the agent to be ready', async () => (await tartan('status')).code === 0).catch(() =>
      assert.fail(log),
    );
    for (const verb of ['STATUS', 'ADD', 'DEL']) {
      const { code, stdout } = await cni(verb);
      assert.equal(code, 0, `${verb}: ${stdout}\n${log}`);
    }

    const exit = new Promise((done) => agent?.once('exit', (code, signal) => done([code, signal])));
    agent.kill('SIGTERM');
    assert.deepEqual(await exit, [0, null], log);
    assert.match(netns.ip('link show type vxlan'), /tartan/, 'the data plane stays');
  });
});
