import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostFacts } from '#model/facts.ts';
import type { RoadName } from '#model/settings.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { advise } from './checks.ts';

const yes = { available: true };
const GOOD: HostFacts = {
  settings: {
    roads: [{ name: 'vxlan', title: 'VXLAN', protocols: [17], port: 8472 }],
    overhead: 50,
    wiring: 'bridge',
    bridge: 'cni0',
    hairpin: 'hairpin-veth',
    forwardAccept: true,
    ranges: { 4: prefix('10.244.0.0/16') },
    podMtu: 1450,
    cniConf: '/etc/cni/net.d',
  },
  root: true,
  kernel: {
    release: '6.1',
    vxlan: yes,
    bridge: yes,
    veth: yes,
    nftables: yes,
    conntrack: yes,
    shaping: yes,
    ipv6: yes,
  },
  sysctls: {
    'net/ipv4/ip_forward': '1',
    'net/bridge/bridge-nf-call-iptables': '1',
    'net/netfilter/nf_conntrack_max': '1000',
    'net/netfilter/nf_conntrack_count': '1',
  },
  underlay: { links: [], routes: [] },
  choice: {
    link: 'eth0',
    mtu: 1500,
    local: { 4: address('192.0.2.1') },
    announced: { 4: address('192.0.2.1') },
    connected: [],
    why: 'x',
  },
  cniConfigs: ['10-tartan.conflist', '99-loopback.conf'],
  ownCniConfig: '10-tartan.conflist',
  udpSockets: [],
  filterChains: [],
  services: [],
};

test('a good host is told to be good', () => {
  assert.deepEqual(
    advise(GOOD).filter((finding) => finding.severity !== 'ok'),
    [],
  );
});

