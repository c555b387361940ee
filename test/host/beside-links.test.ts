/**
 * Beside programs that manage links: udev with Debian's own rules and 99-default.link, systemd-networkd on the link
 * between nodes, NetworkManager. The roads are routes on that link (host-gw), which is what networkd can take away.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Room, startBus, startUdev } from '../runtimes/neighbours.ts';
import { findingOf, findingsOf, type Place, reachBothWays, startPair, whyNotBeside } from './beside.ts';
import { waitFor } from './namespace.ts';

const skip = whyNotBeside('bridge');

/** net/core: NET_ADDR_SET, somebody chose the address; udev's policy "persistent" touches only random ones. */
const ADDRESS_SET = '3';

const write = (room: Room, file: string, text: string): Promise<string> =>
  room.must(['sh', '-c', 'mkdir -p "${1%/*}" && printf %s "$2" >"$1"', 'sh', file, text]);

async function startNetworkd({ room, node }: Place): Promise<() => Promise<void>> {
  // Its user comes with the package's installation, which this is not.
  await room.must(['sh', '-ec', 'getent passwd systemd-network || systemd-sysusers systemd-network.conf']);
  await room.must(['install', '-d', '-o', 'systemd-network', '-g', 'systemd-network', '/run/systemd/netif']);
  const daemon = room.start(['/usr/lib/systemd/systemd-networkd']);
  const { ifindex } = node.netns.list<{ ifindex: number }>('link show eth0')[0] ?? { ifindex: 0 };
  const state = ['grep', '-q', 'ADMIN_STATE=configured', `/run/systemd/netif/links/${ifindex}`];
  await waitFor('networkd to have eth0', async () => (await room.run(state)).code === 0, 30_000).catch(
    (error: unknown) => {
      throw new Error(`${String(error)}\n${daemon.log()}`, { cause: error });
    },
  );
  return () => daemon.stop();
}

const routes = ({ node }: Place): string => node.netns.ip('route show proto 84');

