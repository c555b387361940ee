import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Attachment, PortMapping } from '#model/attachment.ts';
import { hostState, type Item, keyOf } from '#model/host.ts';
import { NFT_SETS } from '#model/nft-sets.ts';
import { PORT_RULE } from '#model/numbers.ts';
import { address, addressFamily, addressFrom, FAMILIES } from '#net/address.ts';
import { isUnicastMac } from '#net/mac.ts';
import { prefix, prefixAddress } from '#net/prefix.ts';
import { checkAttachment } from './check.ts';
import { findHostPortConflicts, planHostPorts } from './host-ports.ts';
import { hostLinkName, hostMac, ifbName, podMac } from './names.ts';
import { planPod, planRules, podRoutes, shapeAddresses, type WiringContext } from './pod.ts';
import { toResult } from './result.ts';

const context: WiringContext = {
  bridge: { name: 'cbr0', hairpin: 'hairpin-veth', isolated: false, present: false },
};
const SUBNETS = { 4: prefix('10.244.1.0/24'), 6: prefix('fd00:1::/64') };

function attachment(wiring: 'routed' | 'bridge', more: Partial<Attachment> = {}): Attachment {
  const key = { network: 'pods', containerId: more.containerId ?? 'c1', ifname: 'eth0' };
  const shape = shapeAddresses(wiring, [address('10.244.1.5'), address('fd00:1::5')], SUBNETS);
  return {
    ...key,
    phase: 'planned',
    netns: '/run/netns/x',
    netnsInode: 1,
    bootId: 'b',
    configHash: 'h',
    wiring,
    hostLink: hostLinkName(key),
    mac: podMac(key),
    mtu: 1450,
    ...shape,
    routes: [],
    portMappings: [],
    ...more,
  };
}

/** Items as short lines, for reading a whole plan at once. */
const lines = (items: readonly Item[]): string[] => items.map(keyOf);

test('names fit the kernel and differ between attachments', () => {
  const key = fc.record({ network: fc.string(), containerId: fc.string(), ifname: fc.string() });
  fc.assert(
    fc.property(key, key, (a, b) => {
      assert.equal(hostLinkName(a).length, 13);
      assert.equal(ifbName(a).slice(2), hostLinkName(a).slice(2));
      assert.ok(isUnicastMac(podMac(a)) && isUnicastMac(hostMac(a, 'bridge')));
      assert.notEqual(podMac(a), hostMac(a, 'bridge'));
      if (`${a.network}/${a.containerId}/${a.ifname}` !== `${b.network}/${b.containerId}/${b.ifname}`) {
        assert.notEqual(podMac(a), podMac(b));
      }
    }),
  );
});

test('a routed pod: host routes and neighbours here, link-local next hops there', () => {
  const pod = attachment('routed');
  const plan = planPod(pod, context);
  const link = pod.hostLink;
  assert.deepEqual(plan.pair, {
    hostName: link,
    hostMac: 'ee:ee:ee:ee:ee:ee',
    podName: 'eth0',
    podMac: pod.mac,
    mtu: 1450,
  });
  assert.deepEqual(lines(plan.host), [
    `link ${link}`,
    `sysctl net/ipv6/conf/${link}/accept_ra`,
    `neighbor ${link} 10.244.1.5`,
    'route 254 10.244.1.5/32 32',
    `nft-element podsources4 ${link} . 10.244.1.5`,
    `neighbor ${link} fd00:1::5`,
    'route 254 fd00:1::5/128 32',
    `nft-element podsources6 ${link} . fd00:1::5`,
  ]);
  assert.deepEqual(lines(plan.container), [
    'link lo',
    'sysctl net/ipv6/conf/eth0/disable_ipv6',
    'sysctl net/ipv6/conf/eth0/keep_addr_on_down',
    'link eth0',
    'address eth0 10.244.1.5/32',
    'address eth0 fd00:1::5/128',
    'neighbor eth0 169.254.1.1',
    'route 254 169.254.1.1/32 0',
    'neighbor eth0 fe80::1',
    'route 254 fe80::1/128 1024',
    'route 254 0.0.0.0/0 0',
    'route 254 ::/0 1024',
  ]);
});