const link = (name: string) => ({
  name,
  index: 1,
  mtu: 1500,
  up: true,
  loopback: false,
  pointToPoint: false,
  ours: false,
  addresses: [],
});
const OURS = { links: [{ ...link('cni0'), ours: true }], routes: [] };
const drop = { hook: 'forward', family: 'ip', table: 'filter', chain: 'FORWARD', policy: 'drop' } as const;
const CASES: readonly (readonly [string, string, Partial<HostFacts>])[] = [
  ['root', 'error', { root: false }],
  ['kernel-vxlan', 'error', { kernel: { ...GOOD.kernel, vxlan: { available: false } } }],
  ['kernel-shaping', 'info', { kernel: { ...GOOD.kernel, shaping: { available: false } } }],
  ['forwarding-ipv4', 'warn', { sysctls: {} }],
  ['rp-filter', 'info', { sysctls: { ...GOOD.sysctls, 'net/ipv4/conf/eth0/rp_filter': '1' } }],
  ['br-netfilter', 'warn', { sysctls: { 'net/ipv4/ip_forward': '1' }, kubeProxy: { mode: 'iptables' } }],
  ['mtu', 'error', { settings: { ...GOOD.settings, podMtu: 1500 } }],
  [
    'range-overlap',
    'warn',
    { underlay: { links: [], routes: [{ prefix: prefix('10.244.3.0/24'), link: 'x', metric: 0 }] } },
  ],
  ['conntrack-room', 'warn', { sysctls: { ...GOOD.sysctls, 'net/netfilter/nf_conntrack_count': '900' } }],
  ['cni-order', 'error', { cniConfigs: ['05-cilium.conflist', '10-tartan.conflist'] }],
  ['cni-order', 'warn', { cniConfigs: [] }],
  ['other-providers', 'warn', { underlay: { links: [link('flannel.1'), link('cali12')], routes: [] } }],
  ['tunnel-port', 'error', { udpSockets: [{ port: 8472 }] }],
  ['forward-drop', 'info', { filterChains: [drop] }],
  ['forward-drop', 'error', { filterChains: [drop], settings: { ...GOOD.settings, forwardAccept: false } }],
  ['forward-drop', 'error', { filterChains: [{ ...drop, refused: 'EPERM' }] }],
  ['input-drop', 'info', { filterChains: [{ ...drop, hook: 'input' }] }],
  ['legacy-iptables', 'error', { legacyChains: [{ family: 4, chain: 'FORWARD', policy: 'drop' }] }],
  ['legacy-iptables', 'error', { legacyChains: [{ family: 4, chain: 'INPUT', policy: 'drop' }] }],
  ['legacy-iptables', 'warn', { legacyChains: [{ family: 4, chain: 'INPUT' }] }],
  [
    'legacy-iptables',
    'info',
    { legacyChains: [{ family: 4, chain: 'INPUT', policy: 'drop', accepts: true }] },
  ],
  ['networkd-routes', 'info', { networkd: { manageForeignRoutes: true, managed: ['eth0'] } }],
  [
    'networkd-routes',
    'warn',
    {
      settings: { ...GOOD.settings, roads: [{ name: 'host-gw', protocols: [] }] },
      networkd: { manageForeignRoutes: true, managed: ['eth0'] },
    },
  ],
  ['networkd-links', 'warn', { underlay: OURS, networkd: { manageForeignRoutes: false, managed: ['cni0'] } }],
  ['network-manager', 'warn', { underlay: OURS, networkManager: { managed: ['cni0', 'eth0'] } }],
];
for (const [check, severity, change] of CASES) {
  test(`${check} can be ${severity}`, () => {
    const findings = advise({ ...GOOD, ...change }).filter((finding) => finding.check === check);
    assert.deepEqual(
      findings.map((finding) => finding.severity),
      [severity],
    );
    assert.ok(severity === 'info' || findings.every((finding) => finding.hint !== undefined));
  });
}
test('what a road needs of the kernel is told where the road is taken, and how to get it', () => {
  const told = (name: RoadName, kernel: Partial<HostFacts['kernel']>) =>
    advise({
      ...GOOD,
      settings: { ...GOOD.settings, roads: [{ name, protocols: [] }] },
      kernel: { ...GOOD.kernel, ...kernel },
    })
      .filter(({ severity }) => severity === 'error')
      .map(({ check, hint = '' }) => `${check}: ${hint}`);
  const lacking = { available: false };
  for (const name of ['ipip', 'gre', 'wireguard'] as const)
    assert.match(told(name, { [name]: lacking }).join(), new RegExp(`^kernel-${name}: modprobe `));
  assert.deepEqual(told('host-gw', { ipip: lacking, gre: lacking, fou: lacking, vxlan: lacking }), []);
  assert.match(told('layer2', { vxlan: lacking }).join(), /^kernel-vxlan: modprobe vxlan/);
  assert.match(told('fou', { fou: lacking, ipip: yes }).join(), /modprobe -a fou fou6 .*modules-load/);
  assert.match(told('fou', { fou: yes, ipip: lacking }).join(), /^kernel-ipip: /);
});
test('where packets between pods are routed, br_netfilter does not matter', () => {
  const severity = (isolated: boolean): string | undefined =>
    advise({
      ...GOOD,
      settings: { ...GOOD.settings, isolated },
      sysctls: {},
      kubeProxy: { mode: 'iptables' },
    }).find((finding) => finding.check === 'br-netfilter')?.severity;
  assert.deepEqual([severity(true), severity(false)], ['ok', 'warn']);
});
test('the connected route of our own bridge is no overlap', () => {
  const route = { prefix: prefix('10.244.3.0/24'), link: 'cni0', metric: 0 };
  const check = (ours: boolean): string | undefined =>
    advise({ ...GOOD, underlay: { links: [{ ...link('cni0'), ours }], routes: [route] } }).find(
      (finding) => finding.check === 'range-overlap',
    )?.severity;
  assert.deepEqual([check(true), check(false)], ['ok', 'warn']);
});
test('worst first, and no link is an error', () => {
  const { choice: _, ...without } = GOOD;
  assert.equal(advise(without)[0]?.check, 'underlay');
});
