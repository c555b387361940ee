/**
 * What a kernel may lack: for tests that need it, for their twins (twins.ts), and for the table of docs/kernels.md. Each
 * feature is found out by trying, in a network namespace that goes with the probe.
 */
import { execFileSync } from 'node:child_process';
import { release } from 'node:os';
import { twinsOf } from './twins.ts';

export type Feature = {
  /** Plural, as in "the kernel lacks …". */
  readonly what: string;
  /** Modules that bring it, for `modprobe`. */
  readonly modules: readonly string[];
  /** What Tartan does with it, and what without; empty for a road to come. */
  readonly use: string;
  readonly without: string;
  /** Shell words that succeed where the kernel has it, in a fresh network namespace whose loopback is up. */
  readonly probe: string;
};

const link = (type: string, more = ''): string => `ip link add qv0 type ${type} ${more}`;
const nft = (family: string, rules: string): string => `printf 'table ${family} qv { ${rules}\n}' | nft -f -`;
/** socket(2) by number, for protocols that the shell's programs do not know. */
const socket = (protocol: number): string =>
  `perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, ${protocol}) or exit 1'`;
const chain = (hook: string, rule: string): string => `chain c { type ${hook}; ${rule}; }`;

export const FEATURES = {
  veth: {
    what: 'virtual Ethernet pairs',
    modules: ['veth'],
    use: 'every pod',
    without: 'ADD fails',
    probe: link('veth'),
  },
  bridge: {
    what: 'bridges',
    modules: ['bridge'],
    use: 'bridge wiring (kubenet, flannel)',
    without: '`doctor`: error; routed wiring works',
    probe: link('bridge'),
  },
  vxlan: {
    what: 'VXLAN devices',
    modules: ['vxlan'],
    use: 'road `vxlan`',
    without: '`doctor`: error; road `host-gw` works',
    probe: link('vxlan', 'id 1 dstport 8472 local 127.0.0.1'),
  },
  nftables: {
    what: 'nftables with NAT and concatenated maps',
    modules: ['nf_tables', 'nft_chain_nat', 'nft_masq', 'nft_fib_inet', 'nf_conntrack'],
    use: 'host ports, masquerade, protection against spoofing',
    without: '`doctor`: error',
    probe: nft(
      'inet',
      `map m { type inet_proto . inet_service : ipv4_addr . inet_service; }
       set s { type ifname . ipv6_addr; }
       ${chain('nat hook prerouting priority dstnat', 'fib daddr type local dnat ip to meta l4proto . th dport map @m')}
       chain d { type nat hook postrouting priority srcnat; masquerade fully-random; }
       chain e { type filter hook prerouting priority raw; iifname . ip6 saddr @s drop; }`,
    ),
  },
  'bridge tables': {
    what: 'nftables in bridges',
    modules: ['nf_tables_bridge'],
    use: 'bridge wiring: spoofed frames, promiscuous dedup',
    without: 'the table is refused and reported by `status`',
    probe: nft(
      'bridge',
      `set s { type ifname . ether_addr . ipv4_addr; }
       ${chain('filter hook prerouting priority filter', 'iifname . ether saddr . arp saddr ip @s drop')}`,
    ),
  },
  'packet log': {
    what: 'a log of packets for programs (NFLOG)',
    modules: ['nfnetlink_log', 'nft_log', 'nft_limit'],
    use: '`tartan flows`: what policies deny',
    without: 'policies are enforced all the same; the agent says that nothing is told of them',
    probe: nft('inet', chain('filter hook input priority 0', 'limit rate 1/second log group 84')),
  },
  'held packets': {
    what: 'packets that wait for a program (NFQUEUE)',
    modules: ['nfnetlink_queue', 'nft_queue'],
    use: 'policies with DNS names: an answer waits until what it tells is allowed',
    without:
      'answers are copied: a first packet may come too soon, and its sender repeats it; `status` says so',
    probe: nft('inet', chain('filter hook input priority 0', 'queue num 85 bypass')),
  },
  'logged connections': {
    what: 'connections of logged packets (NETFILTER_NETLINK_GLUE_CT)',
    modules: ['nf_conntrack_netlink'],
    use: '`tartan flows`: the service that a denied packet was for',
    without: 'only the pod behind the service is told',
    probe: 'grep -q ctnetlink_glue /proc/kallsyms',
  },
  shaping: {
    what: 'token buckets',
    modules: ['sch_tbf'],
    use: 'bandwidth into the pod',
    without: 'ADD with `bandwidth` fails',
    probe: 'tc qdisc add dev lo root tbf rate 8mbit burst 20000 latency 25ms',
  },
  ifb: {
    what: 'intermediate devices and redirects',
    modules: ['ifb', 'act_mirred', 'cls_u32', 'sch_ingress'],
    use: 'bandwidth out of the pod',
    without: 'ADD with `egressRate` fails',
    probe: `${link('ifb')} && tc qdisc add dev lo ingress && tc filter add dev lo parent ffff: u32 match u32 0 0 action mirred egress redirect dev qv0`,
  },
  ipv6: {
    what: 'IPv6',
    modules: ['ipv6'],
    use: 'IPv6 ranges and underlay',
    without: '`doctor`: error where IPv6 is configured',
    probe: 'ip -6 route add blackhole fd00::/64',
  },
  'bridge netfilter': {
    what: 'br_netfilter',
    modules: ['br_netfilter'],
    use: 'kube-proxy on nodes with bridge wiring',
    without: '`doctor` says what it means for Services',
    probe: 'modprobe -q br_netfilter; test -e /proc/sys/net/bridge/bridge-nf-call-iptables',
  },
  sctp: {
    what: 'SCTP sockets',
    modules: ['sctp'],
    use: 'programs in pods; Tartan itself only forwards SCTP (host ports)',
    without: 'host ports still forward SCTP; pods cannot open it',
    probe: socket(132),
  },
  wireguard: {
    what: 'WireGuard devices',
    modules: ['wireguard'],
    use: 'road `wireguard`',
    without: '`status`: the device is refused; other roads work, without encryption',
    probe: link('wireguard'),
  },
  ipip: {
    what: 'IP in IP tunnels',
    modules: ['ipip', 'sit', 'ip6_tunnel'],
    use: 'road `ipip`',
    without: '`status`: the devices are refused; other roads work',
    probe: `${link('ipip', 'local 127.0.0.1 remote 127.0.0.2')} && ip link add qv1 type sit local 127.0.0.1 remote 127.0.0.2 && ip link add qv2 type ip6tnl local ::1 remote ::2`,
  },
  gre: {
    what: 'GRE tunnels',
    modules: ['ip_gre', 'ip6_gre'],
    use: 'road `gre`',
    without: '`status`: the devices are refused; other roads work',
    probe: `${link('gre', 'local 127.0.0.1 remote 127.0.0.2')} && ip link add qv1 type ip6gre local ::1 remote ::2`,
  },
  fou: {
    what: 'IP in IP within UDP (foo-over-UDP)',
    modules: ['fou', 'fou6', 'ipip', 'sit', 'ip6_tunnel'],
    use: 'road `fou`; load `fou` and `fou6` yourself, the kernel does not',
    without: '`doctor`: error, `status`: the port is refused; other roads work',
    probe: `ip fou add port 5555 gue && ${link('ipip', 'local 127.0.0.1 remote 127.0.0.2 encap gue encap-sport auto encap-dport 5555')} && ip link add qv1 type ip6tnl local ::1 remote ::2 encap gue encap-sport auto encap-dport 5555`,
  },
  geneve: {
    what: 'Geneve devices',
    modules: ['geneve'],
    use: '',
    without: '',
    probe: link('geneve', 'external'),
  },
  esp: {
    what: 'IPsec ESP with AES-GCM',
    modules: ['esp4', 'esp6', 'xfrm_user', 'xfrm_interface'],
    use: 'road `ipsec`',
    without: '`status`: states and the device are refused; other roads work',
    probe: `${link('xfrm', 'if_id 1')} && ip xfrm state add src 127.0.0.1 dst 127.0.0.2 proto esp spi 1 mode tunnel aead 'rfc4106(gcm(aes))' 0x${'00'.repeat(20)} 128`,
  },
  netkit: { what: 'netkit pairs', modules: ['netkit'], use: '', without: '', probe: link('netkit') },
  netem: {
    what: 'netem',
    modules: ['sch_netem'],
    use: '',
    without: '',
    probe: 'tc qdisc add dev lo root netem delay 1ms',
  },
} as const satisfies Record<string, Feature>;

export type FeatureName = keyof typeof FEATURES;

const found = new Map<FeatureName, boolean>();

export function hasFeature(name: FeatureName): boolean {
  const known = found.get(name);
  if (known !== undefined) return known;
  const has = succeeds(FEATURES[name].probe);
  found.set(name, has);
  return has;
}

function succeeds(probe: string): boolean {
  try {
    execFileSync('unshare', ['--net', 'sh', '-c', `ip link set lo up && { ${probe}; }`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * The reason to skip a test on a kernel without the feature, naming the twin that runs it under QEMU; undefined where
 * the kernel has it. A feature without twin is an error in this tree, wherever the test runs.
 */
export function whyLacking(name: FeatureName): string | undefined {
  const twins = twinsOf(name);
  if (twins.length === 0) throw new Error(`no twin in test/vm/twins.ts needs ${name}`);
  if (hasFeature(name)) return undefined;
  const { what, modules } = FEATURES[name];
  return `this kernel (${release()}) lacks ${what} (${modules.join(', ')}); the twin runs under QEMU: test/host/vm.test.ts, ${twins.join(', ')}`;
}
