/**
 * ClusterNetworkPolicy (v1alpha2) and its forerunners as the Network Policy API's pages and types describe them: the user
 * stories, each with its sample, then tiers, priorities, actions and peers.
 */
import { stories } from './cluster-policy-stories.ts';
import { admin, baseline, clusterPolicy, named, networkPolicy, object } from './manifests.ts';
import type { Documentation, Scenario } from './scenario.ts';

const rules: readonly Scenario[] = [
  {
    section: 'tiers',
    says: 'Admin, then NetworkPolicies, then Baseline, and then all pods may communicate',
    manifests:
      networkPolicy(
        'np',
        'podSelector: {matchLabels: {role: db}}\ningress: [{ports: [{port: 82}, {port: 83}]}]',
      ) +
      clusterPolicy(
        'first',
        admin(
          1000,
          `subject: {namespaces: ${named('default')}}
ingress:
- {action: Accept, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 81}}}]}
- {action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 82}}}]}`,
        ),
      ) +
      clusterPolicy(
        'last',
        baseline(
          0,
          `subject: {namespaces: ${named('default')}}
ingress:
- {action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {range: {start: 83, end: 84}}}}]}`,
        ),
      ),
    expect: [
      ['client alice-db', 'db', 'tcp/81 tcp/83', 'allow'],
      ['client alice-db', 'db', 'tcp/82 tcp/84 tcp/85', 'deny'],
      ['client alice-db', 'frontend', 'tcp/81 tcp/85 udp/83', 'allow'],
      ['client alice-db', 'frontend', 'tcp/82 tcp/83 tcp/84', 'deny'],
    ],
  },
  {
    section: 'tiers',
    says: 'rules are read as they are: no policy of the cluster isolates its subjects',
    manifests: clusterPolicy(
      'some',
      admin(
        5,
        `subject: {namespaces: ${named('default')}}
ingress: [{action: Accept, from: [{namespaces: ${named('alice')}}]}]
egress: [{action: Accept, to: [{namespaces: ${named('alice')}}]}]`,
      ),
    ),
    expect: [
      ['bob-db alice-db out-c client', 'db', 'tcp/80 icmp', 'allow'],
      ['db', 'bob-db alice-db out-c client', 'tcp/80 icmp', 'allow'],
    ],
  },
  {
    section: 'priority',
    says: 'lower values come first, within a tier',
    manifests: [
      [10, 'Deny'],
      [9, 'Accept'],
    ]
      .map(([order, action]) =>
        clusterPolicy(
          `p${order}`,
          admin(
            Number(order),
            `subject: {namespaces: {}}\ningress: [{action: ${action}, from: [{namespaces: {}}]}]`,
          ),
        ),
      )
      .join(''),
    expect: [['db alice-db', 'client bob-db', 'tcp/80', 'allow']],
    later: [
      {
        manifests: [
          [10, 'Accept'],
          [9, 'Deny'],
        ]
          .map(([order, action]) =>
            clusterPolicy(
              `p${order}`,
              admin(
                Number(order),
                `subject: {namespaces: {}}\ningress: [{action: ${action}, from: [{namespaces: {}}]}]`,
              ),
            ),
          )
          .join(''),
        expect: [['db alice-db', 'client bob-db', 'tcp/80', 'deny']],
      },
    ],
  },
  {
    section: 'rules',
    says: 'in the order in which they are written, the first that matches decides',
    manifests: clusterPolicy(
      'ordered',
      admin(
        0,
        `subject: {namespaces: ${named('bob')}}
ingress:
- {action: Accept, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {role: client}}}}]}
- {action: Deny, from: [{namespaces: {}}]}
- {action: Accept, from: [{namespaces: {}}]}`,
      ),
    ),
    expect: [
      ['client alice-client', 'bob-db', 'tcp/80', 'allow'],
      ['db alice-db bob-frontend', 'bob-db', 'tcp/80', 'deny'],
    ],
  },
  {
    section: 'actions',
    says: 'Pass skips what remains of the tier, in Baseline too',
    manifests: ['Admin', 'Baseline']
      .map((tier, index) =>
        [
          [1, 'Pass', 80 + index],
          [2, 'Deny', undefined],
        ]
          .map(([order, action, port]) =>
            clusterPolicy(
              `${tier.toLowerCase()}-${order}`,
              `tier: ${tier}
priority: ${order}
subject: {namespaces: ${named(tier === 'Admin' ? 'default' : 'bob')}}
ingress:
- action: ${action}
  from: [{namespaces: {}}]${port === undefined ? '' : `\n  protocols: [{tcp: {destinationPort: {number: ${port}}}}]`}`,
            ),
          )
          .join(''),
      )
      .join(''),
    expect: [
      ['alice-db', 'db', 'tcp/80', 'allow'],
      ['alice-db', 'db', 'tcp/81 udp/80', 'deny'],
      ['alice-db', 'bob-db', 'tcp/81', 'allow'],
      ['alice-db', 'bob-db', 'tcp/80 udp/81', 'deny'],
    ],
  },
  {
    section: 'subject',
    says: 'pods by namespaces, or by namespace and labels; not those of the host network',
    manifests:
      object('v1', 'Pod', ['agent', 'default'], '{nodeName: node1, hostNetwork: true}', '{role: db}') +
      clusterPolicy(
        'dbs',
        admin(
          0,
          `subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {role: db}}}}
ingress: [{action: Deny, from: [{namespaces: {}}]}]`,
        ),
      ),
    expect: [
      ['client alice-client', 'db bob-db', 'tcp/80', 'deny'],
      ['client alice-client', 'frontend bob-frontend node1 node2', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'peers',
    says: 'pods without namespaceSelector: of all namespaces',
    manifests: clusterPolicy(
      'no-clients',
      admin(
        3,
        `subject: {pods: {podSelector: {matchLabels: {role: db}}}}
ingress: [{action: Deny, from: [{pods: {podSelector: {matchLabels: {role: client}}}}]}]`,
      ),
    ),
    expect: [
      ['client alice-client bob-client', 'db alice-db bob-db', 'tcp/80 udp/53', 'deny'],
      ['frontend alice-frontend', 'db alice-db bob-db', 'tcp/80', 'allow'],
      ['client alice-client', 'frontend bob-frontend', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'peers',
    says: 'a pod that connects to its own address is not subject to them',
    manifests: clusterPolicy(
      'everything',
      admin(
        0,
        `subject: {namespaces: {}}
ingress: [{action: Deny, from: [{namespaces: {}}]}]
egress: [{action: Deny, to: [{namespaces: {}}]}]`,
      ),
    ),
    expect: [
      ['db', 'db', 'tcp/80', 'allow'],
      ['alice-db', 'alice-db', 'tcp/80', 'allow'],
      ['db', 'client alice-db', 'tcp/80', 'deny'],
    ],
  },
  {
    section: 'peers',
    says: 'networks: addresses outside, in egress',
    manifests: clusterPolicy(
      'networks',
      admin(
        0,
        `subject: {namespaces: {}}
egress:
- {action: Accept, to: [{networks: [172.17.1.0/24, "2001:db8:17:1::/64"]}]}
- {action: Deny, to: [{networks: [172.17.0.0/16, "2001:db8:17::/48"]}]}`,
      ),
    ),
    expect: [
      ['db bob-client', 'out-b out-c', 'tcp/80', 'allow'],
      ['db bob-client', 'out-a', 'tcp/80', 'deny'],
      ['out-a', 'db', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'peers',
    says: 'nodes: by their labels, in egress; even the pod’s own',
    manifests: clusterPolicy(
      'nodes',
      admin(
        0,
        `subject: {namespaces: {}}
egress:
- {action: Deny, to: [{nodes: {matchLabels: {kubernetes.io/hostname: node1}}}]}`,
      ),
    ),
    expect: [
      ['db frontend alice-db', 'node1', 'tcp/80 udp/53', 'deny'],
      ['db frontend alice-db', 'node2', 'tcp/80 udp/53', 'allow'],
      ['node1', 'db', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'peers',
    says: 'domainNames: none of their addresses, as long as nobody has asked for them',
    manifests: clusterPolicy(
      'names',
      admin(
        0,
        `subject: {namespaces: {}}
egress:
- {action: Accept, to: [{domainNames: ["example.org", "*.example.org"]}]}
- {action: Deny, to: [{networks: [0.0.0.0/0, "::/0"]}]}`,
      ),
    ),
    expect: [['db', 'out-c alice-db', 'tcp/80', 'deny']],
  },
  {
    section: 'protocols',
    says: 'TCP, UDP and SCTP by number or range, and ports by name',
    manifests: clusterPolicy(
      'protocols',
      admin(
        0,
        `subject: {namespaces: {}}
ingress:
- action: Deny
  from: [{namespaces: {}}]
  protocols:
  - tcp: {destinationPort: {number: 80}}
  - udp: {destinationPort: {range: {start: 50, end: 60}}}
  - sctp: {destinationPort: {number: 7}}
  - destinationNamedPort: redis`,
      ),
    ),
    expect: [
      ['client', 'db', 'tcp/80 udp/50 udp/60 sctp/7 tcp/6379', 'deny'],
      ['client', 'db', 'tcp/81 udp/49 udp/61 sctp/8 tcp/6380 icmp', 'allow'],
      ['client', 'frontend', 'tcp/6380', 'deny'],
      ['client', 'frontend', 'tcp/6379', 'allow'],
    ],
  },
];

const adminPolicy = (name: string, spec: string): string =>
  object('policy.networking.k8s.io/v1alpha1', 'AdminNetworkPolicy', [name], spec);

const forerunners: readonly Scenario[] = [
  {
    section: 'forerunners',
    says: 'AdminNetworkPolicy: Allow, Deny and Pass before NetworkPolicies, in one order with tier Admin',
    manifests:
      networkPolicy('np', 'podSelector: {matchLabels: {role: db}}\ningress: [{ports: [{port: 83}]}]') +
      adminPolicy(
        'anp',
        `priority: 20
subject: {namespaces: ${named('default')}}
ingress:
- {action: Allow, from: [{namespaces: ${named('alice')}}], ports: [{portNumber: {protocol: TCP, port: 80}}]}
- {action: Pass, from: [{namespaces: ${named('alice')}}], ports: [{portRange: {protocol: TCP, start: 82, end: 84}}]}
- {action: Deny, from: [{namespaces: {}}]}`,
      ) +
      clusterPolicy(
        'before',
        admin(
          19,
          `subject: {namespaces: ${named('default')}}\ningress: [{action: Accept, from: [{namespaces: ${named('bob')}}]}]`,
        ),
      ),
    expect: [
      ['alice-db', 'db', 'tcp/80 tcp/83', 'allow'],
      ['alice-db', 'db', 'tcp/81 tcp/82 udp/83', 'deny'],
      ['alice-db', 'frontend', 'tcp/82', 'allow'],
      ['bob-db', 'db frontend', 'tcp/81 udp/1', 'allow'],
      ['client', 'frontend', 'tcp/80', 'deny'],
    ],
  },
  {
    section: 'forerunners',
    says: 'BaselineAdminNetworkPolicy: one, after NetworkPolicies',
    manifests:
      networkPolicy('np', 'podSelector: {matchLabels: {role: db}}\ningress: [{ports: [{port: 80}]}]') +
      object(
        'policy.networking.k8s.io/v1alpha1',
        'BaselineAdminNetworkPolicy',
        ['default'],
        'subject: {namespaces: {}}\ningress: [{action: Deny, from: [{namespaces: {}}]}]',
      ),
    expect: [
      ['alice-db client', 'db', 'tcp/80', 'allow'],
      ['alice-db client', 'db', 'tcp/81', 'deny'],
      ['alice-db client', 'frontend bob-db', 'tcp/80', 'deny'],
    ],
  },
];

export const CLUSTER: Documentation = {
  title: 'Network Policy API: ClusterNetworkPolicy',
  source: 'https://network-policy-api.sigs.k8s.io: user stories, API overview, apis/v1alpha2',
  scenarios: [...stories, ...rules, ...forerunners],
  elsewhere: [
    {
      section: 'peers',
      says: 'a pod that connects to itself by a service’s address is subject to them',
      file: 'policy-bridge.test.ts',
      title: 'translated destinations, also back to the sender',
    },
  ],
  silent: [
    ['priority', 'two policies of one tier and priority: any may count', 'here by name, on every node alike'],
    ['status', 'conditions', 'a store of files has nobody to write them; tartan status tells of problems'],
  ],
};
