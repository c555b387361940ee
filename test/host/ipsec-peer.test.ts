/**
 * IPsec with a peer that nobody here wrote: the other node is configured by hand with `ip xfrm`, its keys computed as
 * docs/decisions/0012-ipsec.md says. Once on one link, once with a translating router between, once over IPv6.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { hkdfSync } from 'node:crypto';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import type { Self } from '#backends/backend.ts';
import { ipsec, spiOf } from '#backends/ipsec.ts';
import { openKernel } from '#kernel/linux.ts';
import { openNetns, ready } from '#kernel/netns.ts';
import type { XfrmKeys } from '#kernel/xfrm.ts';
import { diff } from '#model/diff.ts';
import { hostState } from '#model/host.ts';
import type { Leg } from '#model/leg.ts';
import type { Settings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import { address, type Family } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { whyLacking } from '../vm/features.ts';

const root = process.getuid?.() === 0 ? undefined : 'needs root';
const skip = root ?? whyLacking('esp') ?? false;
const [OURS, ROUTER, THEIRS] = ['a', 'r', 'b'].map((end) => `ips-${end}-${process.pid}`) as [
  string,
  string,
  string,
];
const ip = (netns: string, ...argv: string[]): string =>
  execFileSync('ip', ['-n', netns, ...argv], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const inside = (netns: string, ...argv: string[]): string =>
  execFileSync('ip', ['netns', 'exec', netns, ...argv], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });

const SECRET = Buffer.alloc(32, 9);
const ID = 'old:0123456789abcdef';
const [NONCE_A, NONCE_B] = ['A'.repeat(22), 'B'.repeat(22)];
const keyOf = (name: string): Buffer =>
  Buffer.from(hkdfSync('sha256', SECRET, 'tartan ipsec 1', `key ${name}`, 36));
const KEYS: XfrmKeys = { take: keyOf, giveBack: () => {} };

type Way = {
  readonly family: Family;
  /** Our address, as we have it and as others see it, and the peer's. */
  readonly local: string;
  readonly announced: string;
  readonly far: string;
  readonly nat: boolean;
};
const WAYS: Readonly<Record<string, Way>> = {
  'on one link': { family: 4, local: '192.0.2.1', announced: '192.0.2.1', far: '192.0.2.2', nat: false },
  'over IPv6': { family: 6, local: '2001:db8::1', announced: '2001:db8::1', far: '2001:db8::2', nat: false },
  'through a NAT, in UDP': {
    family: 4,
    local: '10.99.0.2',
    announced: '192.0.2.1',
    far: '192.0.2.2',
    nat: true,
  },
};

