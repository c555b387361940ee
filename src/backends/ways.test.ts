/** One node that takes several roads at once: it sends by one, and whatever it may be sent by another is there too. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hostState, type Item, type RouteItem } from '#model/host.ts';
import type { Way } from '#model/road.ts';
import { ROAD_NAMES, type RoadName, type Settings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import type { Self } from './backend.ts';
import { chooseForPeer } from './choose.ts';
import { advertOf, planNode, planPeer, podMtu } from './node-plan.ts';
import { keyOfNode, peerOf, selfOf } from './testing/nodes.ts';
import { tunnelPorts, wayFor } from './ways.ts';

const way = (road: RoadName, mode: Way['mode'] = 'Always'): Way => ({ roads: [road], mode });

function takes(...ways: readonly Way[]): Self {
  return { ...selfOf('vxlan'), wireguardKey: keyOfNode('a'), ways };
}

/** A peer with the parameters of every road. */
function peerThat(accepts: readonly RoadName[] | undefined, index = 2, near = true): NodeAdvert {
  const peer = { ...peerOf('wireguard', index, near), ...peerOf('vxlan', index, near) };
  return accepts === undefined ? peer : { ...peer, accepts };
}

const plan = (self: Self, peers: readonly NodeAdvert[]): Item[] => [
  ...planNode(self),
  ...peers.flatMap((peer) => planPeer(self, peer).items),
];
const isUnicast = (item: Item): item is RouteItem => item.kind === 'route' && item.type === 'unicast';
const without = (items: readonly Item[], omit: (item: Item) => boolean) =>
  [...hostState(items.filter((item) => !omit(item))).values()].map((item) => JSON.stringify(item)).sort();

test('it sends by the first way and takes in by all', () => {
  const peer = peerThat(['vxlan', 'ipip']);
  const { lanes, unreachable } = chooseForPeer(takes(way('ipip'), way('vxlan')), peer);
  assert.deepEqual(unreachable, []);
  assert.deepEqual(
    lanes.map(({ road, sends }) => `${road} ${sends}`),
    ['ipip true', 'vxlan false', 'ipip true', 'vxlan false'],
  );
  const items = plan(takes(way('ipip'), way('vxlan')), [peer]);
  assert.deepEqual(
    items.filter(isUnicast).map((item) => `${item.link?.slice(0, 6)} ${item.mtu ?? ''}`),
    ['tartan ', 'tartan '],
  );
  assert.ok(
    items.some((item) => item.kind === 'fdb'),
    'what the peer’s VXLAN packets need',
  );
});

test('a peer that takes the old road only, as one of an agent without this, is sent to by that', () => {
  const self = takes(way('ipip'), way('vxlan'));
  for (const peer of [peerThat(undefined), peerThat(['vxlan'])])
    assert.deepEqual(
      chooseForPeer(self, peer).legs.map(({ carrier }) => carrier),
      ['vxlan', 'vxlan'],
    );
  const [lost] = chooseForPeer(takes(way('ipip')), peerThat(undefined)).unreachable;
  assert.match(lost?.why ?? '', /uses the road vxlan, this node ipip/);
});

test('while there are several, the narrowest is what pods, routes and devices are given', () => {
  const self = takes(way('host-gw'), way('wireguard'));
  assert.equal(podMtu(self), 1440);
  const routes = plan(self, [peerThat(['host-gw', 'wireguard'])]).filter(isUnicast);
  assert.deepEqual(
    routes.map(({ link, mtu }) => `${link} ${mtu}`),
    ['eth0 1440', 'eth0 1440'],
  );
  const alone = plan(takes(way('host-gw')), [peerThat(['host-gw'])]).filter(isUnicast);
  assert.deepEqual(
    alone.map(({ mtu }) => mtu),
    [undefined, undefined],
  );
});

test('reverse paths are loose on the underlay while there are several', () => {
  const loose = (self: Self): boolean =>
    planNode(self).some((item) => item.kind === 'sysctl' && item.key.endsWith('eth0/rp_filter'));
  assert.ok(loose(takes(way('host-gw'), way('vxlan'))));
  assert.ok(!loose(takes(way('host-gw'))));
});

test('the guard knows all tunnels; strict WireGuard waits until nothing may go plain', () => {
  const table = (self: Self): string =>
    planNode(self).flatMap((item) =>
      item.kind === 'nft-table' && item.family === 'inet' ? item.body : [],
    )[0] ?? '';
  const text = table(takes(way('vxlan'), way('gre')));
  for (const match of ['udp dport 8472 @th,96,24 7', 'meta l4proto 47'])
    assert.ok(text.includes(`${match} ip saddr != @peers4 counter drop`), match);
  assert.deepEqual(tunnelPorts(takes(way('vxlan'), way('wireguard'))), [8472, 51_820]);
  const strict = (self: Self): Self => {
    const { road } = self.settings;
    const wireguard = { ...road.wireguard, strict: true };
    return { ...self, settings: { ...self.settings, road: { ...road, wireguard } } };
  };
  assert.match(table(strict(takes(way('wireguard')))), /chain sealed/);
  for (const other of [way('vxlan'), way('wireguard', 'CrossSubnet')])
    assert.doesNotMatch(table(strict(takes(way('wireguard'), other))), /chain sealed/);
});

