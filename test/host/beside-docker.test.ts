/**
 * Beside Docker's own daemon on a node: it drops what is forwarded and is not its own, pods are accepted in the chain
 * that it leaves to users, its containers keep their published ports, and a purge leaves its rules as they were.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { IMAGE, writeRootfs } from '../runtimes/image.ts';
import { type Daemon, type Room } from '../runtimes/neighbours.ts';
import { findingOf, reachBothWays, reachesHostPort, startPair, whyNotBeside } from './beside.ts';
import { waitFor } from './namespace.ts';

const skip = whyNotBeside('busybox', 'runc', 'containerd');

async function startDocker(room: Room, data: string): Promise<Daemon> {
  const places = ['--data-root', data, '--exec-root', '/run/docker', '--pidfile', '/run/docker.pid'];
  const daemon = room.start([
    '/usr/sbin/dockerd',
    ...places,
    '--host=unix:///run/docker.sock',
    '--storage-driver=vfs',
    '--iptables=true',
  ]);
  const answers = async (): Promise<boolean> => (await docker(room, 'version')).code === 0;
  await waitFor('dockerd', answers, 60_000).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${daemon.log()}`, { cause: error });
  });
  return daemon;
}

const docker = (room: Room, ...words: readonly string[]): ReturnType<Room['run']> =>
  room.run(['/usr/bin/docker', '--host', 'unix:///run/docker.sock', ...words]);

async function mustDocker(room: Room, ...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await docker(room, ...words);
  assert.equal(code, 0, `docker ${words.join(' ')}: ${stderr}`);
  return stdout.trim();
}

/** Docker's rules without counters and handles. */
const rulesOf = async (room: Room): Promise<string> =>
  (await room.must(['iptables-save'])).replaceAll(/^[#:].*\n/gm, '').replaceAll(/\[\d+:\d+\] /g, '');

test('beside Docker', { skip }, async (t) => {
  await using pair = await startPair('dk', [{}, {}]);
  const [a, b] = pair.places;
  const data = join(a.node.directory, 'docker');
  // Docker drops what is forwarded where it is the first to switch forwarding on, as when the host starts.
  await a.node.kill();
  await a.room.must(['sysctl', '-qw', 'net.ipv4.ip_forward=0']);
  let daemon = await startDocker(a.room, data);
  await a.node.restart();

  const everybodyReaches = async (): Promise<void> => {
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
    await waitFor('the host port of a pod', () => reachesHostPort(b, a));
  };
  const containerAnswers = async (): Promise<boolean> =>
    (await b.node.netns.run(['curl', '-sS', '-m', '1', 'http://172.30.0.1:18090/'])).stdout.includes(
      'from docker',
    );

  await t.test('it drops what is forwarded, and pods are accepted where users may', async () => {
    assert.match(await a.room.must(['iptables', '-S', 'FORWARD']), /-P FORWARD DROP/);
    await everybodyReaches();
    const chain = await a.room.must(['iptables', '-S', 'DOCKER-USER']);
    assert.match(chain, /-s 10\.244\.0\.0\/16 .*-j ACCEPT/, 'iptables reads our rules');
    assert.match((await findingOf(a, 'forward-drop', 'info')).detail ?? '', /docker/);
  });

  await t.test('its containers keep their published ports', async () => {
    const rootfs = join(a.node.directory, 'rootfs.tar');
    writeRootfs(rootfs);
    await mustDocker(a.room, 'import', rootfs, IMAGE);
    const page = 'mkdir /www; echo from docker >/www/index.html; exec httpd -f -p 80 -h /www';
    const shape = [
      '--name',
      'web',
      '--stop-timeout',
      '1',
      '--restart',
      'always',
      '-e',
      'PATH=/bin',
      '-p',
      '18090:80',
    ];
    await mustDocker(a.room, 'run', '-d', ...shape, IMAGE, '/bin/sh', '-c', page);
    await waitFor('the container', containerAnswers);
    await everybodyReaches();
  });

  await t.test('over a restart of Docker, which makes its rules anew', async () => {
    await daemon.stop();
    for (const chain of ['FORWARD', 'DOCKER-USER']) await a.room.must(['iptables', '-F', chain]);
    daemon = await startDocker(a.room, data);
    await everybodyReaches();
    await waitFor('the container', containerAnswers);
  });

  await t.test('a purge leaves its rules as they were', async () => {
    const before = await rulesOf(a.room);
    const expected = before
      .split('\n')
      .filter((line) => !line.includes('10.244.0.0/16') && !line.includes('--dport 8472'));
    assert.ok(expected.length < before.split('\n').length, 'there were accepts of ours');
    const { code, stderr } = await a.node.run(['uninstall', '--purge']);
    assert.equal(code, 0, stderr);
    assert.deepEqual((await rulesOf(a.room)).split('\n'), expected);
    assert.ok(await containerAnswers());
  });
});
