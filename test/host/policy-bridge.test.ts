/**
 * Policy between pods of one bridge: they are isolated from each other, the bridge answers for them, and what they send
 * is routed and meets the policy table. In every hairpin mode, with and without br_netfilter, in both families.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PORT_RULE } from '#model/numbers.ts';
import { HAIRPIN_MODES } from '#model/settings.ts';
import { createBook } from '#policy/book.ts';
import { makePolicy, makeRule } from '#policy/testing/rules.ts';
import { makeFlow } from '#policy/testing/world.ts';
import { at, type BridgeNode, makeBridgeNode, type PodId, type Wish, WORLD } from './bridge-node.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { firstPacket } from './policy-wire.ts';

const skip = whyNoKernel(['ip', 'ping', 'nft', 'nsenter', 'bridge', 'conntrack']) ?? false;
const FAMILIES = [4, 6] as const;
const KINDS = ['tcp/80', 'tcp/81', 'udp/53', 'icmp'] as const;
const isolates = { ingress: true, egress: true };
const everything = [makeRule('allow')];
const BOOKS = {
  all: createBook({ policies: [makePolicy({ isolates, ingress: everything, egress: everything })] }),
  none: createBook({ policies: [makePolicy({ isolates })] }),
  web: createBook({
    policies: [
      makePolicy({
        isolates: { ingress: true, egress: false },
        ingress: [
          makeRule('allow', {
            traffic: [{ kind: 'ports', protocol: 6, end: 'destination', ranges: [{ from: 80, to: 80 }] }],
          }),
        ],
      }),
    ],
  }),
} as const;
const ON: Wish = { enforce: true };
const GRACE_MS = 20;

describe('policy between pods of one bridge', { skip }, () => {
  let node: BridgeNode;
  before(async () => {
    node = await makeBridgeNode('pg', ON);
  });
  after(() => node?.remove());

  const macOf = (who: PodId): Buffer => Buffer.from(node.pods[who].attachment.mac.replaceAll(':', ''), 'hex');
  const forget = (): Promise<unknown> => node.netns.run(['conntrack', '-F']);
  const pings = async (from: PodId, to: string, seconds = 2): Promise<boolean> =>
    (await node.pods[from].netns.run(['ping', '-n', '-c1', `-W${seconds}`, to])).code === 0;

  /** Sends the flow's first packet, with the pod's own MAC to the given one; whether it arrived. */
  async function passes(
    ends: readonly [PodId, PodId],
    kind: string,
    family: 4 | 6,
    options: { expected: boolean; to?: Buffer },
  ): Promise<boolean> {
    const [from, to] = ends;
    const token = randomBytes(8);
    const flow = makeFlow(WORLD, [`shop/${from}`, `shop/${to}`], kind, family);
    const type = Buffer.from(family === 4 ? '0800' : '86dd', 'hex');
    const packet = firstPacket(flow, token);
    if (family === 4) putChecksum(packet);
    const bridge = Buffer.from(node.mac.replaceAll(':', ''), 'hex');
    node.pods[to].take();
    node.pods[from].send(Buffer.concat([options.to ?? bridge, macOf(from), type, packet]));
    const came = (): boolean => node.pods[to].take().some((frame) => frame.includes(token));
    if (options.expected) return waitFor('the packet', came, 3_000).catch(() => false);
    await sleep(GRACE_MS);
    return came();
  }

  async function expectAll(book: keyof typeof BOOKS, allowed: (kind: string) => boolean): Promise<void> {
    node.enforce(BOOKS[book]);
    await forget();
    for (const family of FAMILIES)
      for (const ends of [
        ['a', 'b'],
        ['b', 'a'],
      ] as const)
        for (const kind of KINDS) {
          const expected = allowed(kind);
          const what = `${book}: IPv${family} ${kind} ${ends.join(' to ')}`;
          assert.equal(await passes(ends, kind, family, { expected }), expected, what);
        }
  }

  for (const hairpin of HAIRPIN_MODES)
    for (const netfilter of [1, 0] as const)
      describe(`${hairpin}, bridge-nf-call ${netfilter}`, () => {
        before(() => node.converge({ ...ON, hairpin, netfilter }));

        test('allowed passes, denied does not', async () => {
          await expectAll('all', () => true);
          await expectAll('none', () => false);
          await expectAll('web', (kind) => kind === 'tcp/80');
        });

        test('translated destinations, also back to the sender', async () => {
          node.enforce(BOOKS.all);
          await forget();
          await node.netns.must(['nft', '-f', '-'], { input: SERVICES });
          for (const family of FAMILIES)
            for (const service of [1, 2])
              assert.ok(
                await pings('a', family === 4 ? `10.99.0.${service}` : `fd99::${service}`),
                `IPv${family} service ${service}`,
              );
          node.enforce(BOOKS.none);
          await forget();
          for (const service of ['10.99.0.1', 'fd99::1'])
            assert.ok(!(await pings('a', service, 0.3)), service);
          await node.netns.must(['nft', 'delete', 'table', 'inet', 'services']);
        });
      });

  test('pods resolve each other, the node and large packets pass', async () => {
    node.enforce(BOOKS.all);
    for (const family of FAMILIES) {
      const flag = family === 4 ? '-4' : '-6';
      for (const [from, to] of [
        ['a', 'b'],
        ['b', 'a'],
      ] as const) {
        node.pods[from].netns.ip(`${flag} neigh flush dev eth0`);
        assert.ok(await pings(from, at(family, to)), `IPv${family} ${from} to ${to}`);
        assert.ok(await pings(from, at(family, 'bridge')), `IPv${family} ${from} to the bridge`);
        const [entry] = node.pods[from].netns.list<{ lladdr?: string }>(`neigh show ${at(family, to)}`);
        assert.equal(entry?.lladdr, node.mac, 'the bridge answers for the other pod');
        assert.equal((await node.netns.run(['ping', '-c1', '-W2', at(family, to)])).code, 0, 'the node');
      }
      const full = String(1500 - (family === 4 ? 28 : 48));
      const large = ['ping', '-n', '-c1', '-W2', '-M', 'do', '-s', full, at(family, 'b')];
      assert.equal((await node.pods.a.netns.run(large)).code, 0, 'a packet of the whole MTU');
      assert.equal(
        (await node.pods.a.netns.run([...large.slice(0, 4), '-s', '4000', at(family, 'b')])).code,
        0,
      );
    }
  });

  // As Linux (rp_filter) and firewalld (IPv6_rpfilter) look: would an answer leave by where this came in?
  test('strict reverse path filters let it pass', async () => {
    node.enforce(BOOKS.all);
    await node.netns.must(['sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1']);
    await node.netns.must(['nft', '-f', '-'], { input: STRICT });
    for (const family of FAMILIES) {
      assert.ok(await pings('a', at(family, 'b')), `IPv${family}`);
      assert.ok(await pings('a', at(family, 'bridge')), `IPv${family} to the bridge`);
    }
    await node.netns.must(['nft', 'delete', 'table', 'inet', 'strict']);
    await node.netns.must(['sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0']);
  });

  test('switched on while pods talk, nothing pauses; switched off neither', async () => {
    node.enforce(BOOKS.all);
    await node.converge({ enforce: false });
    for (const family of FAMILIES) {
      node.pods.a.netns.ip('neigh flush dev eth0');
      assert.ok(await pings('a', at(family, 'b')));
      const [entry] = node.pods.a.netns.list<{ lladdr?: string }>(`neigh show ${at(family, 'b')}`);
      assert.equal(entry?.lladdr, node.pods.b.attachment.mac, 'its own MAC address is known');
    }
    await node.converge(ON);
    for (const family of FAMILIES) assert.ok(await pings('a', at(family, 'b')), `on, IPv${family}`);
    assert.ok(await passes(['a', 'b'], 'tcp/80', 4, { expected: true, to: macOf('b') }), 'by the old MAC');
    node.enforce(BOOKS.none);
    await forget();
    for (const family of FAMILIES) {
      assert.ok(!(await passes(['a', 'b'], 'tcp/80', family, { expected: false, to: macOf('b') })));
      assert.ok(!(await passes(['a', 'b'], 'udp/53', family, { expected: false })));
    }
    node.enforce(BOOKS.all);
    await node.converge({ enforce: false });
    for (const family of FAMILIES) assert.ok(await pings('a', at(family, 'b')), `off, IPv${family}`);
    assert.deepEqual(node.drift({ enforce: false }), []);
    assert.equal(node.netns.list('rule show').length, 3, 'only the kernel’s own rules');
    await node.converge(ON);
  });

  test('drift is seen, and put right', async () => {
    const { hostLink } = node.pods.a.attachment;
    const damages = [
      `bridge link set dev ${hostLink} isolated off`,
      `ip neigh del proxy ${at(6, 'a')} dev cbr0`,
      `ip neigh del proxy ${at(4, 'a')} dev cbr0`,
      `ip rule del priority ${PORT_RULE.priority}`,
      `ip -6 rule del priority ${PORT_RULE.priority}`,
      `ip route del ${at(4, 'b')} table ${PORT_RULE.table}`,
      'sysctl -qw net.ipv6.conf.cbr0.proxy_ndp=0',
      'sysctl -qw net.ipv4.neigh.cbr0.proxy_delay=80',
    ];
    assert.deepEqual(node.drift(ON), []);
    for (const damage of damages) {
      await node.netns.must(damage.split(' '));
      assert.equal((await node.converge(ON)).length, 1, damage);
      assert.deepEqual(node.drift(ON), [], damage);
    }
  });
});

/** One service that leads to pod b, and one that leads to pod a. */
const SERVICES = `table inet services {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr 10.99.0.1 dnat to ${at(4, 'b')}
    ip daddr 10.99.0.2 dnat to ${at(4, 'a')}
    ip6 daddr fd99::1 dnat to ${at(6, 'b')}
    ip6 daddr fd99::2 dnat to ${at(6, 'a')}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ip saddr ${at(4, 'a')} ip daddr ${at(4, 'a')} masquerade
    ip6 saddr ${at(6, 'a')} ip6 daddr ${at(6, 'a')} masquerade
  }
}`;

const STRICT = `table inet strict {
  chain prerouting {
    type filter hook prerouting priority raw;
    fib saddr . iif oif missing drop
  }
}`;

/** What the kernel does for raw IP sockets, and not for frames. */
function putChecksum(packet: Buffer): void {
  packet.writeUInt16BE(0, 10);
  let sum = 0;
  for (let place = 0; place < 20; place += 2) sum += packet.readUInt16BE(place);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet.writeUInt16BE(~sum & 0xffff, 10);
}