test('of several roads in one way both nodes take the first that both can, and say why not the others', () => {
  const auto: Way = { roads: ['host-gw', 'ipip', 'vxlan'], mode: 'Always' };
  const all: RoadName[] = ['host-gw', 'ipip', 'vxlan'];
  const road = (peer: NodeAdvert) => chooseForPeer(takes(auto), peer).lanes.map((lane) => lane.road);
  assert.deepEqual(road(peerThat(all)), ['host-gw', 'host-gw']);
  assert.deepEqual(road(peerThat(all, 2, false)), ['ipip', 'ipip']);
  assert.deepEqual(road(peerThat(['vxlan'], 2, false)), ['vxlan', 'vxlan']);
  assert.match(
    chooseForPeer(takes(auto), peerThat(all, 2, false)).legs[0]?.why ?? '',
    /^IP in IP over IPv4; not host-gw: .* a router is between$/,
  );
  // It does not see us near, whatever our own prefix says.
  const blind = { ...peerThat(all), connected: [prefix('192.0.2.2/32')] };
  assert.deepEqual(road(blind), ['ipip', 'ipip']);
});

const anyWays = fc.uniqueArray(
  fc.record({
    road: fc.constantFrom(...ROAD_NAMES),
    mode: fc.constantFrom<Way['mode']>('Always', 'CrossSubnet'),
  }),
  { minLength: 2, maxLength: 2, selector: ({ road, mode }) => `${road} ${mode}` },
);
const anyPeers = fc.uniqueArray(fc.tuple(fc.integer({ min: 2, max: 90 }), fc.boolean()), {
  maxLength: 6,
  selector: ([index]) => index,
});

test('changing which way is sent by changes routes alone', () => {
  fc.assert(
    fc.property(anyWays, anyPeers, (roads, places) => {
      const [one, two] = roads.map(({ road, mode }) => way(road, mode)) as [Way, Way];
      const peers = places.map(([index, near]) => peerThat([...one.roads, ...two.roads], index, near));
      const before = plan(takes(one, two), peers);
      const after = plan(takes(two, one), peers);
      const bodies = (item: Item): boolean => isUnicast(item) || item.kind === 'nft-table';
      assert.deepEqual(without(after, bodies), without(before, bodies));
      // And each alone needs nothing that was not there before: its parts are only told another MTU.
      const sized = (item: Item): string => JSON.stringify({ ...item, mtu: undefined });
      const there = new Set(before.filter((item) => !bodies(item)).map(sized));
      for (const item of plan(takes(two), peers))
        assert.ok(bodies(item) || there.has(sized(item)), JSON.stringify(item));
    }),
    { numRuns: 200 },
  );
});

test('auto: what must be sealed is, and what need not be is not unless it is named', () => {
  const { settings } = selfOf('vxlan');
  const roads = (auto: Settings['road']['auto'], able?: readonly RoadName[]): readonly RoadName[] =>
    wayFor({ type: 'auto', mode: 'Always' }, { ...settings, road: { ...settings.road, auto } }, () => able)
      .roads;
  assert.deepEqual(roads({ encrypt: false }), ['host-gw', 'ipip', 'gre', 'vxlan']);
  assert.deepEqual(roads({ encrypt: false }, ['vxlan', 'wireguard', 'host-gw']), ['host-gw', 'vxlan']);
  assert.deepEqual(roads({ encrypt: true }), ['wireguard', 'ipsec']);
  assert.deepEqual(roads({ encrypt: true, roads: ['udp', 'vxlan', 'ipsec'] }), ['ipsec', 'udp']);
  assert.deepEqual(roads({ encrypt: false, roads: ['wireguard', 'alloc'] }), ['wireguard']);
  assert.match(
    chooseForPeer({ ...selfOf('vxlan'), ways: [{ roads: [], mode: 'Always' }] }, peerThat(['vxlan']))
      .unreachable[0]?.why ?? '',
    /auto finds no road/,
  );
});

test('two nodes with several roads come to the same one by themselves', () => {
  const anyRoads = fc.subarray<RoadName>(['host-gw', 'ipip', 'gre', 'vxlan', 'wireguard'], { minLength: 1 });
  const anyLink = fc.constantFrom('192.0.2.0/24', '192.0.2.0/30', '192.0.2.128/25');
  const at = (name: string, index: number, roads: readonly RoadName[], link: string): Self => {
    const local = { 4: address(`192.0.2.${index}`) };
    const { underlay, ...self } = takes({ roads, mode: 'Always' });
    return {
      ...self,
      name,
      wireguardKey: keyOfNode(name),
      subnets: { 4: prefix(`10.244.${index}.0/24`) },
      underlay: { ...underlay, local, announced: local, connected: [prefix(link)] },
    };
  };
  const anySide = fc.tuple(anyRoads, anyLink);
  fc.assert(
    fc.property(anySide, anySide, fc.integer({ min: 2, max: 250 }), (one, two, index) => {
      const [a, b] = [at('a', 1, ...one), at('b', index, ...two)];
      const taken = (self: Self, peer: Self) =>
        chooseForPeer(self, advertOf(peer, true)).lanes.map(({ road }) => road);
      assert.deepEqual(taken(a, b), taken(b, a));
    }),
  );
});
