/**
 * Nothing passes between pods of one bridge beside the policy table: frames of every kind, written byte by byte, with each
 * of the two guards (isolated ports, the bridge's own table) alone. And what the bridge says for others disturbs nobody:
 * duplicate address detection and gratuitous ARP go on as they should.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { address, addressBytes } from '#net/address.ts';
import { createBook } from '#policy/book.ts';
import { makePolicy } from '#policy/testing/rules.ts';
import { makeFlow } from '#policy/testing/world.ts';
import { at, BRIDGE, type BridgeNode, makeBridgeNode, type Wish, WORLD } from './bridge-node.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { firstPacket } from './policy-wire.ts';

const skip = whyNoKernel(['ip', 'ping', 'nft', 'nsenter', 'bridge', 'sysctl']) ?? false;
const FAMILIES = [4, 6] as const;
const GRACE_MS = 100;
const EVERYBODY = 'ff:ff:ff:ff:ff:ff';
const STRANGER = '02:00:00:00:de:ad';
const ETHERTYPE = { 4: '0800', 6: '86dd', arp: '0806', unknown: '88b5', vlan: '8100' } as const;
const denyAll = createBook({ policies: [makePolicy({ isolates: { ingress: true, egress: true } })] });

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(':', ''), 'hex');

type Ends = { readonly to: string; readonly from: string };
const frame = ({ to, from }: Ends, type: string, body: Buffer): Buffer =>
  Buffer.concat([bytes(to), bytes(from), bytes(type), body]);

/** A UDP packet to the address, or to pod b. */
function packet(family: 4 | 6, token: Buffer, destination?: string): Buffer {
  const flow = makeFlow(WORLD, ['shop/a', 'shop/b'], 'udp/53', family);
  const made = firstPacket(
    destination === undefined ? flow : { ...flow, destination: address(destination) },
    token,
  );
  if (family === 4) made.writeUInt16BE(sumOf(made.subarray(0, 20)), 10);
  return made;
}