test('a bridge pod: a port, the subnet on the link, the bridge as next hop', () => {
  const pod = attachment('bridge');
  const plan = planPod(pod, context);
  assert.deepEqual(plan.host[0], {
    kind: 'link',
    type: 'veth',
    name: pod.hostLink,
    mac: hostMac(pod, 'bridge'),
    mtu: 1450,
    master: 'cbr0',
    hairpin: true,
    isolated: false,
  });
  assert.deepEqual(lines(plan.host).slice(1), [
    `nft-element portsources4 ${pod.hostLink} . ${pod.mac} . 10.244.1.5`,
    `nft-element portsources6 ${pod.hostLink} . ${pod.mac} . fd00:1::5`,
  ]);
  assert.deepEqual(
    plan.container.filter((item) => item.kind === 'route').map(({ prefix, via }) => [prefix, via]),
    [
      ['0.0.0.0/0', '10.244.1.1'],
      ['::/0', 'fd00:1::1'],
    ],
  );
  for (const hairpin of ['promiscuous-bridge', 'none'] as const) {
    const [link] = planPod(pod, { bridge: { ...context.bridge, hairpin } }).host;
    assert.ok(link?.kind === 'link' && link.hairpin === false);
  }
});

test('an isolated bridge pod: the bridge answers for it, and has a way to its port', () => {
  const pod = attachment('bridge');
  const plan = planPod(pod, { bridge: { ...context.bridge, isolated: true } });
  const [link] = plan.host;
  assert.ok(link?.kind === 'link' && link.isolated === true && link.master === 'cbr0');
  const table = PORT_RULE.table;
  assert.deepEqual(lines(plan.host).slice(3), [
    `neighbor ${pod.hostLink} 10.244.1.5`,
    'proxy cbr0 10.244.1.5',
    `route ${table} 10.244.1.5/32 32`,
    `neighbor ${pod.hostLink} fd00:1::5`,
    'proxy cbr0 fd00:1::5',
    `route ${table} fd00:1::5/128 32`,
  ]);
  assert.ok(plan.host.every((item) => item.kind !== 'neighbor' || item.mac === pod.mac));
  assert.deepEqual(plan.container, planPod(pod, context).container, 'a living pod needs no change inside');
});

test('a bridge answers for the routed pods beside it', () => {
  const { host } = planPod(attachment('routed'), { bridge: { ...context.bridge, present: true } });
  assert.deepEqual(
    lines(host).filter((line) => line.startsWith('proxy')),
    ['proxy cbr0 10.244.1.5', 'proxy cbr0 fd00:1::5'],
  );
});

test('a second interface routes what comes from its own addresses by itself', () => {
  for (const wiring of ['routed', 'bridge'] as const) {
    assert.deepEqual(planRules(attachment(wiring)), [], 'the first interface needs no rule');
    const second = attachment(wiring, { ifname: 'net1' });
    const rules = planRules(second);
    assert.deepEqual(
      rules.map(({ from }) => from),
      ['10.244.1.5/32', 'fd00:1::5/128'],
    );
    const { container } = planPod(second, context);
    const table = container.flatMap((item) =>
      item.kind === 'route' && item.table === rules[0]?.table ? [`${item.prefix} ${item.link}`] : [],
    );
    const onLink = wiring === 'bridge' ? ['10.244.1.0/24 net1', 'fd00:1::/64 net1'] : [];
    assert.deepEqual(table, [...onLink, '0.0.0.0/0 net1', '::/0 net1']);
    assert.deepEqual(container.slice(-2), rules, 'after the routes that they lead to');
  }
});

test('routes of the configuration: next hop filled in, no second default, off-link hops onlink when routed', () => {
  const routes = [
    { prefix: prefix('0.0.0.0/0'), via: address('10.244.1.9') },
    { prefix: prefix('192.0.2.0/24'), mtu: 1400, priority: 7 },
  ];
  const plan = planPod(attachment('routed', { routes }), context);
  const got = plan.container.filter((item) => item.kind === 'route').slice(2);
  assert.deepEqual(
    got.map(({ prefix, via, onlink, metric, mtu }) => ({ prefix, via, onlink, metric, mtu })),
    [
      { prefix: '::/0', via: 'fe80::1', onlink: undefined, metric: 1024, mtu: undefined },
      { prefix: '0.0.0.0/0', via: '10.244.1.9', onlink: true, metric: 0, mtu: undefined },
      { prefix: '192.0.2.0/24', via: '169.254.1.1', onlink: undefined, metric: 7, mtu: 1400 },
    ],
  );
});

test('bandwidth: pod ingress on the host link, pod egress through an ifb, bursts in bytes and at least a frame', () => {
  const pod = attachment('routed', {
    bandwidth: { ingressRate: 1e6, ingressBurst: 80_001, egressRate: 2e6, egressBurst: 8 },
  });
  const items = planPod(pod, context).host.slice(-4);
  const ifb = ifbName(pod);
  assert.deepEqual(items, [
    { kind: 'shaper', link: pod.hostLink, rate: 1e6, burst: 10_001 },
    { kind: 'link', type: 'ifb', name: ifb, mtu: 1450 },
    { kind: 'shaper', link: ifb, rate: 2e6, burst: 1468 },
    { kind: 'redirect', link: pod.hostLink, to: ifb },
  ]);
});

