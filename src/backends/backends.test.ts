import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault } from '#model/fault.ts';
import { hostState, type Item, keyOf } from '#model/host.ts';
import { ROAD_NAMES, type RoadName, type UnderlaySettings } from '#model/settings.ts';
import type { Underlay, UnderlayAddress, UnderlayLink, UnderlayRoute } from '#model/underlay.ts';
import type { NodeAdvert } from '#model/world.ts';
import { type Address, address, addressFrom } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import { perFamily } from '#net/per-family.ts';
import { contains, type InterfaceAddress, overlaps, prefix, prefixOf, prefixSize } from '#net/prefix.ts';
import type { Self } from './backend.ts';
import { chooseForPeer, chooseLegs } from './choose.ts';
import { subtract } from './connected.ts';
import { planForeignAccepts } from './foreign.ts';
import { selectInterface } from './interface.ts';
import { advertOf, checkRoad, planNode, planPeer, podMtu } from './node-plan.ts';
import { keyOfNode, peerOf, selfOf, settings } from './testing/nodes.ts';
import { encapsulates } from './ways.ts';

const carriers = (self: Self, peer: NodeAdvert): string[] =>
  chooseForPeer(self, peer).legs.map((leg) => leg.carrier);
const whys = (self: Self, peer: NodeAdvert): string =>
  chooseForPeer(self, peer)
    .unreachable.map((each) => each.why)
    .join('\n');

test('the road is chosen per peer', () => {
  assert.deepEqual(carriers(selfOf('vxlan'), peerOf('vxlan')), ['vxlan', 'vxlan']);
  assert.deepEqual(carriers(selfOf('vxlan', true), peerOf('vxlan')), ['direct', 'direct']);
  assert.deepEqual(carriers(selfOf('vxlan', true), peerOf('vxlan', 2, false)), ['vxlan', 'vxlan']);
  assert.deepEqual(carriers(selfOf('host-gw'), peerOf('host-gw')), ['direct', 'direct']);
  assert.deepEqual(carriers(selfOf('host-gw'), peerOf('host-gw', 2, false)), []);
  assert.deepEqual(chooseForPeer(selfOf('alloc'), peerOf('vxlan')), {
    lanes: [],
    legs: [],
    unreachable: [],
    missing: [],
  });
});

test('every tunnel takes the modes alike, by the families of packet and underlay', () => {
  const kinds = (self: Self, peer: NodeAdvert): string[] =>
    planPeer(self, peer).items.flatMap((item) =>
      item.kind === 'link' && 'remote' in item ? `${item.type} ${item.remote} ${item.mtu}` : [],
    );
  const six = (self: Self): Self => ({
    ...self,
    underlay: { ...self.underlay, local: { 6: address('2001:db8::1') } },
  });
  for (const road of ['ipip', 'gre'] as const) {
    assert.deepEqual(carriers(selfOf(road), peerOf(road)), [road, road]);
    assert.deepEqual(carriers(selfOf(road, true), peerOf(road)), ['direct', 'direct']);
    assert.deepEqual(carriers(selfOf(road, true), peerOf(road, 2, false)), [road, road]);
  }
  const sealed = planPeer(selfOf('wireguard'), peerOf('wireguard')).items;
  assert.deepEqual(
    sealed.flatMap((item) => (item.kind === 'wireguard-peer' ? [item.endpoint, ...item.allowed] : [])),
    ['192.0.2.2', '10.244.2.0/24', 'fd00:244:0:2::/64'],
  );
  assert.match(
    whys(selfOf('wireguard'), { ...peerOf('ipip'), road: 'wireguard' }),
    /does not tell its WireGuard key/,
  );
  const keyed = (publicKey: string) => ({ ...peerOf('wireguard'), wireguard: { publicKey, port: 1 } });
  assert.match(whys(selfOf('wireguard'), keyed(keyOfNode('a'))), /claims this node’s WireGuard key/);
  assert.match(whys(selfOf('wireguard'), keyed('AAAA')), /no usable WireGuard key and port/);
  assert.deepEqual(kinds(selfOf('ipip'), peerOf('ipip')), ['ipip 192.0.2.2 1480', 'sit 192.0.2.2 1480']);
  assert.deepEqual(kinds(selfOf('gre'), peerOf('gre')), Array(2).fill('gre 192.0.2.2 1476'));
  assert.deepEqual(
    kinds(six(selfOf('ipip')), { ...peerOf('ipip'), mtu: 1400 }),
    Array(2).fill('ip6tnl 2001:db8::2 1360'),
  );
  assert.deepEqual(kinds(six(selfOf('gre')), peerOf('gre')), Array(2).fill('ip6gre 2001:db8::2 1456'));
});

