import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Attachment } from '#model/attachment.ts';
import type {
  HandOver,
  ProviderLink,
  ProviderNamespace,
  ProviderRoute,
  Reservation,
} from '#model/provider.ts';
import type { Settings } from '#model/settings.ts';
import { address } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import { contains, interfaceAddress, prefix } from '#net/prefix.ts';
import {
  describeFlannel,
  type FlannelPlan,
  findLeftRoutes,
  isDue,
  planFlannel,
  readSubnetFile,
} from './flannel.ts';
import { planPods, type PodsPlan } from './pods.ts';

const SUBNET = prefix('10.244.1.0/24');
const SETTINGS = {
  network: { subnets: { 4: { range: prefix('10.244.0.0/16') } } },
  road: { type: 'vxlan', vxlan: { vni: 1, port: 8472 } },
  wiring: { bridge: { name: 'cni0' } },
} as unknown as Settings;
const ENV =
  'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n';

/** A node with pods, as one value that steps change. */
type Host = {
  links: ProviderLink[];
  readonly namespaces: ProviderNamespace[];
  readonly reservations: Reservation[];
  ledger: Attachment[];
};

function host(count: number): Host {
  const numbers = Array.from({ length: count }, (_, index) => index);
  const link = (name: string, index: number, more: Partial<ProviderLink>): ProviderLink => ({
    name,
    index,
    mtu: 1450,
    ours: false,
    mac: mac(`02:00:00:00:00:0${index % 10}`),
    addresses: [],
    ...more,
  });
  return {
    links: [
      link('flannel.1', 3, { type: 'vxlan', vxlan: { vni: 1, port: 8472 } }),
      link('cni0', 4, { type: 'bridge' }),
      ...numbers.map((n) =>
        link(`veth${n}`, 10 + n, { type: 'veth', peer: 2, peerNetns: n, master: 'cni0' }),
      ),
    ],
    namespaces: numbers.map((n) => ({
      path: `/run/netns/p${n}`,
      inode: 100 + n,
      id: n,
      links: [
        link('eth0', 2, {
          type: 'veth',
          peer: 10 + n,
          addresses: [interfaceAddress(address(`10.244.1.${n + 2}`), 24)],
        }),
      ],
      routes: [
        {
          prefix: prefix('0.0.0.0/0'),
          metric: 0,
          link: 'eth0',
          protocol: 3,
          via: address('10.244.1.1'),
          mtu: undefined,
        },
        { prefix: SUBNET, metric: 0, link: 'eth0', protocol: 2, via: undefined, mtu: undefined },
      ],
    })),
    reservations: numbers.map((n) => ({
      address: address(`10.244.1.${n + 2}`),
      containerId: `c${n}`,
      ifname: 'eth0',
    })),
    ledger: [],
  };
}

const podsOf = ({ links, namespaces, reservations, ledger }: Host): PodsPlan =>
  planPods({
    links,
    namespaces,
    reservations,
    attachments: ledger,
    network: 'tartan',
    bootId: 'b',
    wiring: 'bridge',
    isPods: (ip) => contains(SUBNET, ip),
    nameOf: ({ containerId }) => `tt-${containerId}`,
  });

type More = { readonly settings?: Settings; readonly daemon?: number; readonly routes?: ProviderRoute[] };

function planOf(node: Host, { settings = SETTINGS, daemon, routes = [] }: More = {}): FlannelPlan {
  const subnetFile = readSubnetFile(ENV);
  return planFlannel({
    settings,
    deviceName: 'tartan.1',
    subnetFile,
    links: node.links,
    routes,
    daemon,
    pods: podsOf(node),
  });
}

function rename(node: Host, hand: HandOver): void {
  node.links = node.links.map((one) =>
    one.name === hand.from ? { ...one, name: hand.to, ours: hand.ours } : one,
  );
}

test('everything of a node becomes ours, and keeps its MAC, address and container', () => {
  const plan = planOf(host(2));
  assert.deepEqual(plan.problems, []);
  assert.deepEqual(describeFlannel(plan), [
    'keep the subnet 10.244.1.0/24, and claim it in the store',
    'adopt 10.244.1.2/24 of c0: veth0 becomes tt-c0',
    'adopt 10.244.1.3/24 of c1: veth1 becomes tt-c1',
    'adopt the bridge cni0',
    'adopt flannel.1 with its MAC 02:00:00:00:00:03 as tartan.1',
  ]);
  const [pod] = plan.pods;
  assert.deepEqual(
    [pod?.attachment.gateways, pod?.attachment.routes, pod?.attachment.netnsInode, pod?.attachment.mtu],
    [['10.244.1.1'], [], 100, 1450],
  );
});

test('property: cut short after any step, it goes on where it was, and ends the same', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5 }), fc.array(fc.nat(12), { maxLength: 4 }), (count, cuts) => {
      const node = host(count);
      for (const cut of [...cuts, Infinity]) {
        const { pods, bridge, device } = planOf(node);
        const steps = [
          ...pods.map(({ attachment }) => () => {
            node.ledger = [
              ...node.ledger.filter((one) => one.containerId !== attachment.containerId),
              attachment,
            ];
          }),
          ...[...pods.map(({ link }) => link), bridge, device].map(
            (link) => () => link && rename(node, link),
          ),
        ];
        for (const step of steps.slice(0, cut)) step();
      }
      assert.ok(!isDue(planOf(node)));
      assert.ok(node.links.every(({ ours }) => ours));
      assert.equal(new Set(node.ledger.map(({ hostLink }) => hostLink)).size, count);
      assert.deepEqual(
        node.ledger.map(({ hostLink }) => hostLink).sort(),
        node.links.flatMap(({ name }) => (name.startsWith('tt') ? name : [])).sort(),
      );
    }),
  );
});