const mapping = (hostPort: number, containerPort: number, hostIp?: string): PortMapping => ({
  hostPort,
  containerPort,
  protocol: 'tcp',
  ...(hostIp === undefined ? {} : { hostIp: address(hostIp) }),
});

test('host ports: both families without hostIP, one with it, unspecified means any', () => {
  const portMappings = [mapping(80, 8080), mapping(81, 81, '192.0.2.1'), mapping(82, 82, '::')];
  assert.deepEqual(
    planHostPorts(attachment('routed', { portMappings })).map((item) => [keyOf(item), item.data?.join(' ')]),
    [
      ['nft-element hostports4 tcp . 80', '10.244.1.5 8080'],
      ['nft-element hostports6 tcp . 80', 'fd00:1::5 8080'],
      ['nft-element hostipports4 192.0.2.1 . tcp . 81', '10.244.1.5 81'],
      ['nft-element hostports6 tcp . 82', 'fd00:1::5 82'],
    ],
  );
});

test('host port conflicts: any against one, families apart, twice in one request', () => {
  const other = attachment('routed', { containerId: 'c2', portMappings: [mapping(80, 1, '192.0.2.1')] });
  const conflicts = (...portMappings: PortMapping[]): string[] =>
    findHostPortConflicts(attachment('routed', { portMappings }), [other]).map(
      ({ path, message }) => `${path}: ${message}`,
    );
  assert.deepEqual(conflicts(mapping(80, 1)), [
    'runtimeConfig.portMappings[0]: tcp port 80 of every IPv4 address is taken by c2/eth0',
  ]);
  assert.deepEqual(conflicts(mapping(80, 1, '192.0.2.2'), mapping(80, 1, '::')), []);
  assert.equal(conflicts(mapping(90, 1), mapping(90, 2, '10.0.0.1')).length, 1);
  assert.deepEqual(conflicts(mapping(90, 1), mapping(90, 1)), []);
  const single = attachment('routed', { portMappings: [mapping(90, 1, 'fd00::1')] });
  const four = { ...single, addresses: single.addresses.slice(0, 1) };
  assert.match(findHostPortConflicts(four, [])[0]?.message ?? '', /no address of the family/);
});

test('property: no conflicts exactly when the elements of both can stand together', () => {
  const ips = fc.constantFrom(undefined, '0.0.0.0', '::', '192.0.2.1', '192.0.2.2', 'fd00::9');
  const one = fc.tuple(fc.integer({ min: 80, max: 82 }), ips).map(([port, ip]) => mapping(port, 1, ip));
  fc.assert(
    fc.property(fc.array(one, { maxLength: 3 }), fc.array(one, { maxLength: 3 }), (mine, theirs) => {
      const wanted = attachment('routed', { portMappings: mine });
      const other = attachment('routed', { containerId: 'c2', portMappings: theirs });
      const scope = (item: { key: readonly string[]; set: string }): string[] => {
        const family = item.set.at(-1) ?? '';
        const all = family === '4' ? ['192.0.2.1', '192.0.2.2', 'else4'] : ['fd00::9', 'else6'];
        return item.key.length === 2 ? all.map((ip) => `${ip} ${item.key.join(' ')}`) : [item.key.join(' ')];
      };
      const held = new Set(planHostPorts(other).flatMap(scope));
      const clash = planHostPorts(wanted)
        .flatMap(scope)
        .some((entry) => held.has(entry));
      assert.equal(findHostPortConflicts(wanted, [other]).length > 0, clash);
    }),
  );
});

