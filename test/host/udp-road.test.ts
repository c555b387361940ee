/**
 * The road `udp`, the userspace tunnel: labs of real agents on two subnets with a router between, in clear and sealed.
 * Packets go on without agents, by other keys, from another address and over a narrow cable.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Status } from '../../src/api/status.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { allReach, renderMatrix } from '../../src/lab/matrix.ts';
import { labDirectory, routerNetns } from '../../src/lab/topology.ts';
import { namespaceAt, PATIENCE, waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const skip =
  whyNoKernel(['ip', 'ping', 'tcpdump', 'socat']) ??
  (existsSync('/dev/net/tun') ? undefined : 'needs /dev/net/tun (the kernel’s module tun)') ??
  whyNoTartan() ??
  false;
const LINK = 'tartan.udp';
const PORT = 8285;

/** Routed pods have addresses of blocks, those of a bridge of their node's subnet. */
const startUdpLab = (label: string, wiring: 'routed' | 'bridge', udp: object): Promise<Lab> =>
  startLab({
    name: `ut-${label}-${process.pid}`,
    nodes: 3,
    subnets: 2,
    profile: 'flannel',
    settings: {
      network: { ipv6: { range: 'fd00:244::/48' } },
      road: { type: 'udp', udp },
      wiring: { type: wiring },
      addresses: { type: wiring === 'routed' ? 'blocks' : 'subnet' },
    },
    readyMs: 60_000 * PATIENCE,
  });

async function addPods(lab: Lab): Promise<void> {
  for (const { name } of lab.nodes) await lab.addPod(name, podOf(name));
}
const podOf = (node: string): string => `pod-${node}`;

async function assertAllReach(lab: Lab): Promise<void> {
  let reaches = await lab.matrix();
  for (let round = 0; round < 10 && !allReach(reaches); round += 1) reaches = await lab.matrix();
  assert.ok(allReach(reaches), `\n${renderMatrix(reaches)}`);
}

async function must(lab: Lab, where: string, command: string): Promise<string> {
  const { code, stdout, stderr } = await lab.exec(where, command.split(' '));
  assert.equal(code, 0, `${command}: ${stderr}${stdout}`);
  return stdout;
}

const addressOf = (lab: Lab, node: string, family: 4 | 6): string =>
  lab
    .pods()
    .find(({ name }) => name === podOf(node))
    ?.addresses.find((address) => address.includes(':') === (family === 6)) ?? '';

async function statusOf(lab: Lab, node: string): Promise<Status> {
  return JSON.parse((await lab.tartan(node, 'status', '-o', 'json')).stdout) as Status;
}

/** Process of the tunnel of a node: what listens on its socket. */
const tunnelPid = (lab: Lab, node: string): number => {
  const { netns } = lab.nodes.find(({ name }) => name === node) ?? assert.fail(node);
  const all = namespaceAt(netns)
    .ip('netns pids ' + netns)
    .trim()
    .split('\n');
  const found = all.find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'tartan-tunnel');
  return Number(found);
};

/** What the router saw while `work` was done. */
async function capture(lab: Lab, work: () => Promise<void>): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), 'ut-'));
  const file = join(folder, 'capture');
  const words = ['tcpdump', '-Z', 'root', '--immediate-mode', '-U', '-i', 'any', '-w', file];
  const tcpdump = namespaceAt(routerNetns(lab.name)).start(words, { stdio: ['ignore', 'ignore', 'pipe'] });
  const heard: string[] = [];
  tcpdump.stderr?.on('data', (text: Buffer) => heard.push(text.toString()));
  try {
    await waitFor('tcpdump', () => heard.join('').includes('listening'));
    await work();
    const ports = Buffer.from([PORT >> 8, PORT & 255, PORT >> 8, PORT & 255]);
    await waitFor('the capture to hold the tunnel', () => readFileSync(file).includes(ports), 30_000);
  } finally {
    tcpdump.kill('SIGINT');
    await waitFor('tcpdump to end', () => tcpdump.exitCode !== null || tcpdump.signalCode !== null);
  }
  const bytes = readFileSync(file);
  rmSync(folder, { recursive: true });
  return bytes;
}

const PATTERN = 'c0ffee15';
/** Payload as ping repeats it, and whether any pod's address stands in the clear. */
const showsPayload = (bytes: Buffer): boolean => bytes.includes(Buffer.from(PATTERN.repeat(2), 'hex'));

