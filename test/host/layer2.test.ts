/**
 * The road `layer2`: real agents on two subnets with a router between, whose pods are on one Ethernet. Who asks for a pod
 * is answered on its own node; broadcast and multicast reach every pod once.
 */
import assert from 'node:assert/strict';
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startLab, type Lab } from '../../src/lab/lab.ts';
import { run } from '../../src/lab/process.ts';
import { routerNetns, storePath } from '../../src/lab/topology.ts';
import { PATIENCE } from './namespace.ts';
import { whyNoTartan } from './node.ts';
import { assertAllReach, eventually, must } from './labs.ts';

const root = process.getuid?.() === 0 ? undefined : 'needs root';
const skip = root ?? whyNoTartan() ?? false;
const DEVICE = 'tartan.2';
const NODES = ['node1', 'node2', 'node3'] as const;
const FAMILIES = [4, 6] as const;

const podOf = (node: string): string => `pod-${node}`;
const addressOf = (lab: Lab, node: string, family: 4 | 6): string =>
  lab
    .pods()
    .find(({ name }) => name === podOf(node))
    ?.addresses.find((ip) => ip.includes(':') === (family === 6)) ?? '';

type Neighbour = { dst: string; lladdr?: string };
type Forwarding = { mac: string; dst?: string; master?: string; flags?: string[] };

async function macOf(lab: Lab, node: string): Promise<string> {
  const links = JSON.parse(await must(lab, podOf(node), 'ip -j link show dev eth0')) as { address: string }[];
  return links[0]?.address ?? '';
}

/** Whom the pod has at the address, after it asked anew. */
async function resolved(lab: Lab, pod: string, to: string): Promise<string | undefined> {
  await lab.exec(pod, ['ip', 'neighbor', 'flush', 'dev', 'eth0']);
  await lab.exec(pod, ['ping', '-n', '-q', '-c', '1', '-W', '1', to]);
  const known = JSON.parse(await must(lab, pod, 'ip -j neighbor show dev eth0')) as Neighbour[];
  return known.find(({ dst }) => dst === to)?.lladdr;
}

async function forwarding(lab: Lab, node: string): Promise<Forwarding[]> {
  return JSON.parse(await must(lab, node, `bridge -j fdb show dev ${DEVICE}`)) as Forwarding[];
}

/** A program in the pod that hears datagrams to `group` (absent: to everybody), and tells each on a line. */
const LISTENER = `
const [group, family] = process.argv.slice(1);
const socket = require('dgram').createSocket({ type: 'udp' + family, reuseAddr: true });
socket.on('message', (text, from) => console.log(text + ' ' + from.address));
socket.bind(5353, () => {
  if (group !== '') socket.addMembership(group, family === '6' ? '::%eth0' : undefined);
  console.log('listens');
});
setTimeout(() => process.exit(), 8000 * ${PATIENCE});
`;
const SPEAKER = `
const [to, family, from] = process.argv.slice(1);
const socket = require('dgram').createSocket('udp' + family);
socket.bind(0, from, () => {
  socket.setBroadcast(true);
  if (family === '6') socket.setMulticastInterface('::%eth0');
  socket.send('hello', 5353, to, () => socket.close());
});
`;

const CALLS = [
  { what: 'multicast by IPv4', family: 4, group: '239.1.2.3', to: '239.1.2.3' },
  { what: 'multicast by IPv6', family: 6, group: 'ff15::7', to: 'ff15::7' },
  { what: 'broadcast, as DHCP has it', family: 4, group: '', to: '255.255.255.255' },
] as const;

