/**
 * The test files that also run in virtual machines (test/host/vm.test.ts), in this order. A file may need more than
 * this host's kernel has; there nothing may be skipped. Keep each machine to a few minutes: starting a file costs some 10 s
 * in it, an agent as much, a process 20 times what it costs here.
 */
import type { FeatureName } from './features.ts';

/** One after the other, each with the modules that its twins need: some make devices in every namespace. */
export const MACHINES = ['as it boots', 'tunnels', 'encryption'] as const;
export type Machine = (typeof MACHINES)[number];

export type Twin = {
  readonly file: string;
  /** Absent: as it boots. */
  readonly machine?: Machine;
  /** What of the kernel is loaded before: the modules of these features (features.ts). */
  readonly needs: readonly FeatureName[];
  /** Only tests whose full name (suites, then test) has a match; default: all. */
  readonly only?: readonly RegExp[];
};

export const TWINS: readonly Twin[] = [
  { file: 'test/host/kernel.test.ts', needs: [] },
  { file: 'test/host/rules.test.ts', needs: [], only: [/^packets /] },
  { file: 'test/host/rules-bridge.test.ts', needs: ['bridge tables'] },
  {
    file: 'test/host/policy-denied.test.ts',
    needs: [],
    only: [/^denied (egress|by a chain that)/, /^the staged/],
  },
  {
    file: 'test/host/nflog.test.ts',
    needs: ['packet log', 'logged connections'],
    only: [/^(tcp|icmp).*ingress/, /^to the node/, /^what an address was/, /^without nfnetlink_log/],
  },
  { file: 'test/host/policy-answers.test.ts', needs: ['packet log', 'held packets'], only: [/^hold /] },
  {
    file: 'test/vm/conformance.test.ts',
    needs: ['sctp'],
    only: [
      /^tartan (routed|bridge) H3 SCTP/,
      /^tartan routed (P14|P17) /,
      /^tartan bridge (H1 .*IPv4|B2 .*dual|B13) /,
    ],
  },
  // One lab is what the two minutes allow; a device of GRE differs from one of IP in IP by its kind alone.
  {
    file: 'test/host/ip-tunnels.test.ts',
    machine: 'tunnels',
    needs: ['ipip', 'gre'],
    only: [/^a device/, /^the road ipip/],
  },
  // IP in IP and GRE have a lab, or devices, of their own above.
  { file: 'test/host/road-wire.test.ts', machine: 'tunnels', needs: ['fou'], only: [/^the road fou /] },
  { file: 'test/host/bgp-kube-router.test.ts', machine: 'tunnels', needs: ['ipip'], only: [/IP in IP/] },
  { file: 'test/host/wireguard.test.ts', machine: 'encryption', needs: ['wireguard'] },
  { file: 'test/host/wireguard-road.test.ts', machine: 'encryption', needs: ['wireguard'] },
  {
    file: 'test/host/switch-roads.test.ts',
    machine: 'encryption',
    needs: ['wireguard', 'ipip', 'fou', 'esp', 'gre'],
  },
  { file: 'test/host/xfrm.test.ts', machine: 'encryption', needs: ['esp'] },
  {
    file: 'test/host/ipsec-peer.test.ts',
    machine: 'encryption',
    needs: ['esp'],
    only: [/over IPv6/, /through a NAT/],
  },
  { file: 'test/host/ipsec-road.test.ts', machine: 'encryption', needs: ['esp'] },
];

export function twinsIn(machine: Machine): Twin[] {
  return TWINS.filter((twin) => (twin.machine ?? MACHINES[0]) === machine);
}

/** Files of the twins that need a feature. */
export function twinsOf(feature: FeatureName): string[] {
  return TWINS.filter(({ needs }) => needs.includes(feature)).map(({ file }) => file);
}
