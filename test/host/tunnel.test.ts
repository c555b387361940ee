/** The userspace tunnel with real devices and sockets: packets of both families over both, keys, MTU, roaming, restarts. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { encodeKey, keyPairFrom } from '../../src/tunnel/keys.ts';
import { overheadOf } from '../../src/tunnel/frame.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import {
  DEVICE,
  innerAddress,
  makeNet,
  MTU,
  outerAddress,
  peerOf,
  PORT,
  pings,
  type Running,
  startNode,
  type StartOptions,
  type TunnelNet,
  type TunnelNode,
} from './tunnel-net.ts';

const skip =
  whyNoKernel(['ip', 'socat', 'ping', 'tcpdump', 'nft']) ??
  (existsSync('/dev/net/tun') ? false : 'needs /dev/net/tun (the kernel’s module tun)');

const rawKeys = [0, 1, 2, 3].map((number) => createHash('sha256').update(`node ${number}`).digest());
const publicKey = (number: number): string =>
  encodeKey(keyPairFrom(rawKeys[number] ?? Buffer.alloc(0)).publicKey);
const privateKey = (number: number): string => encodeKey(rawKeys[number] ?? Buffer.alloc(0));

const keyed = (self: number, peers: readonly number[], outer: 4 | 6 = 4): StartOptions => ({
  cipher: 'aes-256-gcm',
  secrets: { privateKeys: [privateKey(self)] },
  peers: peers.map((number) => peerOf(number, { outer, publicKeys: [publicKey(number)] })),
});

/** Sends a file over TCP and compares. */
async function transfers(from: TunnelNode, to: TunnelNode, family: 4 | 6, bytes: Buffer): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tunnel-'));
  try {
    const [sent, got] = [join(folder, 'sent'), join(folder, 'got')];
    writeFileSync(sent, bytes);
    const port = 5000;
    const listener = to.netns.start([
      'socat',
      '-u',
      `TCP${family}-LISTEN:${port},reuseaddr`,
      `CREATE:${got}`,
    ]);
    await waitFor('the listener', async () => (await to.netns.must(['ss', '-lnt'])).includes(`:${port} `));
    const target = family === 4 ? innerAddress(to.number, 4) : `[${innerAddress(to.number, 6)}]`;
    await from.netns.must(['socat', '-u', `FILE:${sent}`, `TCP${family}:${target}:${port}`], {
      timeoutMs: 60_000,
    });
    await waitFor('the last byte', () => listener.exitCode !== null, 30_000);
    assert.ok(readFileSync(got).equals(bytes), 'what arrived is what was sent');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const hasSession = async (running: Running): Promise<boolean> =>
  (await running.status()).peers.every(({ sessionMs }) => sessionMs !== undefined);
const pathIs = async (running: Running, mtu: number): Promise<boolean> =>
  (await running.status()).peers.every((peer) => peer.path === 'complete' && peer.mtu === mtu);

describe('userspace tunnel', { skip }, () => {
  let net: TunnelNet;
  let [one, two, three]: TunnelNode[] = [];
  let running: Running[] = [];

  before(async () => {
    net = await makeNet(3);
    [one, two, three] = net.nodes;
  });
  after(() => net.remove());

  const all = (): readonly [TunnelNode, TunnelNode, TunnelNode] => {
    assert.ok(one !== undefined && two !== undefined && three !== undefined);
    return [one, two, three];
  };
  /** Tunnels on the nodes, in order, for the length of `work`. */
  async function withTunnels(
    options: readonly StartOptions[],
    work: (running: readonly Running[]) => Promise<void>,
  ): Promise<void> {
    running = [];
    try {
      for (const [index, option] of options.entries()) {
        const node = net.nodes[index];
        if (node !== undefined) running.push(await startNode(node, option));
      }
      await work(running);
    } finally {
      await Promise.all(running.map((one) => one.stop()));
    }
  }

  const large = randomBytes(4 << 20);
  const SETTINGS: Readonly<Record<string, (self: number, peer: number, outer: 4 | 6) => StartOptions>> = {
    plain: (_, peer, outer) => ({ peers: [peerOf(peer, { outer })] }),
    'AES-256-GCM, a key per node': (self, peer, outer) => keyed(self, [peer], outer),
    'ChaCha20-Poly1305, a password': (_, peer, outer) => ({
      cipher: 'chacha20-poly1305',
      secrets: { passwords: ['correct horse'] },
      peers: [peerOf(peer, { outer })],
    }),
  };

  for (const [what, optionsOf] of Object.entries(SETTINGS))
    for (const outer of [4, 6] as const)
      test(`${what}, over IPv${outer}: ping, TCP and UDP of both families, large and small`, async () => {
        const [one, two] = all();
        await withTunnels([optionsOf(1, 2, outer), optionsOf(2, 1, outer)], async () => {
          for (const family of [4, 6] as const) {
            assert.ok(await pings(one, 2, family), `ping over IPv${family}`);
            const header = family === 4 ? 28 : 48;
            assert.ok(await pings(one, 2, family, ['-M', 'do', '-s', String(MTU - header)]), 'the largest');
            await transfers(one, two, family, large);
          }
        });
      });

  test('under a key nothing of a packet is seen on the way, and no address of a pod', async () => {
    const [one] = all();
    const folder = mkdtempSync(join(tmpdir(), 'tunnel-'));
    const capture = join(folder, 'capture');
    const ports = Buffer.from([PORT >> 8, PORT & 255, PORT >> 8, PORT & 255]);
    await withTunnels([keyed(1, [2]), keyed(2, [1])], async () => {
      const tcpdump = net.router.start(
        ['tcpdump', '-Z', 'root', '--immediate-mode', '-U', '-i', 'any', '-w', capture],
        {
          stdio: ['ignore', 'ignore', 'pipe'],
        },
      );
      const heard: string[] = [];
      tcpdump.stderr?.on('data', (text: Buffer) => heard.push(text.toString()));
      await waitFor('tcpdump', () => heard.join('').includes('listening'));
      assert.ok(await pings(one, 2, 4, ['-p', 'c0ffee15', '-s', '400']));
      await waitFor('the capture to hold the tunnel', () => readFileSync(capture).includes(ports), 30_000);
      tcpdump.kill('SIGINT');
      await waitFor('tcpdump to end', () => tcpdump.exitCode !== null || tcpdump.signalCode !== null);
    });
    const bytes = readFileSync(capture);
    rmSync(folder, { recursive: true });
    assert.ok(!bytes.includes(Buffer.from('c0ffee15c0ffee15', 'hex')), 'no payload');
    assert.ok(!bytes.includes(Buffer.from([10, 77, 1, 1, 10, 77, 2, 1])), 'no inner addresses');
  });

  test('a narrow path is found; senders are told, what may be cut is cut, and TCP goes through', async () => {
    const [one, two] = all();
    const narrow = 1400;
    net.router.ip(`link set n2 mtu ${narrow}`);
    two.netns.ip(`link set eth0 mtu ${narrow}`);
    try {
      const inner = narrow - overheadOf(4, true);
      await withTunnels([keyed(1, [2]), keyed(2, [1])], async ([first, second]) => {
        assert.ok(first !== undefined && second !== undefined);
        await waitFor('the path of node 1', () => pathIs(first, inner), 120_000);
        await waitFor('the path of node 2', () => pathIs(second, inner), 120_000);
        assert.ok(await pings(one, 2, 4, ['-M', 'do', '-s', String(inner - 28)]), 'what fits goes whole');
        const refused = await one.netns.run([
          'ping',
          '-n',
          '-c',
          '1',
          '-W',
          '2',
          '-M',
          'do',
          '-s',
          String(inner - 27),
          innerAddress(2, 4),
        ]);
        assert.match(
          refused.stdout,
          new RegExp(`mtu.?=.?${inner}`),
          'one byte more is refused, with the MTU',
        );
        assert.ok(await pings(one, 2, 4, ['-M', 'dont', '-s', '3000']), 'without DF it is cut');
        assert.ok(
          await pings(one, 2, 6, ['-c', '4', '-M', 'want', '-s', '1360']),
          'IPv6 is cut by its sender',
        );
        for (const family of [4, 6] as const) await transfers(one, two, family, large);
      });
    } finally {
      net.router.ip('link set n2 mtu 1500');
      two.netns.ip('link set eth0 mtu 1500');
    }
  });

  test('a path that becomes narrower, or wider, is noticed: by a router’s word, by the kernel’s, by trying', async () => {
    const [one, two] = all();
    const times = { confirmMs: 600_000, raiseMs: 3000 };
    const inner = 1400 - overheadOf(4, true);
    await withTunnels(
      [
        { ...keyed(1, [2]), times },
        { ...keyed(2, [1]), times },
      ],
      async (running) => {
        for (const side of running) await waitFor('the whole MTU', () => pathIs(side, MTU), 60_000);
        net.router.ip('link set n2 mtu 1400');
        two.netns.ip('link set eth0 mtu 1400');
        try {
          // Both lose what is too large, and learn it from the router and from the own kernel.
          const fill = ['-c', '1', '-W', '1', '-s', String(MTU - 28)];
          const narrowed = async (): Promise<boolean> => {
            await pings(one, 2, 4, fill);
            await pings(two, 1, 4, fill);
            return (await Promise.all(running.map((side) => pathIs(side, inner)))).every(Boolean);
          };
          await waitFor('the narrower path', narrowed, 120_000);
          await transfers(two, one, 4, large);
        } finally {
          net.router.ip('link set n2 mtu 1500');
          two.netns.ip('link set eth0 mtu 1500');
        }
        for (const side of running) await waitFor('the whole MTU again', () => pathIs(side, MTU), 120_000);
      },
    );
  });

  test('a node with half the MTU: IPv6 gets its 1280 bytes all the same', async () => {
    const [one, two] = all();
    const half = 750;
    net.router.ip(`link set n2 mtu ${half}`);
    two.netns.ip(`link set eth0 mtu ${half}`);
    try {
      await withTunnels([keyed(1, [2]), keyed(2, [1])], async (running) => {
        for (const side of running)
          await waitFor('the path', () => pathIs(side, half - overheadOf(4, true)), 120_000);
        assert.ok(await pings(one, 2, 6, ['-M', 'do', '-s', '1232']), '1280 bytes, whole');
        assert.ok(await pings(one, 2, 4, ['-M', 'dont', '-s', '3000']));
        for (const family of [4, 6] as const) await transfers(one, two, family, large.subarray(0, 1 << 20));
      });
    } finally {
      net.router.ip('link set n2 mtu 1500');
      two.netns.ip('link set eth0 mtu 1500');
      // Below 1280 the kernel takes IPv6 from a link.
      net.router.ip(`addr replace ${outerAddress(2, 6, 1)}/64 dev n2 nodad`);
      two.netns.ip(`addr replace ${outerAddress(2, 6)}/64 dev eth0 nodad`);
      two.netns.ip(`-6 route replace default via ${outerAddress(2, 6, 1)}`);
    }
  });

  test('a peer that gets another address is followed, and nothing but its packets moved it', async () => {
    const [one, two] = all();
    await withTunnels([keyed(1, [2]), keyed(2, [1])], async ([first, second]) => {
      assert.ok(first !== undefined && second !== undefined);
      assert.ok(await pings(one, 2, 4));
      one.netns.ip(`addr add ${outerAddress(1, 4, 9)}/24 dev eth0`);
      one.netns.ip(`addr del ${outerAddress(1, 4)}/24 dev eth0`);
      one.netns.ip(`addr add ${outerAddress(1, 4, 9)}/24 dev eth0`);
      one.netns.ip(`route replace default via ${outerAddress(1, 4, 1)}`);
      try {
        assert.ok(await pings(one, 2, 4), 'the first packet from there is enough');
        const [peer] = (await second.status()).peers;
        assert.equal(peer?.endpoint?.address, outerAddress(1, 4, 9));
        assert.ok(await pings(two, 1, 4));
      } finally {
        one.netns.ip(`addr flush dev eth0 scope global`);
        for (const family of [4, 6] as const) {
          one.netns.ip(`addr add ${outerAddress(1, family)}/${family === 4 ? 24 : 64} dev eth0`);
          one.netns.ip(`-${family} route replace default via ${outerAddress(1, family, 1)}`);
        }
      }
    });
  });

  test('a side that is killed and starts again carries packets again; a kept device keeps its routes', async () => {
    const [one, two] = all();
    await withTunnels([{ ...keyed(1, [2]), keepDevice: true }, keyed(2, [1])], async ([first]) => {
      assert.ok(first !== undefined);
      assert.ok(await pings(one, 2, 4));
      await first.kill();
      assert.match(one.netns.ip('route show'), /10\.77\.0\.0\/16 dev tun0/);
      running[0] = await startNode(one, keyed(1, [2]));
      await waitFor('a ping from the one that never stopped', () => pings(two, 1, 4), 30_000);
      assert.ok(await pings(one, 2, 6));
    });
    assert.doesNotMatch(one.netns.ip('link show'), new RegExp(DEVICE), 'the last one takes the device along');
  });

  test('keys change every half second under 100 pings a second, secrets too, and none is lost', async () => {
    const [one] = all();
    const fast = { rekeyMs: 500, rejectMs: 2000 };
    const passwords = (...words: string[]): { passwords: string[] } => ({ passwords: words });
    const options = (peer: number): StartOptions => ({
      cipher: 'aes-256-gcm',
      secrets: passwords('old'),
      peers: [peerOf(peer)],
      times: fast,
    });
    await withTunnels([options(2), options(1)], async ([first, second]) => {
      assert.ok(first !== undefined && second !== undefined);
      await waitFor('a session', () => hasSession(first), 30_000);
      const words = ['ping', '-n', '-q', '-c', '800', '-i', '0.01', '-W', '10', innerAddress(2, 4)];
      const flood = one.netns.run(words, { timeoutMs: 120_000 });
      const sessions = (side: Running): number => side.said.filter(({ event }) => event === 'session').length;
      for (const secrets of [passwords('old', 'new'), passwords('new', 'old'), passwords('new')])
        for (const side of [first, second]) {
          // An operator waits, too, until nothing is in use that was made before.
          const before = [first, second].map(sessions);
          side.tell({ do: 'secrets', secrets });
          await waitFor(
            'sessions of both sides’ making',
            () => sessions(first) >= (before[0] ?? 0) + 3 && sessions(second) >= (before[1] ?? 0) + 3,
            30_000,
          );
        }
      const { stdout } = await flood;
      assert.match(
        stdout,
        /800 packets transmitted, 800 received/,
        `${stdout}${JSON.stringify(await second.status())}`,
      );
    });
  });

  test('another key: no session, no packet, and no key in anything that is said', async () => {
    const [one] = all();
    const wrong: StartOptions = { ...keyed(1, [2]), secrets: { privateKeys: [privateKey(3)] } };
    await withTunnels([wrong, keyed(2, [1])], async (running) => {
      const argv = ['ping', '-n', '-q', '-c', '3', '-i', '0.2', '-W', '1', innerAddress(2, 4)];
      assert.notEqual((await one.netns.run(argv)).code, 0);
      for (const side of running) {
        assert.equal(await hasSession(side), false);
        const said = JSON.stringify(side.said) + side.errors.join('');
        for (const key of rawKeys) {
          assert.ok(!said.includes(key.toString('base64')));
          assert.ok(!said.includes(key.toString('hex')));
        }
      }
    });
  });

  test('a stranger’s packets, and a peer’s from somebody else’s address, go nowhere', async () => {
    const [, two, three] = all();
    const knows = (...peers: number[]): StartOptions => ({ peers: peers.map((number) => peerOf(number)) });
    await withTunnels([knows(2), knows(1), knows(2)], async ([, second]) => {
      assert.ok(second !== undefined);
      const argv = ['ping', '-n', '-q', '-c', '2', '-i', '0.2', '-W', '1', innerAddress(2, 4)];
      assert.notEqual((await three.netns.run(argv)).code, 0);
      const { counters } = await second.status();
      assert.ok(counters.unknownPeer > 0);
      // Now node 3 is a peer, but says that its packets come from node 1.
      second.tell({ do: 'peers', peers: [peerOf(1), peerOf(3)] });
      three.netns.ip(`addr add ${innerAddress(1, 4)}/32 dev ${DEVICE}`);
      const spoofed = ['ping', '-n', '-q', '-c', '2', '-i', '0.2', '-W', '1', '-I', innerAddress(1, 4)];
      assert.notEqual((await three.netns.run([...spoofed, innerAddress(2, 4)])).code, 0);
      const { peers } = await second.status();
      assert.ok((peers.find(({ name }) => name === 'node3')?.counters.foreignSource ?? 0) > 0);
      assert.ok(await pings(three, 2, 4), 'from its own address it is heard');
      assert.ok(await pings(two, 3, 6));
    });
  });

  test('a device that is deleted under it is told of', async () => {
    const [one] = all();
    await withTunnels([keyed(1, [2])], async ([first]) => {
      assert.ok(first !== undefined);
      one.netns.ip(`link del ${DEVICE}`);
      await waitFor('the event', () => first.said.some(({ event }) => event === 'failed'), 30_000);
    });
  });

  test('three nodes; one in twenty datagrams is lost, and TCP still goes through', async () => {
    const [one, two] = all();
    const options = (self: number): StartOptions =>
      keyed(
        self,
        [1, 2, 3].filter((peer) => peer !== self),
      );
    await withTunnels([options(1), options(2), options(3)], async () => {
      for (const [from, to] of [
        [one, 2],
        [one, 3],
        [two, 3],
      ] as const)
        assert.ok(await pings(from, to, 4));
      const rule = `table inet lossy {
        chain f {
          type filter hook forward priority 0
          udp dport ${PORT} numgen random mod 100 < 5 drop
        }
      }`;
      await net.router.must(['nft', '-f', '-'], { input: rule });
      try {
        await transfers(one, two, 4, large.subarray(0, 1 << 20));
      } finally {
        await net.router.must(['nft', 'delete', 'table', 'inet', 'lossy']);
      }
    });
  });
});
