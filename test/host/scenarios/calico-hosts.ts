/** The rows of Calico's table that are about hosts: node1 has host endpoints, node2 has none. */
import { calico } from './manifests.ts';
import type { Scenario } from './scenario.ts';

const ADDRESSES = 'expectedIPs: [192.168.10.10, "fd00:1::10"]';
const endpoint = (spec: string): string =>
  calico('HostEndpoint', 'node1-eth0', `node: node1\n${spec}`, '{role: host}');
const ETH0 = endpoint(`interfaceName: eth0\n${ADDRESSES}`);
const EVERY = endpoint('interfaceName: "*"');
const globally = (name: string, spec: string): string => calico('GlobalNetworkPolicy', name, spec);
const HOSTS = `selector: "role == 'host'"`;
const FAILSAFE_IN = 'tcp/22 udp/68 tcp/179 tcp/2379 tcp/2380 tcp/5473 tcp/6443 tcp/6666 tcp/6667';
const FAILSAFE_OUT = 'udp/53 udp/67 tcp/179 tcp/2379 tcp/2380 tcp/5473 tcp/6443 tcp/6666 tcp/6667';

export const hostRows: readonly Scenario[] = [
  {
    section: 'host endpoint',
    says: 'without policy and profile: denied but for failsafe ports; forwarded traffic is allowed',
    manifests: ETH0,
    expect: [
      ['out-c', 'node1', 'tcp/80 udp/53 sctp/7 icmp', 'deny'],
      ['node1', 'out-c node2', 'tcp/80 udp/54 tcp/22 icmp', 'deny'],
      ['out-c', 'node1', FAILSAFE_IN, 'allow'],
      ['node1', 'out-c node2', FAILSAFE_OUT, 'allow'],
      ['out-c', 'db bob-db', 'tcp/80 udp/53', 'allow'],
      ['db bob-db', 'out-c alice-db', 'tcp/80 udp/54', 'allow'],
      ['alice-db', 'db', 'tcp/80 udp/53', 'allow'],
    ],
    later: [
      {
        manifests: EVERY,
        expect: [
          ['out-c', 'node1', 'tcp/80 udp/53 icmp', 'deny'],
          ['node1', 'out-c', 'tcp/80 icmp', 'deny'],
          ['out-c', 'node1', FAILSAFE_IN, 'allow'],
          ['out-c alice-db', 'db', 'tcp/80', 'allow'],
          ['db', 'out-c alice-db node1', 'tcp/80', 'allow'],
          ['node1', 'db', 'tcp/80', 'allow'],
        ],
      },
    ],
  },
  {
    section: 'host endpoint',
    says: 'its profile is missing: denied; the profile projectcalico-default-allow: allowed',
    manifests: endpoint(`interfaceName: eth0\nprofiles: [missing]\n${ADDRESSES}`),
    expect: [
      ['out-c', 'node1', 'tcp/80', 'deny'],
      ['out-c', 'node1', 'tcp/22', 'allow'],
    ],
    later: [
      {
        manifests: endpoint(`interfaceName: eth0\nprofiles: [projectcalico-default-allow]\n${ADDRESSES}`),
        expect: [
          ['out-c', 'node1', 'tcp/80 udp/53 icmp', 'allow'],
          ['node1', 'out-c node2', 'tcp/80 icmp', 'allow'],
        ],
      },
      {
        manifests:
          endpoint(`interfaceName: eth0\nprofiles: [ours]\n${ADDRESSES}`) +
          calico('Profile', 'ours', 'ingress: [{action: Allow, protocol: TCP}]'),
        expect: [
          ['out-c', 'node1', 'tcp/80', 'allow'],
          ['out-c', 'node1', 'udp/53 icmp', 'deny'],
          ['node1', 'out-c', 'tcp/80', 'deny'],
        ],
      },
    ],
  },
  {
    section: 'host endpoint',
    says: 'policies without applyOnForward: for what the host itself sends and gets; forwarded traffic is allowed',
    manifests:
      ETH0 +
      globally(
        'local',
        `${HOSTS}
types: [Ingress, Egress]
ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}, {action: Deny}]
egress: [{action: Allow, protocol: TCP, destination: {ports: [81]}}, {action: Deny}]`,
      ),
    expect: [
      ['out-c', 'node1', 'tcp/80', 'allow'],
      ['out-c', 'node1', 'tcp/82 udp/80 icmp', 'deny'],
      ['node1', 'out-c', 'tcp/81', 'allow'],
      ['node1', 'out-c', 'tcp/80 icmp', 'deny'],
      ['out-c alice-db', 'db', 'tcp/82 udp/53', 'allow'],
      ['db', 'out-c alice-db', 'tcp/82 udp/53', 'allow'],
    ],
  },
  {
    section: 'host endpoint',
    says: 'an applyOnForward policy in one direction: forwarded traffic of that direction is denied by default',
    manifests:
      ETH0 +
      globally(
        'forwarded',
        `${HOSTS}
applyOnForward: true
types: [Ingress]
ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]`,
      ),
    expect: [
      ['out-c', 'db bob-db', 'tcp/80', 'allow'],
      ['out-c', 'db bob-db', 'tcp/81 udp/53 tcp/22', 'deny'],
      ['db bob-db', 'out-c', 'tcp/81 udp/53', 'allow'],
      ['alice-db', 'db', 'tcp/81', 'allow'],
      ['client', 'db', 'tcp/81', 'allow'],
    ],
    later: [
      {
        manifests:
          EVERY +
          globally(
            'forwarded',
            `${HOSTS}
applyOnForward: true
types: [Egress]
egress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]`,
          ),
        expect: [
          ['out-c client alice-db', 'db', 'tcp/80', 'allow'],
          ['client alice-db', 'db', 'tcp/81', 'deny'],
          ['db', 'out-c alice-db', 'tcp/81', 'deny'],
          ['db', 'out-c alice-db', 'tcp/80', 'allow'],
        ],
      },
    ],
  },
  {
    section: 'host endpoint',
    says: 'a host without one is untouched',
    manifests: ETH0 + globally('all', 'selector: all()\napplyOnForward: true\ningress: [{action: Deny}]'),
    expect: [
      ['out-c', 'node2', 'tcp/80 udp/53 icmp', 'allow'],
      ['node2', 'out-c', 'tcp/80 udp/53 icmp', 'allow'],
      ['out-c', 'node1', 'tcp/80 udp/53 icmp', 'deny'],
    ],
  },
  {
    section: 'host endpoint',
    says: 'what a pod sends to its own host meets the pod’s egress policy, not the endpoint’s normal policy',
    manifests:
      EVERY +
      globally('local', `${HOSTS}\ntypes: [Ingress, Egress]\ningress: [{action: Deny}]`) +
      calico(
        'NetworkPolicy',
        'default/out',
        `selector: "role == 'db'"
types: [Egress]
egress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]`,
      ),
    expect: [
      ['client', 'node1', 'tcp/80 tcp/81 udp/53', 'allow'],
      ['db', 'node1', 'tcp/80', 'allow'],
      ['db', 'node1', 'tcp/81 udp/53', 'deny'],
      ['out-c', 'node1', 'tcp/80', 'deny'],
      ['node1', 'db client', 'tcp/80 udp/53 icmp', 'allow'],
    ],
  },
  {
    section: 'host endpoint',
    says: 'but pre-DNAT policy of an endpoint for all interfaces sees it',
    manifests:
      EVERY +
      globally(
        'early',
        `${HOSTS}
preDNAT: true
applyOnForward: true
ingress: [{action: Deny, protocol: TCP, destination: {ports: [81]}}]`,
      ) +
      globally('local', `${HOSTS}\ningress: [{action: Allow}]`),
    expect: [
      ['client', 'node1', 'tcp/80', 'allow'],
      ['client', 'node1', 'tcp/81', 'deny'],
      ['out-c', 'node1 db', 'tcp/81', 'deny'],
      ['out-c', 'node1 db', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'host endpoint',
    says: 'failsafe ports stay open whatever is denied, and are not for what is forwarded',
    manifests:
      ETH0 +
      globally(
        'nothing',
        `${HOSTS}
applyOnForward: true
types: [Ingress, Egress]
ingress: [{action: Deny}]
egress: [{action: Deny}]`,
      ),
    expect: [
      ['out-c', 'node1', FAILSAFE_IN, 'allow'],
      ['node1', 'out-c', FAILSAFE_OUT, 'allow'],
      ['out-c', 'node1', 'tcp/23 udp/22 udp/53', 'deny'],
      ['node1', 'out-c', 'tcp/22 udp/54 tcp/53', 'deny'],
      ['out-c', 'db', 'tcp/22 tcp/179', 'deny'],
      ['db', 'out-c', 'udp/53 tcp/179', 'deny'],
      ['alice-db', 'db', 'tcp/80', 'allow'],
    ],
  },
];