/** Ours has eth0; theirs too. With a NAT the router has the announced address. */
function connect(t: TestContext, { family, local, announced, far, nat }: Way): number {
  for (const name of [OURS, ROUTER, THEIRS]) execFileSync('ip', ['netns', 'add', name]);
  const fd = openNetns(`/run/netns/${OURS}`);
  t.after(() => {
    closeSync(fd);
    for (const name of [OURS, ROUTER, THEIRS]) execFileSync('ip', ['netns', 'del', name]);
  });
  const length = family === 4 ? '/24' : '/64';
  const give = (netns: string, link: string, own: string): void => {
    ip(netns, 'addr', 'add', own + length, 'dev', link, ...(family === 6 ? ['nodad'] : []));
    ip(netns, 'link', 'set', link, 'up');
  };
  for (const name of [OURS, ROUTER, THEIRS]) ip(name, 'link', 'set', 'lo', 'up');
  ip(
    OURS,
    'link',
    'add',
    'eth0',
    'type',
    'veth',
    'peer',
    'name',
    nat ? 'in' : 'eth0',
    'netns',
    nat ? ROUTER : THEIRS,
  );
  give(OURS, 'eth0', local);
  if (nat) {
    give(ROUTER, 'in', '10.99.0.1');
    ip(ROUTER, 'link', 'add', 'out', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', THEIRS);
    give(ROUTER, 'out', announced);
    ip(OURS, 'route', 'add', 'default', 'via', '10.99.0.1');
    inside(ROUTER, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    inside(
      ROUTER,
      'nft',
      `table ip n {
      chain in { type nat hook prerouting priority dstnat; iifname out udp dport 4500 dnat to ${local}; }
      chain out { type nat hook postrouting priority srcnat; oifname out masquerade; }
    }`,
    );
  }
  give(THEIRS, 'eth0', far);
  return fd;
}

function ourPlan({ family, local, announced, far, nat }: Way): ReturnType<typeof hostState> {
  const self = {
    name: 'a',
    subnets: { 4: prefix('10.1.1.0/24'), 6: prefix('fd01:0:0:1::/64') },
    underlay: {
      link: 'eth0',
      mtu: 1500,
      local: { [family]: address(local) },
      announced: { [family]: address(announced) },
      connected: [],
      why: '',
    },
    settings: { road: { ipsec: { port: 4500, udp: 'auto', strict: true } } } as Settings,
    ipsec: { nonce: NONCE_A, again: { b: 2 }, secrets: [ID], announced: [ID] },
  } satisfies Self;
  const subnets = { 4: prefix('10.1.2.0/24'), 6: prefix('fd01:0:0:2::/64') };
  const theirs = { nonce: NONCE_B, again: {}, secrets: [ID], port: 4500, udp: false };
  const node = {
    name: 'b',
    addresses: { [family]: address(far) },
    subnets,
    road: 'ipsec',
    ipsec: theirs,
    mtu: 1500,
    ready: true,
  } satisfies NodeAdvert;
  const legs = [subnets[4], subnets[6]].map((to): Leg => ({
    peer: 'b',
    prefix: to,
    carrier: 'ipsec',
    remote: address(far),
    metric: 512,
    mtu: nat ? 1438 : 1418,
    why: '',
  }));
  assert.equal(ipsec.mismatch?.(self, node), undefined);
  return hostState([
    ...(ipsec.planNode?.(self) ?? []),
    ...(ipsec.planPeer?.(self, node, legs) ?? []),
    ...legs.flatMap((leg) => ipsec.planLeg?.(self, leg) ?? []),
  ]);
}

/** As an operator would, from the names of the keys alone. */
function configureByHand({ announced, far, nat }: Way): void {
  const udp = nat ? ' udp' : '';
  const [us, them] = [`a/${NONCE_A}/2/${announced}`, `b/${NONCE_B}/0/${far}`];
  const [toThem, toUs] = [`${ID} ${us} ${them}${udp}`, `${ID} ${them} ${us}${udp}`];
  const state = (from: string, to: string, name: string, more: readonly string[]): string =>
    ip(
      THEIRS,
      ...`xfrm state add src ${from} dst ${to} proto esp spi ${spiOf(name)} reqid 5 mode tunnel if_id 3`.split(
        ' ',
      ),
      'flag',
      'af-unspec',
      'esn',
      'replay-window',
      '64',
      'aead',
      'rfc4106(gcm(aes))',
      `0x${keyOf(name).toString('hex')}`,
      '128',
      ...more,
    );
  ip(THEIRS, 'link', 'add', 'hand', 'type', 'xfrm', 'if_id', '3');
  ip(THEIRS, 'link', 'set', 'hand', 'up', 'mtu', '1400');
  const encapsulated = nat ? 'encap espinudp 4500 4500 0.0.0.0'.split(' ') : [];
  state(announced, far, toThem, encapsulated);
  state(far, announced, toUs, encapsulated);
  for (const [own, other] of [
    ['10.1.2.0', '10.1.1.0/24'],
    ['fd01:0:0:2::', 'fd01:0:0:1::/64'],
  ] as const) {
    const any = own.includes(':') ? '::/0' : '0.0.0.0/0';
    ip(THEIRS, 'addr', 'add', own, 'dev', 'hand', ...(own.includes(':') ? ['nodad'] : []));
    ip(THEIRS, 'route', 'add', other, 'dev', 'hand');
    const policy = (text: string): string => ip(THEIRS, 'xfrm', 'policy', 'add', ...text.split(' '));
    policy(
      `src ${any} dst ${other} dir out if_id 3 tmpl src ${far} dst ${announced} proto esp reqid 5 mode tunnel`,
    );
    policy(
      `src ${other} dst ${any} dir in if_id 3 tmpl src ${announced} dst ${far} proto esp reqid 5 mode tunnel`,
    );
  }
}

/** The socket at which the peer's kernel unwraps (UDP_ENCAP, UDP_ENCAP_ESPINUDP). */
async function takeInByHand(t: TestContext): Promise<void> {
  const program = `socket(S, AF_INET, SOCK_DGRAM, 17) and bind(S, sockaddr_in(4500, INADDR_ANY))
    and setsockopt(S, 17, 100, pack('i', 2)) or die; print "up\n"; sleep 600`;
  const argv = ['netns', 'exec', THEIRS, 'perl', '-MSocket', '-e', `$| = 1; ${program}`];
  const socket = spawn('ip', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => socket.kill('SIGKILL'));
  await once(socket.stdout, 'data');
}

for (const [how, way] of Object.entries(WAYS)) {
  test(`a peer configured by hand, ${how}`, { skip }, async (t) => {
    await ready;
    const fd = connect(t, way);
    using home = openKernel(undefined, KEYS);
    using kernel = home.within(fd);
    assert.deepEqual(kernel.apply(diff(ourPlan(way), new Map())), []);
    configureByHand(way);
    if (way.nat) await takeInByHand(t);
    const ping = (to: string, ...more: string[]) =>
      inside(OURS, 'ping', '-n', '-c', '2', '-i', '0.3', '-W', '5', ...more, to);
    for (const to of ['10.1.2.0', 'fd01:0:0:2::']) assert.match(ping(to), / 0% packet loss/);
    assert.match(ping('10.1.2.0', '-M', 'do', '-s', '1300'), / 0% packet loss/);
    assert.match(inside(THEIRS, 'ping', '-n', '-c', '2', '-W', '5', '10.1.1.0'), / 0% packet loss/);

    await t.test('without a policy or a state nothing leaves plain', () => {
      const sent = (): number => {
        const [link] = JSON.parse(ip(OURS, '-j', '-s', 'link', 'show', 'eth0')) as {
          stats64: { tx: { packets: number } };
        }[];
        return link?.stats64.tx.packets ?? 0;
      };
      const before = sent();
      ip(OURS, 'xfrm', 'policy', 'flush');
      assert.throws(() => inside(OURS, 'ping', '-n', '-c', '3', '-i', '0.2', '-W', '1', '10.1.2.0'));
      // Neighbours may be asked for.
      assert.ok(sent() - before < 3, String(sent() - before));
    });

    await t.test('all of it goes', () => {
      const nothing = { sysctls: [], foreignLinks: [] };
      assert.equal(
        [...kernel.observe(nothing).values()].some(({ kind }) => kind === 'esp-port'),
        way.nat,
      );
      assert.deepEqual(kernel.apply(diff(new Map(), kernel.observe(nothing))), []);
      assert.equal(kernel.observe(nothing).size, 0);
      assert.equal(ip(OURS, 'xfrm', 'state') + ip(OURS, 'xfrm', 'policy'), '');
    });
  });
}