test('what cannot be reached says why', () => {
  const self = selfOf('vxlan');
  const peer = peerOf('vxlan');
  const tunnel = peer.vxlan as NonNullable<NodeAdvert['vxlan']>;
  assert.match(whys(selfOf('host-gw'), peerOf('host-gw', 2, false)), /router is between/);
  assert.match(whys(self, peerOf('host-gw')), /road host-gw, this node vxlan/);
  assert.match(whys(self, { ...peer, vxlan: { ...tunnel, vni: 9 } }), /VNI 9, this node 7/);
  assert.match(whys(self, { ...peer, vxlan: { ...tunnel, port: 4789 } }), /port 4789, this node 8472/);
  assert.match(whys(self, { ...peer, vxlan: { ...tunnel, mac: {} } }), /no usable VTEP MAC/);
  assert.match(
    whys(self, { ...peer, addresses: { 6: address('2001:db8::2') } }),
    /no IPv4 address for the tunnel/,
  );
  assert.match(whys(self, { ...peer, subnets: { 4: prefix('10.244.2.0/24') } }), /no IPv6 subnet/);
  assert.match(whys(self, { ...peer, subnets: { 4: prefix('10.244.0.0/16') } }), /overlaps this node’s own/);
  assert.match(whys(self, { ...peer, mtu: 1300 }), /leaves 1250 bytes, IPv6 needs 1280/);
  assert.match(whys(self, { ...peer, addresses: { 4: address('192.0.2.1') } }), /own address/);
});

const anyPeer = fc
  .record({
    road: fc.constantFrom<RoadName>(...ROAD_NAMES),
    index: fc.integer({ min: 1, max: 6 }),
    near: fc.boolean(),
    mtu: fc.constantFrom(1500, 9000, 1300),
    name: fc.constantFrom('b', 'c', 'd', 'e', 'f'),
    families: fc.constantFrom<(4 | 6)[]>([4], [6], [4, 6]),
  })
  .map(({ road, index, near, mtu, name, families }): NodeAdvert => {
    const peer = peerOf(road, index, near);
    const subnets = perFamily((family) => (families.includes(family) ? peer.subnets[family] : undefined));
    return { ...peer, name, mtu, subnets };
  });
const anySelf = fc
  .tuple(fc.constantFrom<RoadName>(...ROAD_NAMES), fc.boolean())
  .map(([road, direct]) => selfOf(road, direct));