function sumOf(header: Buffer): number {
  let sum = 0;
  for (let place = 0; place < header.length; place += 2) sum += place === 10 ? 0 : header.readUInt16BE(place);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** RFC 826; the token fills up the frame. */
function arp(operation: 1 | 2, sender: [mac: string, ip: string], target: [mac: string, ip: string]): Buffer {
  const ends = [sender, target].flatMap(([mac, ip]) => [bytes(mac), addressBytes(address(ip))]);
  return Buffer.concat([bytes(`000108000604000${operation}`), ...ends]);
}

describe('frames between pods of one bridge', { skip }, () => {
  let node: BridgeNode;
  let [a, b] = ['', ''];
  before(async () => {
    node = await makeBridgeNode('pgf', { enforce: true });
    node.enforce(denyAll);
    [a, b] = [node.pods.a.attachment.mac, node.pods.b.attachment.mac];
  });
  after(() => node?.remove());

  /** What pod a may try, by name. */
  function attempts(token: Buffer): Record<string, Buffer> {
    const [own, direct] = [
      { from: a, to: EVERYBODY },
      { from: a, to: b },
    ];
    const none = '00:00:00:00:00:00';
    const byFamily = FAMILIES.flatMap((family): [string, Buffer][] => {
      const [group, mac] =
        family === 4 ? ['224.0.0.251', '01:00:5e:00:00:fb'] : ['ff02::fb', '33:33:00:00:00:fb'];
      const body = packet(family, token);
      const vlan = Buffer.concat([bytes(`0007${ETHERTYPE[family]}`), body]);
      return [
        [`IPv${family} to the other’s MAC`, frame(direct, ETHERTYPE[family], body)],
        [`IPv${family} in a broadcast frame`, frame(own, ETHERTYPE[family], body)],
        [`IPv${family} in a multicast frame`, frame({ from: a, to: mac }, ETHERTYPE[family], body)],
        [
          `IPv${family} multicast`,
          frame({ from: a, to: mac }, ETHERTYPE[family], packet(family, token, group)),
        ],
        [`IPv${family} in a VLAN`, frame(direct, ETHERTYPE.vlan, vlan)],
        [`IPv${family} from a stranger’s MAC`, frame({ from: STRANGER, to: b }, ETHERTYPE[family], body)],
        [`IPv${family} from the bridge’s MAC`, frame({ from: node.mac, to: b }, ETHERTYPE[family], body)],
      ];
    });
    const pad = Buffer.concat([Buffer.alloc(10), token]);
    return Object.fromEntries([
      ...byFamily,
      ['IPv4 broadcast', frame(own, ETHERTYPE[4], packet(4, token, '255.255.255.255'))],
      ['IPv4 broadcast of the subnet', frame(own, ETHERTYPE[4], packet(4, token, '10.244.0.255'))],
      ['another protocol', frame(direct, ETHERTYPE.unknown, pad)],
      ['another protocol to everybody', frame(own, ETHERTYPE.unknown, pad)],
      [
        'ARP request',
        Buffer.concat([frame(own, ETHERTYPE.arp, arp(1, [a, at(4, 'a')], [none, at(4, 'b')])), pad]),
      ],
      [
        'ARP reply that lies',
        Buffer.concat([frame(direct, ETHERTYPE.arp, arp(2, [a, at(4, 'bridge')], [b, at(4, 'b')])), pad]),
      ],
    ]);
  }

  /** Names of the attempts that arrived at pod b. */
  async function arrivals(expected: 'all' | 'none'): Promise<string[]> {
    const token = randomBytes(8);
    const tries = Object.entries(attempts(token));
    const came = new Set<string>();
    for (const [name, sent] of tries) {
      const mark = randomBytes(8);
      const marked = Buffer.from(sent);
      mark.copy(marked, sent.indexOf(token));
      node.pods.b.take();
      node.pods.a.send(marked);
      const look = (): boolean => node.pods.b.take().some((each) => each.includes(mark));
      if (expected === 'none') await sleep(GRACE_MS / tries.length + 5);
      if (expected === 'none' ? look() : await waitFor(name, look, 500).catch(() => false)) came.add(name);
    }
    return [...came];
  }

  test('a bridge without isolation carries them all', async () => {
    await node.converge({ enforce: false, dropSpoofed: false, netfilter: 0 });
    assert.deepEqual((await arrivals('all')).sort(), Object.keys(attempts(randomBytes(8))).sort());
  });

  const clear = async (): Promise<void> => void (await node.netns.must(['nft', 'flush', 'ruleset']));
  const unisolate = async (): Promise<void> => {
    for (const { attachment } of Object.values(node.pods))
      await node.netns.must(['bridge', 'link', 'set', 'dev', attachment.hostLink, 'isolated', 'off']);
  };
  const nothing = (): Promise<void> => Promise.resolve();
  const cases: readonly [string, Wish, () => Promise<void>][] = [
    ['as it is planned', { enforce: true }, nothing],
    ['with br_netfilter', { enforce: true, netfilter: 1 }, nothing],
    ['where pods may use other sources', { enforce: true, dropSpoofed: false }, nothing],
    ['by isolated ports alone, the rules flushed', { enforce: true, dropSpoofed: false }, clear],
    ['by the rules alone, ports no longer isolated', { enforce: true, dropSpoofed: false }, unisolate],
  ];
  for (const [name, wish, damage] of cases)
    test(`nothing passes, ${name}`, async () => {
      await node.converge({ netfilter: 0, ...wish });
      // A flush takes it along where tables cannot be owned (before Linux 6.9).
      node.enforce(denyAll);
      await damage();
      assert.deepEqual(await arrivals('none'), []);
      for (const family of FAMILIES)
        assert.equal(
          (await node.netns.run(['ping', '-c1', '-W2', at(family, 'b')])).code,
          0,
          'the node does',
        );
    });

  /** Waits until the kernel of the pod knows whether the address is its own alone. */
  async function detect(who: 'a' | 'b', ip: string): Promise<'own' | 'duplicate'> {
    const pod = node.pods[who].netns;
    pod.ip(`-6 addr add ${ip}/64 dev eth0`);
    return waitFor('duplicate address detection', () => {
      const state = pod.ip(`-6 addr show dev eth0 to ${ip}`);
      if (state.includes('dadfailed')) return 'duplicate';
      return state.includes('tentative') ? undefined : 'own';
    });
  }

  for (const dropSpoofed of [true, false])
    test(`duplicate addresses are detected, and only these; dropSpoofed ${dropSpoofed}`, async () => {
      await node.converge({ enforce: true, dropSpoofed });
      for (const { netns } of Object.values(node.pods))
        await netns.must([
          'sysctl',
          '-qw',
          'net.ipv6.conf.eth0.accept_dad=1',
          'net.ipv6.conf.eth0.dad_transmits=2',
        ]);
      const pod = node.pods.a.netns;
      pod.ip(`-6 addr del ${at(6, 'a')}/64 dev eth0`);
      assert.equal(await detect('a', at(6, 'a')), 'own', 'a pod’s own address');
      assert.equal(await detect('a', at(6, 'b')), 'duplicate', 'another pod’s');
      assert.equal(await detect('a', at(6, 'bridge')), 'duplicate', 'the bridge’s');
      for (const ip of [at(6, 'b'), at(6, 'bridge')]) pod.ip(`-6 addr del ${ip}/64 dev eth0`);
      pod.ip('-6 route replace default via fd00::1 dev eth0');
    });

  test('who announces its address gets no answer, who asks for another’s does', async () => {
    await node.converge({ enforce: true });
    const none = '00:00:00:00:00:00';
    const said = (ip: string): boolean =>
      node.pods.a
        .take()
        .some(
          (each) =>
            each.subarray(12, 14).equals(bytes(ETHERTYPE.arp)) &&
            each.subarray(6, 12).equals(bytes(node.mac)) &&
            each.subarray(28, 32).equals(Buffer.from(addressBytes(address(ip)))),
        );
    const ask = (ip: string): void =>
      node.pods.a.send(frame({ from: a, to: EVERYBODY }, ETHERTYPE.arp, arp(1, [a, at(4, 'a')], [none, ip])));
    node.pods.a.take();
    ask(at(4, 'a'));
    await sleep(GRACE_MS);
    assert.ok(!said(at(4, 'a')), 'a gratuitous request');
    ask(at(4, 'b'));
    await waitFor(`${BRIDGE} to answer for pod b`, () => said(at(4, 'b')));
  });
});
