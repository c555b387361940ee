/**
 * Calico's table of default behaviour, row by row (its policy reference and felix's documentation of host endpoints; the
 * host's rows are in calico-hosts.ts), and what stands around it: tiers, orders, actions, namespaces and peers.
 */
import { hostRows } from './calico-hosts.ts';
import { peers } from './calico-peers.ts';
import { admin, baseline, calico, clusterPolicy, networkPolicy } from './manifests.ts';
import type { Documentation, Scenario } from './scenario.ts';

const DB = `selector: "role == 'db'"`;
/** Matches nothing that is sent here. */
const NEVER = '{action: Allow, protocol: UDPLite}';
const tier = (name: string, spec: string): string => calico('Tier', name, spec);
const inDefault = (name: string, spec: string): string => calico('NetworkPolicy', `default/${name}`, spec);
const globally = (name: string, spec: string): string => calico('GlobalNetworkPolicy', name, spec);

const rows: readonly Scenario[] = [
  {
    section: 'pod',
    says: 'no policy selects it: everything is allowed, in both directions',
    manifests:
      inDefault('others', `selector: "role == 'nobody'"\ntypes: [Ingress, Egress]`) +
      globally('hosts', 'selector: has(host-endpoint)\ntypes: [Ingress, Egress]'),
    expect: [
      ['client frontend alice-db out-c node2', 'db', 'tcp/80 udp/53 sctp/7 icmp', 'allow'],
      ['db', 'client frontend alice-db out-c node2', 'tcp/80 udp/53 sctp/7 icmp', 'allow'],
    ],
  },
  {
    section: 'pod',
    says: 'only ingress policies select it: ingress is denied by default, egress allowed',
    manifests: inDefault('in', `${DB}\ntypes: [Ingress]`),
    expect: [
      ['client frontend alice-db out-c node2', 'db', 'tcp/80 udp/53 icmp', 'deny'],
      ['db', 'client frontend alice-db out-c node2', 'tcp/80 udp/53 icmp', 'allow'],
    ],
    later: [
      {
        manifests: inDefault('out', `${DB}\ntypes: [Egress]`),
        expect: [
          ['client frontend alice-db out-c', 'db', 'tcp/80', 'allow'],
          ['db', 'client frontend alice-db out-c node2', 'tcp/80', 'deny'],
        ],
      },
    ],
  },
  {
    section: 'pod',
    says: 'a policy selects it, no rule matches, and its tier denies by default: denied',
    manifests:
      tier('security', 'order: 100') +
      globally(
        'first',
        `tier: security\n${DB}\ningress: [${NEVER}, {action: Allow, protocol: TCP, destination: {ports: [81]}}]`,
      ) +
      inDefault('then', `${DB}\ningress: [{action: Allow}]`),
    expect: [
      ['client alice-db', 'db', 'tcp/81', 'allow'],
      ['client alice-db', 'db', 'tcp/80 udp/53 icmp', 'deny'],
      ['client', 'frontend', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'pod',
    says: 'the same in a tier that passes by default: the next tier is asked, and in the end it is allowed',
    manifests:
      tier('security', 'order: 100\ndefaultAction: Pass') +
      globally(
        'first',
        `tier: security\nselector: all()\ningress: [${NEVER}, {action: Deny, protocol: TCP, destination: {ports: [81]}}]`,
      ) +
      inDefault('then', `${DB}\ningress: [{action: Allow, protocol: TCP}]`),
    expect: [
      ['client alice-db', 'db', 'tcp/80', 'allow'],
      ['client alice-db', 'db', 'tcp/81 udp/53', 'deny'],
      ['client alice-db', 'frontend bob-db', 'tcp/80 udp/53', 'allow'],
      ['client alice-db', 'frontend bob-db', 'tcp/81', 'deny'],
    ],
  },
  {
    section: 'pod',
    says: 'its own node reaches it whatever its policies',
    manifests: globally('none', 'selector: all()\ntypes: [Ingress, Egress]\ningress: [{action: Deny}]'),
    expect: [
      ['node1', 'db client bob-db', 'tcp/80 udp/53 icmp', 'allow'],
      ['node2', 'frontend alice-db', 'tcp/80 udp/53 icmp', 'allow'],
      ['node2', 'db', 'tcp/80 udp/53 icmp', 'deny'],
      ['db', 'db', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'pod',
    says: 'to its own host: as its egress policy says',
    manifests: inDefault(
      'out',
      `${DB}\ntypes: [Egress]\negress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]`,
    ),
    expect: [
      ['db', 'node1', 'tcp/80', 'allow'],
      ['db', 'node1', 'tcp/81 udp/53 icmp', 'deny'],
      ['client', 'node1', 'tcp/81 udp/53 icmp', 'allow'],
    ],
  },
  {
    section: 'pod',
    says: 'Kubernetes’ policies: their union, at order 1000 of tier default',
    manifests:
      networkPolicy('one', 'podSelector: {matchLabels: {role: db}}\ningress: [{ports: [{port: 80}]}]') +
      networkPolicy('two', 'podSelector: {matchLabels: {role: db}}\ningress: [{ports: [{port: 81}]}]') +
      inDefault(
        'before',
        `${DB}\norder: 999\ningress: [{action: Deny, protocol: TCP, destination: {ports: [81]}}]`,
      ) +
      inDefault(
        'after',
        `${DB}\norder: 1001\ningress: [{action: Deny, protocol: TCP, destination: {ports: [80]}}, {action: Allow, protocol: TCP, destination: {ports: [82]}}]`,
      ),
    expect: [
      ['client', 'db', 'tcp/80 tcp/82', 'allow'],
      ['client', 'db', 'tcp/81 tcp/83 udp/80', 'deny'],
    ],
  },
];

const order: readonly Scenario[] = [
  {
    section: 'order',
    says: 'tiers by order, policies within them by order, those without one last, then by name',
    manifests:
      tier('late', 'order: 20\ndefaultAction: Pass') +
      tier('early', 'order: 10\ndefaultAction: Pass') +
      globally(
        'a',
        'tier: late\norder: 1\ningress: [{action: Deny, protocol: TCP, destination: {ports: ["80:83"]}}]',
      ) +
      globally(
        'b',
        'tier: early\norder: 2\ningress: [{action: Allow, protocol: TCP, destination: {ports: [80, 81]}}]',
      ) +
      globally(
        'c',
        'tier: early\norder: 1\ningress: [{action: Deny, protocol: TCP, destination: {ports: [81]}}]',
      ) +
      globally('d', 'tier: early\ningress: [{action: Deny, protocol: TCP, destination: {ports: [80, 82]}}]') +
      globally('e', 'tier: early\ningress: [{action: Allow, protocol: TCP, destination: {ports: [82, 83]}}]'),
    expect: [
      ['client alice-db', 'db bob-db', 'tcp/80 tcp/83 tcp/84 udp/80', 'allow'],
      ['client alice-db', 'db bob-db', 'tcp/81 tcp/82', 'deny'],
    ],
  },
  {
    section: 'order',
    says: 'Kubernetes’ tiers kube-admin and kube-baseline stand around tier default, which denies by default',
    manifests:
      clusterPolicy(
        'baseline',
        baseline(0, 'subject: {namespaces: {}}\ningress: [{action: Deny, from: [{namespaces: {}}]}]'),
      ) +
      clusterPolicy(
        'admin',
        admin(
          0,
          `subject: {namespaces: {}}
ingress:
- {action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 82}}}]}`,
        ),
      ) +
      inDefault(
        'between',
        `${DB}
ingress:
- {action: Allow, protocol: TCP, destination: {ports: ["80:82"]}}
- {action: Pass, protocol: UDP}`,
      ),
    expect: [
      ['client alice-db', 'db', 'tcp/80 tcp/81', 'allow'],
      ['client alice-db', 'db', 'tcp/82 tcp/83 udp/53', 'deny'],
      ['client alice-db', 'frontend bob-db', 'tcp/80 udp/53', 'deny'],
      ['out-c', 'db', 'udp/53', 'allow'],
    ],
  },
  {
    section: 'order',
    says: 'types: where none are named, those of the rules; without rules, Ingress',
    manifests: inDefault('only-egress', `${DB}\negress: [{action: Allow, protocol: TCP}]`),
    expect: [
      ['client alice-db', 'db', 'tcp/80 udp/53', 'allow'],
      ['db', 'client alice-db', 'tcp/80', 'allow'],
      ['db', 'client alice-db', 'udp/53', 'deny'],
    ],
    later: [
      {
        manifests: inDefault('nothing', DB),
        expect: [
          ['client alice-db', 'db', 'tcp/80', 'deny'],
          ['db', 'client alice-db', 'tcp/80', 'allow'],
        ],
      },
    ],
  },
  {
    section: 'actions',
    says: 'Log goes on with the next rule',
    manifests: inDefault(
      'logged',
      `${DB}
ingress:
- {action: Log}
- {action: Allow, protocol: TCP}
- {action: Log, protocol: UDP}`,
    ),
    expect: [
      ['client alice-db', 'db', 'tcp/80', 'allow'],
      ['client alice-db', 'db', 'udp/53 icmp', 'deny'],
    ],
  },
  {
    section: 'actions',
    says: 'Pass leaves the tier; after the last one, it is allowed',
    manifests:
      tier('security', 'order: 100') +
      globally(
        'first',
        `tier: security
order: 1
selector: all()
ingress:
- {action: Pass, protocol: TCP, destination: {ports: ["80:82"]}}
- {action: Deny}`,
      ) +
      globally('second', 'tier: security\norder: 5000\ningress: [{action: Deny}]') +
      inDefault('then', `${DB}\ningress: [{action: Allow, protocol: TCP, destination: {ports: [81]}}]`),
    expect: [
      ['client alice-db', 'db', 'tcp/81', 'allow'],
      ['client alice-db', 'db', 'tcp/80 tcp/82 tcp/83 udp/81', 'deny'],
      ['client alice-db', 'frontend bob-db', 'tcp/80 tcp/82', 'allow'],
      ['client alice-db', 'frontend bob-db', 'tcp/83 udp/81', 'deny'],
    ],
  },
  {
    section: 'staged',
    says: 'staged policies decide nothing, and a tier with nothing else passes',
    manifests:
      tier('security', 'order: 100') +
      calico(
        'StagedGlobalNetworkPolicy',
        'tried',
        'tier: security\nselector: all()\ningress: [{action: Deny}]',
      ) +
      calico('StagedNetworkPolicy', 'default/tried', `${DB}\ntypes: [Ingress, Egress]`) +
      calico(
        'StagedKubernetesNetworkPolicy',
        'default/tried',
        'podSelector: {}\npolicyTypes: [Ingress, Egress]',
      ),
    expect: [['client alice-db out-c', 'db', 'tcp/80 udp/53', 'allow']],
  },
];

export const CALICO: Documentation = {
  title: 'Calico: default behaviour',
  source: 'https://docs.tigera.io/calico/latest/reference/ and felix (calc, rules), as the code has it',
  scenarios: [...rows, ...hostRows, ...order, ...peers],
  elsewhere: [
    {
      section: 'pod',
      says: 'an interface that the agent does not know is dropped: here, no pod has a network before its rules',
      file: 'policy-agent.test.ts',
      title: 'fail closed: while policies cannot be loaded no pod gets a network',
    },
    {
      section: 'existing connections',
      says: 'they survive a change of policies (policy.established: keep)',
      file: 'policy-agent.test.ts',
      title: 'a change of policies and connections that live',
    },
    {
      section: 'host endpoint',
      says: 'doNotTrack: no entry of connection tracking, and nobody asks again',
      file: 'policy-host-scopes.test.ts',
      title: 'doNotTrack: no entry in conntrack, and nobody asks again',
    },
    {
      section: 'host endpoint',
      says: 'preDNAT sees addresses and ports before they are translated',
      file: 'policy-host-scopes.test.ts',
      title: 'preDNAT sees the host port, the rest what became of it',
    },
  ],
  silent: [
    [
      'pod',
      'its profile is missing: everything is denied',
      'pods here have no profiles, and need none; of host endpoints it is shown above',
    ],
  ],
};