test('property: a plan claims no key twice, fills sets by their type, and passes its own check', () => {
  const pods = fc.record({
    wiring: fc.constantFrom('routed' as const, 'bridge' as const),
    four: fc.array(fc.integer({ min: 2, max: 250 }), { maxLength: 2 }),
    six: fc.array(fc.integer({ min: 2, max: 250 }), { maxLength: 2 }),
    ports: fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { maxLength: 3 }),
  });
  fc.assert(
    fc.property(pods, ({ wiring, four, six, ports }) => {
      const ips = [
        ...new Set(four.map((n) => addressFrom(4, 0x0af40100n + BigInt(n)))),
        ...new Set(six.map((n) => addressFrom(6, (0xfd000001n << 96n) + BigInt(n)))),
      ];
      const pod = attachment(wiring, {
        ...shapeAddresses(wiring, ips, SUBNETS),
        portMappings: ports.map((port) => mapping(port, port)),
      });
      const plan = planPod(pod, context);
      for (const item of plan.host) {
        if (item.kind === 'nft-element') assert.equal(item.key.length, NFT_SETS[item.set].key.length);
      }
      for (const family of FAMILIES) {
        const has = ips.some((ip) => addressFamily(ip) === family);
        assert.equal(
          plan.container.some(
            (item) => item.kind === 'route' && item.prefix === (family === 4 ? '0.0.0.0/0' : '::/0'),
          ),
          has,
        );
      }
      const seen = {
        routes: podRoutes(pod).map((route) => route.prefix),
        host: hostState(plan.host),
        container: hostState(
          plan.container.map((item) =>
            item.kind === 'link' && item.name === 'eth0' ? { ...item, mac: pod.mac } : item,
          ),
        ),
      };
      assert.deepEqual(checkAttachment(pod, context, seen), []);
      for (const key of seen.host.keys()) {
        const without = { ...seen, host: new Map([...seen.host].filter(([other]) => other !== key)) };
        assert.equal(checkAttachment(pod, context, without).length, 1, key);
      }
    }),
    { numRuns: 60 },
  );
});

test('check: another MAC is found, another MTU and foreign additions are not', () => {
  const pod = attachment('routed');
  const plan = planPod(pod, context);
  const container = hostState(plan.container);
  const link = { kind: 'link', type: 'foreign', name: 'eth0', mtu: 1300, mac: pod.mac } as const;
  container.set('link eth0', link);
  container.set('address eth0 192.0.2.1/24', {
    kind: 'address',
    link: 'eth0',
    address: '192.0.2.1/24',
  } as Item);
  const host = hostState(plan.host);
  const routes = podRoutes(pod).map((route) => route.prefix);
  assert.deepEqual(checkAttachment(pod, context, { host, container, routes }), []);
  container.delete('route 254 0.0.0.0/0 0');
  const broken = checkAttachment(pod, context, { host, container, routes }).map(({ path }) => path);
  assert.deepEqual(broken, ['container: route 254 0.0.0.0/0 0']);
  const rest = routes.filter((each) => each !== '0.0.0.0/0');
  assert.deepEqual(checkAttachment(pod, context, { host, container, routes: rest }), [], 'given up');
  container.set('link eth0', { ...link, mac: hostMac(pod, 'bridge') });
  assert.deepEqual(
    checkAttachment(pod, context, { host, container, routes: rest }).map(({ path }) => path),
    ['container: link eth0'],
  );
});

test('chained: only host ports and bandwidth, on the link that is there', () => {
  const pod = attachment('routed', {
    wiring: 'chained',
    hostLink: 'veth1',
    portMappings: [mapping(80, 80)],
    bandwidth: { ingressRate: 8, ingressBurst: 8 },
  });
  const plan = planPod(pod, context);
  assert.equal(plan.pair, undefined);
  assert.deepEqual(plan.container, []);
  assert.deepEqual(lines(plan.host), [
    'nft-element hostports4 tcp . 80',
    'nft-element hostports6 tcp . 80',
    'shaper veth1',
  ]);
});

test('results: interfaces in order, addresses on the container end, loopback', () => {
  const bridge = toResult(attachment('bridge'), context, { nameservers: ['192.0.2.53'] });
  assert.deepEqual(
    bridge.interfaces.map(({ name, sandbox }) => [name, sandbox]),
    [
      ['cbr0', undefined],
      [attachment('bridge').hostLink, undefined],
      ['eth0', '/run/netns/x'],
    ],
  );
  assert.deepEqual(bridge.ips[0], { address: '10.244.1.5/24', gateway: '10.244.1.1', interface: 2 });
  assert.deepEqual(bridge.dns, { nameservers: ['192.0.2.53'] });
  const routed = toResult(attachment('routed'), context);
  assert.deepEqual(
    routed.ips.map(({ address, interface: index }) => [prefixAddress(address), index]),
    [
      ['10.244.1.5', 1],
      ['fd00:1::5', 1],
    ],
  );
  assert.deepEqual(routed.routes[0], { dst: '0.0.0.0/0', gw: '169.254.1.1' });
  const lo = toResult(attachment('routed', { wiring: 'loopback', ifname: 'lo' }), context);
  assert.deepEqual(
    lo.ips.map(({ address }) => address),
    ['127.0.0.1/8', '::1/128'],
  );
});