test('the road layer2: one Ethernet over nodes of two subnets', { skip }, async (t) => {
  await using lab = await startLab({
    name: `l2-road-${process.pid}`,
    nodes: 3,
    subnets: 2,
    profile: 'kopeio',
    settings: {
      network: { ipv4: { range: '10.244.0.0/16' }, ipv6: { range: 'fd00:244::/48' } },
      road: { type: 'layer2' },
    },
    readyMs: 60_000 * PATIENCE,
  });
  for (const name of NODES) await lab.addPod(name, podOf(name));

  await t.test('every pod reaches every pod, in both families', () => assertAllReach(lab));

  await t.test('frames are switched: the MAC address is the far pod’s, and no hop is counted', async () => {
    for (const family of FAMILIES) {
      const to = addressOf(lab, 'node3', family);
      assert.equal(await resolved(lab, podOf('node1'), to), await macOf(lab, 'node3'));
      const told = await must(lab, podOf('node1'), `ping -n -c 1 -W 5 ${to}`);
      assert.match(told, /ttl=64 /);
    }
  });

  await t.test('the node itself reaches pods of other nodes, and they reach it', async () => {
    for (const family of FAMILIES) {
      await must(lab, 'node1', `ping -n -q -c 1 -W 5 ${addressOf(lab, 'node3', family)}`);
      const shown = await must(lab, 'node1', 'ip -o address show dev kopeio scope global');
      const [, to] = (family === 4 ? /inet ([^/]+)/ : /inet6 ([^/]+)/).exec(shown) ?? [];
      await must(lab, podOf('node3'), `ping -n -q -c 1 -W 5 ${to}`);
    }
  });

  await t.test('who asks for a pod is answered on the own node, also while the other is away', async () => {
    const far = await macOf(lab, 'node3');
    await eventually('node1 knows the far pod', async () =>
      (await forwarding(lab, 'node1')).some(({ mac, master }) => mac === far && master !== undefined),
    );
    await lab.cut('node1', 'node3');
    for (const family of FAMILIES)
      assert.equal(await resolved(lab, podOf('node1'), addressOf(lab, 'node3', family)), far);
    await lab.heal();
    await assertAllReach(lab);
  });

  for (const { what, family, group, to } of CALLS) {
    await t.test(`${what} reaches pods of all nodes, once`, async () => {
      const from = addressOf(lab, 'node1', family);
      const heard = NODES.slice(1).map((node) => {
        const words = [process.execPath, '-e', LISTENER, group, String(family)];
        return lab.exec(podOf(node), words);
      });
      await eventually('they listen', async () => {
        const sockets = await Promise.all(NODES.slice(1).map((node) => must(lab, podOf(node), 'ss -Hlun')));
        return sockets.every((text) => text.includes(':5353'));
      });
      await must(lab, podOf('node1'), 'true');
      const { code, stderr } = await lab.exec(podOf('node1'), [
        process.execPath,
        '-e',
        SPEAKER,
        to,
        String(family),
        from,
      ]);
      assert.equal(code, 0, stderr);
      for (const { stdout } of await Promise.all(heard))
        assert.deepEqual(stdout.trim().split('\n'), ['listens', `hello ${from}`]);
    });
  }

  await t.test('a new pod is reached, and answers, at once', async () => {
    const { addresses } = await lab.addPod('node3', 'late');
    for (const to of addresses) {
      await must(lab, podOf('node1'), `ping -n -q -c 1 -W 5 ${to}`);
      await must(lab, 'late', `ping -n -q -c 1 -W 5 ${addressOf(lab, 'node2', to.includes(':') ? 6 : 4)}`);
    }
    const mac = JSON.parse(await must(lab, 'late', 'ip -j link show dev eth0')) as { address: string }[];
    const isKnown = async (): Promise<boolean> =>
      (await forwarding(lab, 'node1')).some(
        (entry) => entry.mac === mac[0]?.address && entry.dst !== undefined,
      );
    await eventually('node1 is told of it', isKnown);
    await lab.removePod('late');
    await eventually('node1 is told that it is gone', async () => !(await isKnown()));
  });

  await t.test('a pod with another’s addresses is not heard on the segment', async () => {
    const victim = addressOf(lab, 'node2', 4);
    const mac = await macOf(lab, 'node2');
    await must(lab, podOf('node1'), `ip address add ${victim}/16 dev eth0`);
    const claim = `
      const dgram = require('dgram').createSocket('udp4');
      dgram.bind(0, '${victim}', () => dgram.send('x', 9, '${addressOf(lab, 'node3', 4)}', () => dgram.close()));`;
    await lab.exec(podOf('node1'), [process.execPath, '-e', claim]);
    await must(lab, podOf('node1'), `ip address del ${victim}/16 dev eth0`);
    assert.equal(await resolved(lab, podOf('node3'), victim), mac);
    await assertAllReach(lab);
  });

  await t.test('what is lost in the kernel comes back', async () => {
    const far = await macOf(lab, 'node3');
    await must(lab, 'node1', `bridge fdb del ${far} dev ${DEVICE} master`);
    await must(lab, 'node1', `bridge link set dev ${DEVICE} neigh_suppress off`);
    await eventually('the entry is back', async () =>
      (await forwarding(lab, 'node1')).some(({ mac, master }) => mac === far && master !== undefined),
    );
    await eventually('the flag is back', async () =>
      /neigh_suppress on/.test(await must(lab, 'node1', `bridge -d link show dev ${DEVICE}`)),
    );
    await must(lab, 'node1', `ip link del ${DEVICE}`);
    await eventually(
      'the device is back',
      async () => (await lab.exec('node1', ['ip', 'link', 'show', DEVICE])).code === 0,
    );
    await assertAllReach(lab);
  });

  await t.test('a node with half the MTU: its neighbours’ pods are told', async () => {
    const router = routerNetns(lab.name);
    const ports = ['lan0', 'lan1', ...lab.nodes.map(({ port }) => port)];
    for (const port of ports) await run(['ip', '-n', router, 'link', 'set', port, 'mtu', '3000']);
    for (const node of ['node1', 'node3']) await must(lab, node, 'ip link set eth0 mtu 3000');
    // While pods with less are its ports, the bridge has no more than they.
    await lab.removePod(podOf('node1'));
    await eventually('pods get more', async () => {
      const shown = JSON.parse(await must(lab, 'node1', 'ip -j link')) as { ifname: string; mtu: number }[];
      return [DEVICE, 'kopeio'].every((name) =>
        shown.some(({ ifname, mtu }) => ifname === name && mtu === 2950),
      );
    });
    await lab.addPod('node1', 'wide');
    for (const family of FAMILIES) {
      const size = 2950 - (family === 4 ? 28 : 48);
      const ping = (to: string, bytes: number) =>
        lab.exec('wide', `ping -n -c 1 -W 1 -M do -s ${bytes} ${to}`.split(' '));
      await eventually('a packet of the whole MTU', async () => {
        const narrow = await ping(addressOf(lab, 'node2', family), size);
        return narrow.code !== 0 && /mtu ?=? ?1450/.test(narrow.stdout + narrow.stderr);
      });
      assert.equal((await ping(addressOf(lab, 'node2', family), size - 1500)).code, 0);
    }
  });

  await t.test(
    'a restarted agent leaves the device as it is; a node that leaves is forgotten, and comes back',
    async () => {
      const index = async (): Promise<unknown> => {
        const links = JSON.parse(await must(lab, 'node3', `ip -j link show dev ${DEVICE}`)) as {
          ifindex: number;
        }[];
        return links[0]?.ifindex;
      };
      const before = await index();
      await lab.kill('node3');
      const one = lab.nodes.find(({ name }) => name === 'node3');
      const state = join(storePath(lab.name), 'state');
      const file = readdirSync(state, { recursive: true, encoding: 'utf8' }).find((name) =>
        /node\/node3/i.test(name),
      );
      assert.ok(file !== undefined && one !== undefined, readdirSync(state, { recursive: true }).join(' '));
      renameSync(join(state, file), join(storePath(lab.name), '..', 'gone'));
      const remote = one.addresses[4];
      const isKnown = async (): Promise<boolean> =>
        (await forwarding(lab, 'node1')).some(({ dst }) => dst === remote);
      await eventually('it is forgotten', async () => !(await isKnown()));
      await lab.start('node3');
      await eventually('it is back', isKnown);
      assert.equal(await index(), before);
      await assertAllReach(lab);
    },
  );
});
