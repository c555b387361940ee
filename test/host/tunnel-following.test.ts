/**
 * The tunnel's process: one follows another while packets go, without losing any; a killed one is missed for a moment; the
 * orders that it refuses. Node 1 has the process, node 2 a tunnel of a test's own.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findProcess } from '../../src/tunnel/client.ts';
import { encodeKey, keyPairFrom } from '../../src/tunnel/keys.ts';
import type { LineClient } from '../../src/tunnel/lines.ts';
import type { Look, Order } from '../../src/tunnel/order.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import {
  addRoutes,
  DEVICE,
  innerAddress,
  makeNet,
  MTU,
  peerOf,
  pings,
  PORT,
  type Running,
  startNode,
  type TunnelNet,
  type TunnelNode,
} from './tunnel-net.ts';

const skip =
  whyNoKernel(['ip', 'ping']) ??
  (existsSync('/dev/net/tun') ? false : 'needs /dev/net/tun (the kernel’s module tun)');

const DAEMON = join(import.meta.dirname, '../../src/tunnel/daemon.ts');
const PROGRAM = [process.execPath, DAEMON];

const keys = [1, 2].map((number) => createHash('sha256').update(`follower ${number}`).digest());
const privateKey = (number: number): string => encodeKey(keys[number - 1] ?? Buffer.alloc(0));
const publicKey = (number: number): string =>
  encodeKey(keyPairFrom(keys[number - 1] ?? Buffer.alloc(0)).publicKey);

function orderOf(cipher: Order['cipher'], more: Partial<Order> = {}): Order {
  const { endpoint, name, prefixes } = peerOf(2);
  return {
    node: 'node1',
    device: DEVICE,
    mtu: MTU,
    port: PORT,
    cipher,
    ...(cipher === 'plain' ? {} : { secrets: { mode: 'keys', own: [privateKey(1)] } }),
    peers: [
      { name, prefixes, ...(endpoint && { endpoint }), publicKeys: cipher === 'plain' ? [] : [publicKey(2)] },
    ],
    ...more,
  };
}

describe('the tunnel’s process', { skip }, () => {
  let net: TunnelNet;
  let one: TunnelNode;
  let two: TunnelNode;
  let directory: string;
  let client: LineClient;
  let other: Running | undefined;
  const socket = (): string => join(directory, 'tunnel.sock');
  const look = (): Promise<Look> => client.ask<Look>({ do: 'look' });

  async function meet(): Promise<void> {
    client = await waitFor(
      'the process',
      () => findProcess({ socket: socket(), onEvent: () => undefined }),
      30_000,
    );
  }
  async function begin(): Promise<void> {
    one.netns.start([...PROGRAM, 'serve', socket()], { detached: true });
    await meet();
  }
  async function carry(cipher: Order['cipher']): Promise<void> {
    await client.ask({ do: 'carry', order: orderOf(cipher) });
    addRoutes(one);
    await other?.stop();
    other = await startNode(
      two,
      cipher === 'plain'
        ? { peers: [peerOf(1)] }
        : {
            cipher,
            secrets: { privateKeys: [privateKey(2)] },
            peers: [peerOf(1, { publicKeys: [publicKey(1)] })],
          },
    );
    await waitFor('a ping', () => pings(one, 2, 4), 30_000);
  }

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tunnel-following-'));
    net = await makeNet(2);
    const [first, second] = net.nodes;
    assert.ok(first !== undefined && second !== undefined);
    [one, two] = [first, second];
    one.netns.ip(`tuntap add ${DEVICE} mode tun vnet_hdr`);
    await begin();
  });
  after(async () => {
    await client?.ask({ do: 'end' }).catch(() => undefined);
    await other?.stop();
    net?.remove();
    rmSync(directory, { recursive: true });
  });

  test('what cannot be carried is refused with its reason, and what is carried then is shown without secrets', async () => {
    await assert.rejects(client.ask({ do: 'carry', order: orderOf('plain', { device: 'nowhere' }) }), {
      code: 'ENODEV',
    });
    await assert.rejects(
      client.ask({ do: 'carry', order: { ...orderOf('aes-256-gcm'), secrets: undefined } as never }),
      {
        message: /needs secrets/,
      },
    );
    await carry('aes-256-gcm');
    const shown = JSON.stringify(await look());
    assert.ok(shown.includes('"aes-256-gcm"') && shown.includes('"node2"'));
    assert.ok(!shown.includes(privateKey(1)));
  });

  for (const cipher of ['aes-256-gcm', 'plain'] as const)
    test(`${cipher}: one follows another under 200 pings a second, and none is lost`, async () => {
      await carry(cipher);
      const words = ['ping', '-n', '-q', '-c', '1000', '-i', '0.005', '-W', '20', innerAddress(2, 4)];
      const flood = one.netns.run(words, { timeoutMs: 120_000 });
      for (let turn = 0; turn < 3; turn += 1) {
        const was = await look();
        assert.equal(was.status?.peers[0]?.sessionMs === undefined, cipher === 'plain');
        // It ends before it could answer.
        await assert.rejects(client.ask({ do: 'follow', program: PROGRAM }), /has ended/);
        await meet();
        const is = await look();
        assert.notEqual(is.pid, was.pid);
        const age = is.status?.peers[0]?.sessionMs;
        if (cipher !== 'plain') assert.ok(age !== undefined && age > (was.status?.peers[0]?.sessionMs ?? 0));
      }
      assert.match((await flood).stdout, /1000 packets transmitted, 1000 received/);
      assert.ok(await pings(one, 2, 6));
    });

  test('a program that does not come up leaves everything as it is', async () => {
    const { pid } = await look();
    await assert.rejects(client.ask({ do: 'follow', program: ['/bin/false'] }), /ended before it said up/);
    await assert.rejects(client.ask({ do: 'follow', program: ['/nowhere'] }), /ended before|ENOENT/);
    assert.equal((await look()).pid, pid);
    assert.ok(await pings(one, 2, 4));
  });

  test('a device that is deleted and made again is taken up again', async () => {
    one.netns.ip(`link del ${DEVICE}`);
    one.netns.ip(`tuntap add ${DEVICE} mode tun vnet_hdr`);
    await waitFor('the tunnel', async () => (await look()).status !== undefined, 30_000);
    addRoutes(one);
    assert.ok(await pings(one, 2, 4));
  });

  test('killed: routes and device stay, and the next one carries what it is told', async () => {
    const { pid } = await look();
    process.kill(pid, 'SIGKILL');
    await client.closed;
    assert.match(one.netns.ip('route show'), new RegExp(`dev ${DEVICE}`));
    await begin();
    await client.ask({ do: 'carry', order: orderOf('plain') });
    assert.ok(await pings(one, 2, 4));
  });

  test('asked to end, it is gone, and so is its socket', async () => {
    await client.ask({ do: 'end' });
    await client.closed;
    await waitFor('the socket to go', () => !existsSync(socket()), 10_000);
  });
});