/** Pings and a TCP stream of so many bytes between two pods while `work` is done: none is lost, every byte arrives. */
async function underTraffic(lab: Lab, [from, to]: readonly [string, string], work: () => Promise<void>) {
  const target = addressOf(lab, to, 4);
  const port = 5000;
  const listener = lab.exec(podOf(to), ['sh', '-c', `socat -u TCP-LISTEN:${port},reuseaddr - | wc -c`]);
  await waitFor('the listener', async () => (await must(lab, podOf(to), 'ss -lnt')).includes(`:${port} `));
  const ending = new AbortController();
  const ping = (async () => {
    const counts = { sent: 0, got: 0 };
    while (!ending.signal.aborted) {
      const { stdout } = await lab.exec(podOf(from), `ping -n -q -c 100 -i 0.01 -W 20 ${target}`.split(' '));
      const [, sent = '0', got = '0'] = /(\d+) packets transmitted, (\d+) received/.exec(stdout) ?? [];
      counts.sent += Number(sent);
      counts.got += Number(got);
    }
    return counts;
  })();
  // 20 MB, slowly enough to last, until it is told to stop.
  const stop = join(labDirectory(lab.name), 'stop');
  for (const file of [stop, `${stop}.sent`]) rmSync(file, { force: true });
  const source = `while [ ! -e ${stop} ]; do head -c 100000 /dev/zero; sleep 0.02; done`;
  const stream = lab.exec(podOf(from), [
    'sh',
    '-c',
    `(${source}) | tee ${stop}.sent | socat -u - TCP:${target}:${port}`,
  ]);
  try {
    await waitFor(
      'the stream to flow',
      () => existsSync(`${stop}.sent`) && statSync(`${stop}.sent`).size > 1e6,
      60_000,
    );
    await work();
  } finally {
    ending.abort();
    writeFileSync(stop, '');
  }
  assert.equal((await stream).code, 0);
  const [arrived, counts] = [Number((await listener).stdout), await ping];
  assert.ok(arrived > 0 && arrived === statSync(`${stop}.sent`).size, `${arrived} bytes arrived`);
  return counts;
}

const assertNoneLost = ({ sent, got }: { sent: number; got: number }): void => {
  assert.ok(sent >= 100);
  assert.equal(got, sent, `${sent - got} of ${sent} pings were lost`);
};

test('the road udp, in clear', { skip }, async (t) => {
  await using lab = await startUdpLab('plain', 'routed', {});
  await addPods(lab);
  const [one, two, three] = lab.nodes.map(({ name }) => name);
  assert.ok(one !== undefined && two !== undefined && three !== undefined);

  await t.test('every pod reaches every pod, in both families', () => assertAllReach(lab));

  await t.test('packets of the whole MTU pass, larger ones are refused', async () => {
    const to = addressOf(lab, three, 4);
    const ping = (size: number) =>
      lab.exec(podOf(one), `ping -n -c 2 -W 5 -M do -s ${size - 28} ${to}`.split(' '));
    assert.equal((await ping(1448)).code, 0);
    assert.notEqual((await ping(1449)).code, 0);
  });

  await t.test('a capture shows what it is to show: the clear payload', async () => {
    const bytes = await capture(lab, async () => {
      await must(lab, podOf(one), `ping -n -c 3 -i 0.2 -W 5 -p ${PATTERN} ${addressOf(lab, three, 4)}`);
    });
    assert.ok(showsPayload(bytes));
  });

  await t.test('status tells of the tunnel and its peers', async () => {
    const { peers, items } = await statusOf(lab, one);
    assert.deepEqual(
      peers.map(({ name, road }) => [name, road]),
      [
        [two, 'udp'],
        [three, 'udp'],
      ],
    );
    for (const { tunnel } of peers) {
      assert.ok(tunnel !== undefined && tunnel.receivedBytes > 0 && tunnel.sentBytes > 0);
      assert.equal(tunnel.mtu, 1448);
    }
    assert.ok(items.some(({ text, seen }) => text.startsWith('tunnel on') && seen === 'ok'));
    const { stdout } = await lab.tartan(one, 'status');
    assert.match(stdout, /Userspace tunnel/);
  });

  await t.test('packets from strangers do not come in', async () => {
    // From an address of the underlay that no node has: the guard drops it before the tunnel's process sees it.
    const router = namespaceAt(routerNetns(lab.name));
    const node = lab.nodes.find(({ name }) => name === one)?.addresses[4];
    await router.must(['sh', '-c', `echo 0123456789012345678901234567890 | socat -u - UDP:${node}:${PORT}`]);
    await waitFor('the guard to count it', async () =>
      /udp dport 8285 ip saddr != @peers4 counter packets [1-9]/.test(
        await must(lab, one, 'nft list table inet tartan'),
      ),
    );
  });

  await t.test('a node with half the MTU: IPv4 goes on by its own size, of IPv6 is told', async () => {
    const { port, netns } = lab.nodes.find(({ name }) => name === three) ?? assert.fail();
    const [router, node] = [namespaceAt(routerNetns(lab.name)), namespaceAt(netns)];
    node.ip('link set eth0 mtu 750');
    router.ip(`link set ${port} mtu 750`);
    const largest = 750 - 52;
    const to = addressOf(lab, three, 4);
    await waitFor(
      'the route to the narrow node',
      async () => (await must(lab, one, 'ip -4 route show dev tartan.udp')).includes(`mtu ${largest}`),
      60_000,
    );
    await waitFor(
      'a ping in fragments',
      async () => {
        const { code } = await lab.exec(podOf(one), `ping -n -c 1 -W 2 -s 2000 ${to}`.split(' '));
        return code === 0;
      },
      60_000,
    );
    const { peers } = await statusOf(lab, one);
    assert.match(peers.find(({ name }) => name === three)?.why ?? '', /IPv6 needs 1280/);
    assertNoneLost(await underTraffic(lab, [one, two], () => Promise.resolve()));
    node.ip('link set eth0 mtu 1500');
    router.ip(`link set ${port} mtu 1500`);
    for (const line of [
      `address replace ${lab.nodes[2]?.addresses[6]}/64 dev eth0 nodad`,
      '-6 route replace default via fd00:2::1',
    ])
      node.ip(line);
    await assertAllReach(lab);
  });

  await t.test('another road: the process ends, the device goes', async () => {
    const pid = tunnelPid(lab, one);
    assert.ok(pid > 0);
    const file = lab.nodes.find(({ name }) => name === one)?.paths.settings ?? '';
    writeFileSync(file, readFileSync(file, 'utf8').replace('type: udp', 'type: vxlan'));
    await lab.start(one);
    await waitFor('the process to end', () => !existsSync(`/proc/${pid}`), 30_000);
    assert.doesNotMatch(await must(lab, one, 'ip link show'), new RegExp(LINK));
  });
});

