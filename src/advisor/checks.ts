/**
 * What `tartan doctor` says about a host: facts in, findings out. Each check looks at one thing and always answers, so
 * that a reader sees what was looked at; what could not be found out is told as info.
 */
import type { Ability, HostFacts, KernelFacts } from '#model/facts.ts';
import { type Finding, SEVERITIES, type Severity } from '#model/finding.ts';
import type { RoadName } from '#model/settings.ts';
import { families } from '#net/per-family.ts';
import { checkNeighbours } from './neighbours.ts';
import { checkNetwork } from './network.ts';
import { checkRouting } from './routing.ts';

/** Sysctls whose values the checks want, whatever the settings. */
export const ADVISOR_SYSCTLS: readonly string[] = [
  'net/ipv4/ip_forward',
  'net/ipv6/conf/all/forwarding',
  'net/ipv6/conf/all/disable_ipv6',
  'net/ipv4/conf/all/rp_filter',
  'net/bridge/bridge-nf-call-iptables',
  'net/bridge/bridge-nf-call-ip6tables',
  'net/netfilter/nf_conntrack_max',
  'net/netfilter/nf_conntrack_count',
];

/** Those and the ones of the chosen link. */
export function sysctlsOf(link: string | undefined): string[] {
  if (link === undefined) return [...ADVISOR_SYSCTLS];
  const own = [`net/ipv4/conf/${link}/rp_filter`, `net/ipv6/conf/${link}/accept_ra`];
  return [...ADVISOR_SYSCTLS, ...own];
}

/** Findings, worst first. */
export function advise(facts: HostFacts): Finding[] {
  const findings = [
    checkRoot(facts),
    ...checkKernel(facts),
    ...checkNetwork(facts),
    ...checkNeighbours(facts),
    ...checkRouting(facts),
  ];
  return findings.sort((a, b) => SEVERITIES.indexOf(b.severity) - SEVERITIES.indexOf(a.severity));
}

function checkRoot({ root }: HostFacts): Finding {
  return root
    ? { check: 'root', severity: 'ok', title: 'running as root' }
    : { check: 'root', severity: 'error', title: 'not running as root', hint: 'start the agent as root' };
}

type Need = {
  readonly ability: Exclude<keyof KernelFacts, 'release'>;
  readonly what: string;
  /** Of `TUNNELS`: the road that needs it; absent: the one that is called as it is. */
  readonly road?: RoadName;
  readonly module: string;
  readonly needed: (facts: HostFacts) => boolean;
};

const always = (): boolean => true;
function hasRoad({ settings: { roads } }: HostFacts, road: string): boolean {
  return roads.some(({ name }) => name === road);
}
/** What of the kernel is used, when, and the module that brings it. */
const NEEDS: readonly Need[] = [
  { ability: 'veth', what: 'virtual Ethernet pairs', module: 'veth', needed: always },
  { ability: 'nftables', what: 'nftables', module: 'nf_tables', needed: always },
  { ability: 'conntrack', what: 'connection tracking', module: 'nf_conntrack', needed: always },
  {
    ability: 'vxlan',
    what: 'VXLAN devices',
    module: 'vxlan',
    needed: (f) => hasRoad(f, 'vxlan') || hasRoad(f, 'layer2'),
  },
  { ability: 'bridge', what: 'bridges', module: 'bridge', needed: (f) => f.settings.wiring === 'bridge' },
  { ability: 'shaping', what: 'traffic shaping', module: 'sch_tbf', needed: () => false },
  {
    ability: 'ipv6',
    what: 'IPv6',
    module: 'ipv6',
    needed: (f) => families(f.settings.ranges).includes(6),
  },
];

/** Told of only where the road is taken: hosts that do without need not hear of them. */
const TUNNELS: readonly Need[] = [
  { ability: 'ipip', what: 'IP in IP tunnels', module: 'ipip, sit and ip6_tunnel', needed: always },
  { ability: 'gre', what: 'GRE tunnels', module: 'ip_gre and ip6_gre', needed: always },
  {
    ability: 'ipip',
    road: 'fou',
    what: 'IP in IP tunnels',
    module: 'ipip, sit and ip6_tunnel',
    needed: always,
  },
  {
    ability: 'fou',
    what: 'IP in IP within UDP',
    module:
      '-a fou fou6 (which the kernel never loads by itself: name them in /etc/modules-load.d/tartan.conf too)',
    needed: always,
  },
  { ability: 'wireguard', what: 'WireGuard devices', module: 'wireguard', needed: always },
  { ability: 'ipsec', what: 'IPsec devices', module: 'xfrm_interface, esp4 and esp6', needed: always },
  { ability: 'tun', what: 'TUN devices', module: 'tun', needed: always },
];

function checkKernel(facts: HostFacts): Finding[] {
  const tunnels = TUNNELS.filter(({ ability, road = ability }) => hasRoad(facts, road));
  return [...NEEDS, ...tunnels].map((need) =>
    abilityFinding(need, facts.kernel[need.ability], need.needed(facts)),
  );
}

function abilityFinding(
  { ability, what, module }: Need,
  found: Ability | undefined,
  needed: boolean,
): Finding {
  const check = `kernel-${ability}`;
  if (found === undefined)
    return { check, severity: 'info', title: `whether the kernel has ${what} is not known` };
  if (found.available) return { check, severity: 'ok', title: `the kernel has ${what}` };
  const severity: Severity = needed ? 'error' : 'info';
  return {
    check,
    severity,
    title: `the kernel lacks ${what}`,
    ...(found.reason === undefined ? {} : { detail: found.reason }),
    hint: `modprobe ${module}, or use a kernel that has it`,
  };
}
