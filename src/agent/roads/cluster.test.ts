import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Cluster } from './cluster.ts';
import { Host } from '../host/host.ts';
import { Events } from '#lib/log.ts';
import { parseSettings } from '#config/parse.ts';
import { FakeKernel } from '#kernel/fake.ts';
import type { NodeAdvert, SubnetClaim } from '#model/world.ts';
import { address } from '#net/address.ts';
import { type Mac, mac } from '#net/mac.ts';
import { interfaceAddress, prefix } from '#net/prefix.ts';

const FLANNEL = readFileSync(new URL('../../../profiles/flannel.yaml', import.meta.url), 'utf8');
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** Of its own for each node. */
function vtepMacOf(host: string): Mac {
  const bytes = host.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  return mac(['02', '00', ...bytes].join(':'));
}

function advert(name: string, host: string, subnet: string): NodeAdvert {
  return {
    name,
    addresses: { 4: address(host) },
    subnets: { 4: prefix(subnet) },
    road: 'vxlan',
    vxlan: { vni: 1, port: 8472, mac: { 4: vtepMacOf(host) } },
    mtu: 1500,
    ready: true,
  };
}
const claim = (node: string, subnet: string): SubnetClaim => ({
  node,
  subnet: prefix(subnet),
  reserved: false,
});

type Bridge = { readonly mtu: number; readonly narrowestPort: number | undefined };
type Started = { cluster: Cluster; host: Host; events: Events; claims: SubnetClaim[] };

function start(bridge?: Bridge): Started {
  const text = 'apiVersion: tartan.dev/v1\nkind: Settings\nprofile: flannel\nnode: {name: n0}\n';
  const { settings } = parseSettings([{ origin: 'test', text }], { flannel: FLANNEL });
  const kernel = new FakeKernel();
  const link = {
    name: 'eth0',
    index: 2,
    mtu: 1500,
    up: true,
    loopback: false,
    pointToPoint: false,
    ours: false,
  };
  const local = {
    address: interfaceAddress(address('192.0.2.1'), 16),
    scope: 'global',
    dynamic: false,
    temporary: false,
    deprecated: false,
    tentative: false,
  } as const;
  kernel.setUnderlay({
    links: [
      { ...link, addresses: [local] },
      { ...link, name: 'cni0', index: 3, mtu: bridge?.mtu ?? 1450, ours: true, addresses: [] },
    ],
    routes: [{ prefix: prefix('0.0.0.0/0'), link: 'eth0', metric: 0, via: address('192.0.2.254') }],
  });
  const events = new Events(log);
  const claims: SubnetClaim[] = [];
  const host = new Host({ kernel, brake: settings.brake, log, nudge: () => {}, reap: () => {} });
  const cluster = new Cluster({
    settings,
    host,
    events,
    underlay: () => kernel.underlay(),
    claims: () => claims,
    legacyPods: () => false,
    narrowestPort: () => bridge?.narrowestPort,
    stations: () => [],
    publishSoon: () => {},
    nudge: () => {},
    publish: async () => {},
  });
  cluster.refresh({ 4: prefix('10.244.0.0/24') });
  assert.equal(cluster.underlayProblem, undefined);
  cluster.settle();
  return { cluster, host, events, claims };
}

const routesTo = (host: Host, subnet: string): number =>
  [...host.wanted.values()].filter((item) => item.kind === 'route' && item.prefix === subnet).length;

test('a bridge gets what its narrowest pod has, once the road leaves it again', () => {
  const mtus = (mtu: number, narrowestPort: number | undefined): number | undefined =>
    start({ mtu, narrowestPort }).cluster.podMtu();
  assert.equal(mtus(700, 1450), 1450, 'the underlay was narrow for a while');
  assert.equal(mtus(700, 700), 700, 'a pod was made meanwhile');
  assert.equal(mtus(700, undefined), 1450, 'it is gone');
  assert.equal(mtus(1400, 1400), 1400, 'the road before left less');
  assert.equal(mtus(1450, 1000), 1450, 'one pod asked for less');
});

test('two nodes with one subnet: only the holder is programmed, and it is said', () => {
  const { cluster, host, events, claims } = start();
  cluster.setAdvert('n1', advert('n1', '192.0.2.11', '10.244.7.0/24'));
  cluster.setAdvert('n2', advert('n2', '192.0.2.12', '10.244.7.0/24'));
  claims.push(claim('n2', '10.244.7.0/24'));
  cluster.settle();
  assert.equal(routesTo(host, '10.244.7.0/24'), 1);
  assert.equal(cluster.peers.get('n2')?.legs.length, 1);
  assert.equal(cluster.peers.get('n1')?.legs.length, 0);
  assert.match(
    cluster.peers
      .get('n1')
      ?.unreachable.map(({ why }) => why)
      .join() ?? '',
    /n2 holds it/,
  );
  assert.equal(events.list().filter(({ severity }) => severity === 'error').length, 1);

  claims.splice(0, 1, claim('n1', '10.244.7.0/24'));
  cluster.unsettle();
  cluster.settle();
  assert.equal(cluster.peers.get('n1')?.legs.length, 1);
  assert.equal(cluster.peers.get('n2')?.legs.length, 0);

  cluster.setAdvert('n2', undefined);
  cluster.settle();
  assert.deepEqual(cluster.conflicts, []);
  assert.equal(routesTo(host, '10.244.7.0/24'), 1);
});

test('a peer gets no route for our own subnet; a claim of its own takes the subnet from us', () => {
  const { cluster, host, claims } = start();
  cluster.setAdvert('a', advert('a', '192.0.2.11', '10.244.0.0/24'));
  claims.push(claim('n0', '10.244.0.0/24'));
  cluster.settle();
  assert.equal(cluster.peers.get('a')?.legs.length, 0);
  assert.deepEqual(host.itemsOf('peer/a')?.size ?? 0, 0);
  assert.deepEqual(cluster.lostSubnets(), []);

  claims.splice(0, 1, claim('a', '10.244.0.0/24'));
  cluster.unsettle();
  cluster.settle();
  assert.match(cluster.lostSubnets().join(), /node n0 may not use 10\.244\.0\.0\/24/);
});

test('5,000 peers, one of them changed: one is planned again', () => {
  const { cluster } = start();
  const subnet = (index: number): string => `10.${64 + (index >> 8)}.${index & 255}.0/24`;
  const node = (index: number): string => `192.0.${4 + (index >> 8)}.${index & 255}`;
  for (let index = 0; index < 5000; index += 1)
    cluster.setAdvert(`p${index}`, advert(`p${index}`, node(index), subnet(index)));
  cluster.settle();
  const before = new Map(cluster.peers);
  cluster.setAdvert('p7', { ...advert('p7', node(7), subnet(7)), mtu: 1400 });
  const started = performance.now();
  cluster.settle();
  const took = performance.now() - started;
  const changed = [...cluster.peers].filter(([name, plan]) => before.get(name) !== plan);
  assert.deepEqual(
    changed.map(([name]) => name),
    ['p7'],
  );
  assert.ok(took < 250, `${took} ms`);
});