test('the road udp, sealed with a key per node', { skip }, async (t) => {
  await using lab = await startUdpLab('sealed', 'bridge', { cipher: 'aes-256-gcm', strict: true });
  await addPods(lab);
  const [one, two, three] = lab.nodes.map(({ name }) => name);
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  const keyFile = (node: string): string => join(labDirectory(lab.name), node, 'state/tunnel.key');

  await t.test('every pod reaches every pod, in both families', () => assertAllReach(lab));

  await t.test(
    'nothing of a packet is seen on the way, while agents and processes are killed and come again',
    async () => {
      const bytes = await capture(lab, async () => {
        const ping = lab.exec(
          podOf(one),
          `ping -n -c 200 -i 0.02 -W 5 -p ${PATTERN} -s 400 ${addressOf(lab, three, 4)}`.split(' '),
        );
        process.kill(tunnelPid(lab, three), 'SIGKILL');
        await lab.kill(one);
        await lab.start(one);
        assert.match((await ping).stdout, /bytes from/);
      });
      assert.ok(!showsPayload(bytes), 'no payload');
      for (const node of [one, three]) {
        const pod = addressOf(lab, node, 4).split('.').map(Number);
        assert.ok(!bytes.includes(Buffer.from(pod)), `no address of ${node}'s pod`);
      }
    },
  );

  await t.test('strict: what would go past the tunnel is dropped, with the agent and without', async () => {
    const [far, router] = [addressOf(lab, three, 4), namespaceAt(routerNetns(lab.name))];
    const { addresses } = lab.nodes.find(({ name }) => name === three) ?? assert.fail();
    router.ip(`route add ${far} via ${addresses[4]}`);
    const isSeen = async (): Promise<boolean> => {
      const bytes = await capture(lab, async () => {
        await lab.kill(one);
        await must(lab, one, `ip route add ${far} via 192.168.10.1`);
        const { code } = await lab.exec(
          podOf(one),
          `ping -n -c 3 -i 0.2 -W 1 -p ${PATTERN} ${far}`.split(' '),
        );
        assert.notEqual(code, 0);
        await must(lab, podOf(two), `ping -n -c 1 -W 5 ${far}`);
      });
      return showsPayload(bytes);
    };
    assert.equal(await isSeen(), false);
    await must(lab, one, `ip route del ${far} via 192.168.10.1`);
    router.ip(`route del ${far}`);
    await lab.start(one);
    await assertAllReach(lab);
  });

  await t.test('the private key is in one file that others cannot read, and nowhere else', async () => {
    assert.equal(statSync(keyFile(one)).mode & 0o777, 0o600);
    const secret = readFileSync(keyFile(one), 'utf8').trim();
    const files = await must(lab, one, `grep -rlF ${secret} ${labDirectory(lab.name)}`);
    assert.deepEqual(files.trim().split('\n'), [keyFile(one)]);
    const { stdout } = await lab.tartan(one, 'status', '-o', 'json');
    assert.ok(stdout.includes(LINK) && !stdout.includes(secret));
  });

  await t.test(
    'agents killed and started again: the process stays, no ping is lost, TCP goes on',
    async () => {
      const pids = [one, three].map((node) => tunnelPid(lab, node));
      const counts = await underTraffic(lab, [one, three], async () => {
        for (const node of [one, three]) await lab.kill(node);
        await new Promise((resolve) => setTimeout(resolve, 1000));
        for (const node of [one, three]) await lab.start(node);
      });
      assertNoneLost(counts);
      assert.deepEqual(
        [one, three].map((node) => tunnelPid(lab, node)),
        pids,
      );
    },
  );

  await t.test('a new key under load: added, known to all, the old one taken away', async () => {
    const shown = async (node: string): Promise<string> => (
      await must(lab, node, 'true'),
      (await lab.tartan(node, 'status', '-o', 'json')).stdout
    );
    const old = readFileSync(keyFile(one), 'utf8').trim();
    const [fresh, known] = newKey();
    const write = (...lines: string[]): void => {
      writeFileSync(`${keyFile(one)}.new`, `${lines.join('\n')}\n`, { mode: 0o600 });
      renameSync(`${keyFile(one)}.new`, keyFile(one));
    };
    const counts = await underTraffic(lab, [one, three], async () => {
      write(fresh, old);
      for (const node of [two, three])
        await waitFor(`${node} to know the key`, async () => (await shown(node)).includes(known), 90_000);
      await waitFor(
        'sessions with the new key',
        async () => {
          const { peers } = await statusOf(lab, one);
          return peers.every(({ tunnel }) => tunnel?.newestKeys === true);
        },
        90_000,
      );
      write(fresh);
      await waitFor(
        'the old key to be forgotten',
        async () => {
          const { items } = await statusOf(lab, three);
          return items.some(({ text }) => text.includes(`keys ${known} `));
        },
        90_000,
      );
    });
    assertNoneLost(counts);
  });

  await t.test('a node that gets another address is found there', async () => {
    const { netns, addresses } = lab.nodes.find(({ name }) => name === three) ?? assert.fail();
    const node = namespaceAt(netns);
    const moved = addresses[4].replace(/\d+$/, '77');
    node.ip(`addr add ${moved}/24 dev eth0`);
    node.ip(`addr del ${addresses[4]}/24 dev eth0`);
    node.ip(`addr replace ${moved}/24 dev eth0`);
    node.ip('route replace default via 192.168.20.1');
    await waitFor(
      'its peers to know',
      async () => {
        const { items } = await statusOf(lab, one);
        return items.some(({ text }) => text.includes(`endpoint ${moved}:`));
      },
      60_000,
    );
    await assertAllReach(lab);
  });
});