/** Every deletion of one of our routes that the kernel tells of while `work` runs. */
async function deletions(place: Place, work: () => Promise<void>): Promise<string[]> {
  const lines: string[] = [];
  const monitor = place.node.netns.start(['ip', '-o', 'monitor', 'route'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  monitor.stdout?.setEncoding('utf8').on('data', (text: string) => lines.push(...text.split('\n')));
  const marker = 'unreachable 203.0.113.9';
  try {
    await waitFor('the monitor', () => {
      for (const verb of ['add', 'del']) place.node.netns.ip(`route ${verb} ${marker}`);
      return lines.some((line) => line.includes(marker));
    });
    await work();
  } finally {
    monitor.kill('SIGTERM');
  }
  return lines.filter((line) => line.startsWith('Deleted') && line.includes('proto 84'));
}

test('beside link managers', { skip }, async (t) => {
  const settings = { road: { type: 'host-gw' } };
  await using pair = await startPair('lk', [settings, settings]);
  const [a, b] = pair.places;
  const etc = join(a.node.directory, 'etc');

  await t.test('udev’s MACAddressPolicy=persistent leaves our links’ addresses alone', async () => {
    const links = [
      'cni0',
      ...a.node.netns.list<{ ifname: string }>('link show type veth').map((one) => one.ifname),
    ].filter((name) => name !== 'eth0');
    assert.ok(links.length > 1, links.join());
    const macs = (): string[] =>
      links.map((name) => a.node.netns.ip(`-br link show ${name}`).split(/\s+/)[2] ?? '');
    const before = macs();
    await startUdev(a.room);
    // A bridge of somebody who chooses no address shows that the rule is in force.
    a.node.netns.ip('link add other0 type bridge');
    const typeOf = (name: string): Promise<string> =>
      a.room.must(['cat', `/sys/class/net/${name}/addr_assign_type`]);
    await waitFor('udev to give an address', async () => (await typeOf('other0')).trim() === ADDRESS_SET);
    assert.deepEqual(macs(), before);
    for (const name of links) assert.equal((await typeOf(name)).trim(), ADDRESS_SET, name);
    a.node.netns.ip('link del other0');
  });

  await t.test('systemd-networkd takes our routes with its start, and they are back', async () => {
    const network =
      '[Match]\nName=eth0\n[Network]\nAddress=172.30.0.1/24\nGateway=172.30.0.254\nIPv6AcceptRA=no\n';
    await write(a.room, '/etc/systemd/network/50-eth0.network', network);
    assert.match(routes(a), /via 172\.30\.0\.2 /);
    let stop = async (): Promise<void> => {};
    const gone = await deletions(a, async () => {
      stop = await startNetworkd(a);
      await waitFor('our route to be back', () => / via 172\.30\.0\.2 /.test(routes(a)));
    });
    assert.ok(gone.length > 0, 'networkd removed a route of ours');
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
    const finding = await findingOf(a, 'networkd-routes', 'warn');
    assert.match(finding.hint ?? '', /ManageForeignRoutes=no/);
    await stop();
  });

  await t.test('with what doctor says, it leaves them', async () => {
    await write(a.room, '/etc/systemd/networkd.conf.d/tartan.conf', '[Network]\nManageForeignRoutes=no\n');
    let stop = async (): Promise<void> => {};
    const gone = await deletions(a, async () => {
      stop = await startNetworkd(a);
    });
    assert.deepEqual(gone, []);
    await findingOf(a, 'networkd-routes', 'ok');
    await stop();
  });

  await t.test('a network file for every link takes ours too, until tartan install', async () => {
    await write(
      a.room,
      '/etc/systemd/network/60-all.network',
      '[Match]\nName=*\n[Network]\nDHCP=no\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n',
    );
    const stop = await startNetworkd(a);
    const managed = async (): Promise<string | undefined> =>
      (await findingsOf(a)).find(({ check, severity }) => check === 'networkd-links' && severity === 'warn')
        ?.detail;
    await waitFor('doctor to say so', async () => (await managed())?.includes('cni0'));
    await installInto(a, etc, 'systemd');
    await a.room.must(['cp', join(etc, 'systemd/network/00-tartan.network'), '/etc/systemd/network/']);
    await stop();
    const again = await startNetworkd(a);
    await findingOf(a, 'networkd-links', 'ok');
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
    await again();
  });

  await t.test('NetworkManager takes the bridge for one of its own, until tartan install', async () => {
    await startBus(a.room);
    const daemon = a.room.start(['/usr/sbin/NetworkManager', '--no-daemon']);
    const manages = async (): Promise<boolean> =>
      (await findingsOf(a)).some(({ check, severity }) => check === 'network-manager' && severity === 'warn');
    await waitFor('doctor to say so', manages, 30_000).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${daemon.log()}`, { cause: error });
    });
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
    await installInto(a, etc, 'NetworkManager');
    await a.room.must([
      'cp',
      join(etc, 'NetworkManager/conf.d/90-tartan.conf'),
      '/etc/NetworkManager/conf.d/',
    ]);
    await a.room.must(['nmcli', 'general', 'reload', 'conf']);
    await waitFor('NetworkManager to let go', async () => !(await manages()));
    const device = await a.room.must(['nmcli', '-t', '-f', 'DEVICE,STATE', 'device']);
    assert.match(device, /^cni0:unmanaged$/m);
    await waitFor('pods to reach each other', () => reachBothWays([a, b]));
  });
});

/** What `tartan install` writes for a program whose directory is there. */
async function installInto({ node }: Place, etc: string, program: string): Promise<void> {
  mkdirSync(join(etc, program), { recursive: true });
  const { code, stderr } = await node.run(['install']);
  assert.equal(code, 0, stderr);
  assert.ok(existsSync(join(etc, program)));
}
