/**
 * Pods on the bridge cannot speak for each other by neighbour discovery, and stay what they are when the node's wiring
 * is switched: connected, held to their own addresses, and reached by routed pods that come after them.
 */
import assert from 'node:assert/strict';
import { closeSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import { close, sendto, socket } from '#kernel/sys.ts';
import { addressBytes, parseAddress } from '#net/address.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { type Node, startNode, whyNoTartan } from './node.ts';
import { makePod, type Pod, request, statusOf, succeed } from './reliability.ts';

const skip = whyNoKernel(['ip', 'nft', 'ping']) ?? whyNoTartan() ?? false;
const ETH_P_IPV6 = 0x86dd;
const [AF_PACKET, SOCK_RAW] = [17, 3];
const NEIGHBOR_ADVERT = 136;
const SOLICITED_OVERRIDE = 0x6000_0000;

type Living = { readonly pod: Pod; readonly four: string; readonly six: string; readonly mac: string };

function bytesOf(address: string): Buffer {
  return Buffer.from(addressBytes(parseAddress(address) ?? assert.fail(address)));
}
const macBytes = (mac: string): Buffer => Buffer.from(mac.replaceAll(':', ''), 'hex');

/** RFC 4443 section 2.3: over a pseudo header of addresses, length and next header. */
function checksum(parts: readonly Buffer[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** An Ethernet frame with a neighbour advertisement (RFC 4861, 4.4) that `target` is at the sender's MAC. */
function advert(from: Living, to: Living, words: { source: string; target: string }): Buffer {
  const [source, destination] = [bytesOf(words.source), bytesOf(to.six)];
  const message = Buffer.concat([
    Buffer.alloc(8),
    bytesOf(words.target),
    Buffer.from([2, 1]),
    macBytes(from.mac),
  ]);
  message.writeUInt8(NEIGHBOR_ADVERT, 0);
  message.writeUInt32BE(SOLICITED_OVERRIDE, 4);
  const pseudo = Buffer.from([0, 0, 0, message.length, 0, 0, 0, 58]);
  message.writeUInt16BE(checksum([source, destination, pseudo, message]), 2);
  const header = Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255]);
  const ethernet = Buffer.concat([macBytes(to.mac), macBytes(from.mac), Buffer.from([0x86, 0xdd])]);
  return Buffer.concat([ethernet, header, source, destination, message]);
}

function transmit(from: Living, frame: Buffer): void {
  const [link] = from.pod.netns.list<{ ifindex: number }>('link show eth0');
  const to = Buffer.alloc(20);
  to.writeUInt16LE(AF_PACKET, 0);
  to.writeUInt16BE(ETH_P_IPV6, 2);
  to.writeInt32LE(link?.ifindex ?? 0, 4);
  const netns = openNetns(from.pod.netns.path);
  const fd = inNetns(netns, () => socket(AF_PACKET, SOCK_RAW, 0));
  sendto(fd, frame, frame.length, 0, to, to.length);
  close(fd);
  closeSync(netns);
}

describe('pods on the bridge', { skip }, () => {
  let node: Node;
  const pods: Pod[] = [];
  before(async () => {
    await ready;
    const network = {
      name: 'tartan',
      ipv4: { range: '10.77.0.0/16', nodeSubnet: '10.77.1.0/24' },
      ipv6: { range: 'fd77::/48', nodeSubnet: 'fd77:0:0:1::/64' },
    };
    node = await startNode('ar-br', {
      network,
      wiring: { type: 'bridge' },
      addresses: { quarantineSeconds: 0 },
    });
  });
  after(async () => {
    await node?.stop();
    for (const pod of pods) pod.netns.remove();
  });

  async function add(): Promise<Living> {
    const pod = makePod();
    pods.push(pod);
    const { ips, interfaces } = JSON.parse(await succeed(node, 'ADD', pod)) as {
      ips: { address: string }[];
      interfaces: { name: string; mac: string; sandbox?: string }[];
    };
    const [four = '', six = ''] = ips.map(({ address }) => address.split('/')[0]);
    return { pod, four, six, mac: interfaces.find(({ name }) => name === 'eth0')?.mac ?? '' };
  }
  const reaches = async (from: Living, address: string): Promise<boolean> =>
    (await from.pod.netns.run(['ping', '-c1', '-W1', address])).code === 0;

  /** Where `at` believes the address to be, after having been told otherwise. */
  function macAt(at: Living, address: string): string | undefined {
    const [entry] = at.pod.netns.list<{ lladdr?: string }>(`-6 neigh show ${address}`);
    return entry?.lladdr;
  }
  async function believes(
    liar: Living,
    victim: Living,
    words: { source: string; target: string },
  ): Promise<boolean> {
    const before = '02:00:00:00:aa:aa';
    victim.pod.netns.ip(`-6 neigh replace ${words.target} lladdr ${before} dev eth0 nud stale`);
    transmit(liar, advert(liar, victim, words));
    // What is sent after it on the same road has come: so has it, or it never will.
    const marker = { source: liar.six, target: liar.six };
    victim.pod.netns.ip(`-6 neigh replace ${liar.six} lladdr 02:00:00:00:bb:bb dev eth0 nud stale`);
    transmit(liar, advert(liar, victim, marker));
    await waitFor('the honest advertisement', () => macAt(victim, liar.six) === liar.mac);
    return macAt(victim, words.target) !== before;
  }

  let liar: Living;
  let victim: Living;
  let third: Living;
  test('an advertisement of another pod’s address does not pass, from whatever source', async () => {
    [liar, victim, third] = [await add(), await add(), await add()];
    assert.ok((await reaches(liar, victim.six)) && (await reaches(liar, victim.four)));
    assert.ok(
      !(await believes(liar, victim, { source: liar.six, target: third.six })),
      'from its own address',
    );
    assert.ok(
      !(await believes(liar, victim, { source: 'fe80::1234', target: third.six })),
      'from a link-local one',
    );
    assert.ok(!(await believes(liar, victim, { source: third.six, target: third.six })), 'from the other’s');
    assert.ok(await believes(liar, victim, { source: 'fe80::1234', target: 'fe80::1234' }));
  });

  test('switched to routed wiring, they stay connected and guarded; new pods are routed, and reach them', async () => {
    const settings = parse(readFileSync(node.settingsFile, 'utf8')) as { wiring: { type: string } };
    settings.wiring.type = 'routed';
    writeFileSync(node.settingsFile, stringify(settings));
    await node.restart();
    const status = await statusOf(node);
    assert.deepEqual(
      status.items.filter(({ seen }) => seen !== 'ok'),
      [],
    );
    assert.match(await node.netns.must(['nft', 'list', 'ruleset']), /table bridge tartan/);
    for (const address of [victim.four, victim.six, '10.77.1.1', 'fd77:0:0:1::1'])
      assert.ok(await reaches(liar, address), address);
    assert.ok(!(await believes(liar, victim, { source: liar.six, target: third.six })), 'still guarded');
    liar.pod.netns.ip('addr add 10.77.1.99/24 dev eth0');
    assert.equal((await liar.pod.netns.run(['ping', '-c1', '-W1', '-I', '10.77.1.99', victim.four])).code, 1);

    const routed = await add();
    assert.match(
      node.netns.ip('route show table main'),
      new RegExp(`${routed.four.replaceAll('.', '\\.')} dev tt`),
    );
    await waitFor('a bridge pod to reach a routed one', () => reaches(victim, routed.four));
    assert.ok(await reaches(routed, victim.four));
  });

  test('the bridge goes with its last pod', async () => {
    for (const { pod } of [liar, victim, third]) assert.equal((await request(node, 'DEL', pod)).code, 0);
    const gone = async (): Promise<boolean> =>
      !node.netns.ip('link show').includes('cni0') &&
      !(await node.netns.must(['nft', 'list', 'ruleset'])).includes('table bridge');
    await waitFor('the bridge to go, then its table', gone, 40_000);
  });
});