test(
  'the road udp with a password: it comes from a file, and two that differ do not meet',
  { skip },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ut-password-'));
    const file = join(folder, 'password');
    writeFileSync(file, 'correct horse\n', { mode: 0o600 });
    try {
      await using lab = await startLab({
        name: `ut-word-${process.pid}`,
        nodes: 2,
        subnets: 1,
        profile: 'canal',
        settings: {
          policy: { enforce: false },
          road: { type: 'udp', udp: { cipher: 'chacha20-poly1305', passwordFile: file } },
        },
        readyMs: 60_000 * PATIENCE,
      });
      await addPods(lab);
      await assertAllReach(lab);
      const [one, two] = lab.nodes.map(({ name }) => name);
      assert.ok(one !== undefined && two !== undefined);
      // Another word for one node alone: its settings name another file.
      const other = join(folder, 'other');
      writeFileSync(other, 'battery staple\n', { mode: 0o600 });
      const settings = lab.nodes[0]?.paths.settings ?? '';
      writeFileSync(settings, readFileSync(settings, 'utf8').replace(file, other));
      await lab.start(one);
      const ping = `ping -n -c 2 -i 0.2 -W 1 ${addressOf(lab, two, 4)}`.split(' ');
      assert.notEqual((await lab.exec(podOf(one), ping)).code, 0);
      writeFileSync(other, 'correct horse\n', { mode: 0o600 });
      await assertAllReach(lab);
      // Uninstalled without an agent, the process goes too.
      const pid = tunnelPid(lab, two);
      await lab.kill(two);
      assert.ok(existsSync(`/proc/${pid}`));
      const { code, stderr } = await lab.tartan(two, 'uninstall', '--purge');
      assert.equal(code, 0, stderr);
      await waitFor('the process to end', () => !existsSync(`/proc/${pid}`), 30_000);
      assert.doesNotMatch(await must(lab, two, 'ip link show'), new RegExp(LINK));
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

/** Private and public, in base64. */
function newKey(): [string, string] {
  const { d = '', x = '' } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
  const text = (part: string): string => Buffer.from(part, 'base64url').toString('base64');
  return [text(d), text(x)];
}