test('an address that nobody noted stands against it; a note without a pod is left behind', () => {
  const node = host(2);
  node.reservations.splice(0, 1, { address: address('10.244.1.9'), containerId: 'gone', ifname: 'eth0' });
  const { problems, notes, pods } = planOf(node);
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['10.244.1.2'],
  );
  assert.deepEqual(
    notes.map(({ path }) => path),
    ['gone/eth0'],
  );
  assert.equal(pods.length, 1);
});

test('a pod of another host on this machine, with the same indices and address, is none of ours', () => {
  const node = host(1);
  const [own] = node.namespaces as [ProviderNamespace];
  node.namespaces.unshift({ ...own, path: '/run/netns/stranger', inode: 7, id: 9 });
  node.namespaces.push({ ...own, path: '/run/netns/nobody', inode: 8, id: 10 });
  assert.deepEqual(
    planOf(node).pods.map(({ attachment }) => attachment.netns),
    ['/run/netns/p0'],
  );
});

test('a note of a pod that has gone does not take the next one with its address', () => {
  const node = host(1);
  node.ledger = planOf(node).pods.map(({ attachment }) => ({ ...attachment, containerId: 'next' }));
  const { pods, notes } = planOf(node);
  assert.deepEqual([pods.length, notes.length], [0, 1]);
});

test('all that stands against it is told at once', () => {
  const settings = {
    ...SETTINGS,
    network: { subnets: { 4: { range: prefix('10.1.0.0/16') } } },
    road: { type: 'vxlan', vxlan: { vni: 1, port: 4789 } },
    wiring: { bridge: { name: 'other' } },
  } as unknown as Settings;
  const { problems } = planOf(host(1), { settings, daemon: 7 });
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['flanneld (process 7)', 'road.vxlan.port', 'network.ipv4.range', 'wiring.bridge.name'],
  );
});

const HOST_GW = { ...SETTINGS, road: { ...SETTINGS.road, type: 'host-gw' } } as unknown as Settings;
const ROUTE = {
  prefix: prefix('10.244.2.0/24'),
  metric: 0,
  link: 'eth0',
  protocol: 3,
  via: address('172.30.0.2'),
  mtu: undefined,
};

test('host-gw is taken over without a device; the road must be flannel’s, told by devices before routes', () => {
  const node = host(1);
  node.links = node.links.filter(({ name }) => name !== 'flannel.1');
  const plan = planOf(node, { settings: HOST_GW, routes: [ROUTE] });
  assert.deepEqual([plan.problems, plan.device, plan.pods.length], [[], undefined, 1]);
  const problem = (one: Host, more: More): string | undefined =>
    planOf(one, more).problems.map(({ path, message }) => `${path} ${message}`)[0];
  const direct =
    /^road.type is vxlan, and flannel .* by host-gw \(the route 10.244.2.0\/24 via 172.30.0.2 dev eth0\)/;
  assert.match(problem(node, { routes: [ROUTE] }) ?? '', direct);
  for (const other of [{ protocol: 4 }, { prefix: prefix('10.9.0.0/24') }, { via: undefined }])
    assert.equal(problem(node, { routes: [{ ...ROUTE, ...other }] }), undefined);
  assert.equal(problem(host(1), { routes: [ROUTE] }), undefined, 'vxlan with DirectRouting');
  assert.match(problem(host(1), { settings: HOST_GW }) ?? '', /by vxlan \(flannel.1\)/);
  const taken = host(1);
  rename(taken, { from: 'flannel.1', to: 'tartan.1', ours: true });
  assert.equal(problem(taken, { routes: [ROUTE] }), undefined, 'half taken over');
});

test('flannel’s other backends are refused by their names, whatever the road', () => {
  for (const [name, backend] of [
    ['flannel.ipip', 'ipip'],
    ['flannel-wg', 'wireguard'],
    ['flannel-wg-v6', 'wireguard'],
    ['flannel0', 'udp'],
  ] as const)
    for (const settings of [SETTINGS, HOST_GW]) {
      const node = host(0);
      node.links = [{ name, index: 3, mtu: 1450, ours: false, addresses: [] }];
      const [problem] = planOf(node, { settings }).problems;
      assert.match(
        `${problem?.path} ${problem?.message}`,
        new RegExp(`^${name} is of flannel’s backend ${backend}`),
      );
    }
});

test('the subnet file, and files that are none', () => {
  assert.deepEqual(readSubnetFile(ENV), {
    networks: { 4: '10.244.0.0/16' },
    subnets: { 4: '10.244.1.0/24' },
    mtu: 1450,
    masquerade: true,
  });
  for (const text of ['', 'FLANNEL_SUBNET=', 'x', 'FLANNEL_MTU=1'])
    assert.equal(readSubnetFile(text), undefined);
});

test('routes that flannel left are those which ours repeat', () => {
  const route = (text: string, more: object = {}) => ({
    prefix: prefix(text),
    metric: 0,
    link: 'tartan.1',
    protocol: 3,
    via: address('10.244.2.0'),
    mtu: undefined,
    ...more,
  });
  const routes = [
    route('10.244.2.0/24'),
    route('10.244.3.0/24'),
    route('10.9.0.0/24'),
    route('10.244.2.0/24', { protocol: 4 }),
    route('10.244.2.0/24', { via: undefined }),
  ];
  const covered = (one: string): boolean => one === '10.244.2.0/24' || one === '10.9.0.0/24';
  assert.deepEqual(findLeftRoutes(routes, { ranges: [prefix('10.244.0.0/16')], covered }), [routes[0]]);
});