test('every prefix of a peer is either reached once or unreachable with a reason', () => {
  fc.assert(
    fc.property(anySelf, fc.uniqueArray(anyPeer, { selector: (peer) => peer.name }), (self, peers) => {
      const { legs, unreachable } = chooseLegs(self, {
        self: 'a',
        nodes: new Map(peers.map((peer) => [peer.name, peer])),
      });
      const reached = legs.map((leg) => leg.prefix);
      assert.equal(new Set(reached).size, reached.length);
      for (const leg of legs)
        assert.ok(!Object.values(self.subnets).some((own) => overlaps(own, leg.prefix)));
      if (self.settings.road.type === 'alloc') return assert.equal(legs.length + unreachable.length, 0);
      for (const peer of peers) {
        const told = unreachable.filter((each) => each.peer === peer.name && each.why !== '');
        for (const each of Object.values(peer.subnets)) {
          const has = legs.some((leg) => leg.peer === peer.name && leg.prefix === each);
          const says = told.some((one) => one.prefix === each || one.prefix === undefined);
          assert.ok(has || says, `${peer.name} ${each}`);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test('legs of all peers make one state, and a next hop has its neighbour, entry and device', () => {
  fc.assert(
    fc.property(
      anySelf,
      fc.uniqueArray(fc.integer({ min: 2, max: 200 }), { maxLength: 12 }),
      (self, indexes) => {
        const items = [...planNode(self)];
        for (const index of indexes) {
          items.push(
            ...planPeer(self, peerOf(self.settings.road.type as RoadName, index, index % 2 === 0)).items,
          );
        }
        const state = hostState(items);
        const has = (kind: Item['kind'], identity: string): boolean => state.has(`${kind} ${identity}`);
        for (const item of state.values()) {
          if (item.kind !== 'route' || item.onlink !== true) continue;
          assert.ok(has('link', item.link ?? ''));
          const neighbor = state.get(`neighbor ${item.link} ${item.via}`);
          assert.ok(neighbor?.kind === 'neighbor' && has('fdb', `${item.link} ${neighbor.mac}`), keyOf(item));
        }
        const admitted = [...state.values()].filter((item) => item.kind === 'nft-element').length;
        const admits = encapsulates(self);
        assert.equal(admitted, admits ? indexes.length : 0);
      },
    ),
    { numRuns: 60 },
  );
});

test('the MTU follows the family of the outer packet and the narrower peer', () => {
  const self = selfOf('vxlan');
  assert.equal(podMtu(self), 1450);
  const six: Self = { ...self, underlay: { ...self.underlay, local: { 6: address('2001:db8::1') } } };
  assert.equal(podMtu(six), 1430);
  assert.equal(podMtu(selfOf('host-gw')), 1500);
  const narrow = planPeer(self, { ...peerOf('vxlan'), mtu: 1400 }).items.filter(
    (item) => item.kind === 'route',
  );
  assert.deepEqual(
    narrow.map((item) => item.mtu),
    [1350, 1350],
  );
  assert.equal(advertOf(self, true).vxlan?.mac[4], advertOf(self, true).vxlan?.mac[6]);
});

test('host-gw cannot announce an address that the host does not have', () => {
  const self = selfOf('host-gw');
  assert.deepEqual(checkRoad(self), []);
  const announced = { ...self.underlay.announced, 4: address('198.51.100.1') };
  const [problem] = checkRoad({ ...self, underlay: { ...self.underlay, announced } });
  assert.equal(problem?.path, 'underlay.publicAddress.ipv4');
});

test('foreign chains that drop get accepts of their family', () => {
  const chains = [
    {
      hook: 'forward',
      family: 'ip',
      table: 'filter',
      chain: 'FORWARD',
      policy: 'drop',
      userChain: 'DOCKER-USER',
    },
    {
      hook: 'forward',
      family: 'inet',
      table: 'firewalld',
      chain: 'filter_FORWARD',
      policy: 'accept',
      rejects: true,
    },
    { hook: 'forward', family: 'ip6', table: 'filter', chain: 'FORWARD', policy: 'accept' },
    { hook: 'input', family: 'ip', table: 'filter', chain: 'INPUT', policy: 'drop' },
    { hook: 'input', family: 'ip6', table: 'filter', chain: 'INPUT', policy: 'accept' },
  ] as const;
  const items = planForeignAccepts({ settings: settings('vxlan') }, chains);
  assert.deepEqual(
    items.map((item) => `${item.family} ${item.chain}`),
    ['ip DOCKER-USER', 'ip DOCKER-USER', ...Array<string>(4).fill('inet filter_FORWARD'), 'ip INPUT'],
  );
  assert.equal(items.at(-1)?.rule, 'udp dport 8472 counter accept');
  const direct = planForeignAccepts({ settings: settings('host-gw') }, chains);
  assert.ok(direct.length > 0 && direct.every((item) => item.chain !== 'INPUT'));
  assert.equal(hostState(items).size, items.length);
});

test('subtract leaves exactly what is in the one and not in the other', () => {
  const small = fc
    .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 24, max: 32 }))
    .map(([host, length]) => prefixOf(addressFrom(4, 0xc0000200n + BigInt(host)), length));
  fc.assert(
    fc.property(small, small, fc.integer({ min: 0, max: 255 }), (outer, inner, host) => {
      const probe = addressFrom(4, 0xc0000200n + BigInt(host));
      const rest = subtract(outer, inner);
      const within = rest.filter((each) => contains(each, probe)).length;
      assert.equal(within, contains(outer, probe) && !contains(inner, probe) ? 1 : 0);
      const size = rest.reduce((sum, each) => sum + prefixSize(each), 0n);
      assert.equal(
        size,
        prefixSize(outer) -
          (contains(outer, inner) ? prefixSize(inner) : overlaps(outer, inner) ? prefixSize(outer) : 0n),
      );
    }),
  );
});

function addr(text: string, flags: Partial<UnderlayAddress> = {}): UnderlayAddress {
  return {
    address: text as InterfaceAddress,
    scope: 'global',
    dynamic: false,
    temporary: false,
    deprecated: false,
    tentative: false,
    ...flags,
  };
}
function link(name: string, addresses: UnderlayAddress[], more: Partial<UnderlayLink> = {}): UnderlayLink {
  const plain = { mtu: 1500, up: true, loopback: false, pointToPoint: false, ours: false };
  return { name, index: 1, ...plain, addresses, mac: mac('02:00:00:00:00:01'), ...more };
}
const route = (to: string, by: string, via?: string, metric = 0): UnderlayRoute => ({
  prefix: prefix(to),
  link: by,
  metric,
  ...(via === undefined ? {} : { via: address(via) }),
});

const HOST: Underlay = {
  links: [
    link('lo', [addr('127.0.0.1/8', { scope: 'host' })], { loopback: true }),
    link('eth0', [
      addr('2001:db8::9/64', { temporary: true, dynamic: true }),
      addr('192.0.2.1/24'),
      addr('2001:db8::1/64'),
      addr('fe80::1/64', { scope: 'link' }),
    ]),
    link('eth1', [addr('198.51.100.1/24', { dynamic: true }), addr('198.51.100.2/24')], { mtu: 9000 }),
    link('down0', [addr('203.0.113.1/24')], { up: false }),
    link('cni0', [addr('10.244.1.1/24')], { ours: true }),
  ],
  routes: [
    route('0.0.0.0/0', 'eth0', '192.0.2.254', 100),
    route('0.0.0.0/0', 'eth1', '198.51.100.254', 200),
    route('::/0', 'eth0', 'fe80::fe'),
    route('192.0.2.0/24', 'eth0'),
    route('192.0.2.128/25', 'eth0', '192.0.2.254'),
    route('2001:db8::/64', 'eth0'),
    route('198.51.100.0/24', 'eth1'),
    route('10.9.0.0/16', 'eth1', '198.51.100.254'),
  ],
};
const NOTHING: UnderlaySettings = { interfaces: [], interfaceRegexes: [], publicAddress: {} };
const select = (more: Partial<UnderlaySettings>, required: (4 | 6)[] = [], host = HOST) =>
  selectInterface({ ...NOTHING, ...more }, host, required);

test('the link is found in flannel’s order', () => {
  assert.equal(select({}).link, 'eth0');
  assert.equal(select({ interfaces: ['nope', 'eth1'] }).link, 'eth1');
  assert.equal(select({ interfaces: ['198.51.100.1'] }).local[4], '198.51.100.1' as Address);
  assert.equal(select({ interfaces: ['eth1'] }).local[4], '198.51.100.2' as Address);
  assert.equal(select({ interfaces: ['nope'], interfaceRegexes: ['^198\\.'] }).link, 'eth1');
  assert.equal(select({ interfaceRegexes: ['eth1|192\\.0\\.2'] }).link, 'eth0', 'addresses before names');
  assert.equal(select({ canReach: address('10.9.1.1') }).link, 'eth1');
  assert.equal(select({ canReach: address('8.8.8.8') }).link, 'eth0');
  assert.equal(select({ publicAddress: { 4: address('198.51.100.2') } }).link, 'eth1');
  const nat = select({ interfaces: ['eth0'], publicAddress: { 4: address('203.0.113.9') } });
  assert.deepEqual([nat.local[4], nat.announced[4]], ['192.0.2.1', '203.0.113.9']);
});

test('addresses and adjacency of the chosen link', () => {
  const choice = select({});
  assert.equal(choice.local[6], '2001:db8::1' as Address, 'neither temporary nor link-local');
  assert.deepEqual(choice.connected, ['192.0.2.0/25', '2001:db8::/64'], 'less what goes to the router');
});

test('what was asked for and is not there is an error with every reason', () => {
  const refused = (
    more: Partial<UnderlaySettings>,
    required: (4 | 6)[],
    pattern: RegExp,
    host = HOST,
  ): void => {
    assert.throws(
      () => select(more, required, host),
      (error) =>
        error instanceof Fault && error.code === 'interface-not-found' && pattern.test(error.details),
    );
  };
  refused({ interfaces: ['x', 'y'], interfaceRegexes: ['^z'] }, [], /has x\n.*has y\n.*matches \^z/);
  refused({ interfaces: ['cni0'] }, [], /no link is or has cni0/);
  refused({ interfaces: ['down0'] }, [], /down0 is down/);
  refused({ interfaces: ['eth1'] }, [4, 6], /no usable IPv6 address/);
  refused({ publicAddress: { 4: address('203.0.113.9') } }, [], /NAT address/);
  const split = {
    ...HOST,
    routes: [route('0.0.0.0/0', 'eth1', '198.51.100.254'), route('::/0', 'eth0', 'fe80::fe')],
  };
  refused({}, [4, 6], /leaves by eth1, the IPv6 one by eth0/, split);
  refused({}, [], /no default route/, { ...HOST, routes: [] });
  const flat = { ...HOST, links: HOST.links.map((each) => ({ ...each, mtu: 0 })) };
  refused({}, [], /MTU 0/, flat);
});
