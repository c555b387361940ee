/**
 * Kubernetes' page on network policies (concepts/services-networking/network-policies), paragraph by paragraph. Its
 * addresses are IPv4; beside each stands one of IPv6 that means the same.
 */
import { ALL, OUTSIDE } from './cluster.ts';
import { isolates, networkPolicy, object } from './manifests.ts';
import { defaults, hosts, selectors, targets } from './kubernetes-selectors.ts';
import type { Documentation, Scenario } from './scenario.ts';

const OUT = Object.keys(OUTSIDE).join(' ');
const OTHERS = 'alice-db alice-frontend alice-client bob-db bob-frontend bob-client';
const LATE = { namespace: 'default', node: 'node2' };

const overview: readonly Scenario[] = [
  {
    section: 'overview',
    says: 'who may communicate is told by pods, namespaces and IP blocks',
    manifests: networkPolicy(
      'three',
      `podSelector: {matchLabels: {role: db}}
ingress:
- from:
  - podSelector: {matchLabels: {role: client}}
  - namespaceSelector: {matchLabels: {user: alice}}
  - ipBlock: {cidr: 203.0.113.0/24}
  - ipBlock: {cidr: "2001:db8:113::/48"}`,
    ),
    expect: [
      ['client alice-db alice-frontend alice-client out-c', 'db', 'tcp/80 udp/53', 'allow'],
      ['frontend bob-db bob-frontend bob-client out-a', 'db', 'tcp/80 udp/53', 'deny'],
    ],
  },
  {
    section: 'overview',
    says: 'they are not relevant to connections without a pod at an end',
    manifests: ['default', 'alice', 'bob']
      .map((namespace) => networkPolicy('none', isolates('Ingress', 'Egress'), namespace))
      .join(''),
    expect: [
      ['node1', 'node2', 'tcp/80 udp/53 icmp', 'allow'],
      ['node2', 'node1 out-c', 'tcp/80 udp/53 icmp', 'allow'],
      ['out-c', 'node1', 'tcp/80 udp/53 icmp', 'allow'],
      ['out-c', 'db', 'tcp/80 udp/53 icmp', 'deny'],
    ],
  },
  {
    section: 'overview',
    says: 'exceptions: a pod and itself, and a pod and its own node, whatever the addresses allowed',
    manifests: networkPolicy('none', isolates('Ingress', 'Egress')),
    expect: [
      ['db', 'db', 'tcp/80', 'allow'],
      ['frontend', 'frontend', 'tcp/80', 'allow'],
      ['node1', 'db client', 'tcp/80 udp/53 icmp', 'allow'],
      ['db client', 'node1', 'tcp/80 udp/53 icmp', 'allow'],
      ['node2', 'frontend', 'tcp/80 udp/53 icmp', 'allow'],
      ['frontend', 'node2', 'tcp/80 udp/53 icmp', 'allow'],
      ['node2', 'db client', 'tcp/80 udp/53 icmp', 'deny'],
      ['db client', 'node2', 'tcp/80 udp/53 icmp', 'deny'],
    ],
  },
];

const isolation: readonly Scenario[] = [
  {
    section: 'isolation',
    says: 'by default a pod is isolated in no direction',
    manifests: '',
    expect: [
      [ALL, ALL, 'tcp/80 udp/53', 'allow'],
      ['db frontend', `${OTHERS} node1 node2 out-c`, 'sctp/7 icmp', 'allow'],
      [`${OTHERS} node1 node2 ${OUT}`, 'db frontend', 'sctp/7 icmp tcp/80', 'allow'],
    ],
  },
  {
    section: 'isolation',
    says: 'egress: only what egress lists allow may be connected to, and replies to that pass',
    manifests: networkPolicy(
      'egress',
      `podSelector: {matchLabels: {role: db}}
policyTypes: [Egress]
egress:
- to: [{podSelector: {matchLabels: {role: client}}}]`,
    ),
    expect: [
      ['db', 'client', 'tcp/80 udp/53#one icmp', 'allow'],
      ['client', 'db', 'udp/53#one<', 'allow'],
      ['db', `frontend ${OTHERS} node2 out-c`, 'tcp/80 udp/53 sctp/7 icmp', 'deny'],
      [`frontend client ${OTHERS} node2 out-c`, 'db', 'tcp/80 udp/53', 'allow'],
      ['frontend client', 'alice-db', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'isolation',
    says: 'ingress: only the pod’s node and what ingress lists allow may connect, and replies to that pass',
    manifests: networkPolicy(
      'ingress',
      `podSelector: {matchLabels: {role: db}}
policyTypes: [Ingress]
ingress:
- from: [{podSelector: {matchLabels: {role: frontend}}}]`,
    ),
    expect: [
      ['frontend node1', 'db', 'tcp/80 udp/53 icmp', 'allow'],
      ['frontend', 'db', 'udp/53#two', 'allow'],
      ['db', 'frontend', 'udp/53#two<', 'allow'],
      [`client ${OTHERS} node2 ${OUT}`, 'db', 'tcp/80 udp/53 sctp/7 icmp', 'deny'],
      ['db', `client frontend ${OTHERS} node1 node2 out-c`, 'tcp/80 udp/53', 'allow'],
    ],
  },
  {
    section: 'isolation',
    says: 'both sorts are declared independently, of different pods too',
    manifests:
      networkPolicy('in', `podSelector: {matchLabels: {role: db}}\npolicyTypes: [Ingress]`) +
      networkPolicy('out', `podSelector: {matchLabels: {role: client}}\npolicyTypes: [Egress]`),
    expect: [
      ['frontend alice-db', 'db', 'tcp/80', 'deny'],
      ['client', 'frontend alice-db', 'tcp/80', 'deny'],
      ['db', 'client frontend alice-db', 'tcp/80', 'allow'],
      ['frontend alice-db', 'client', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'isolation',
    says: 'additive: what is allowed is the union of what all policies allow, in each direction',
    manifests:
      networkPolicy('deny', isolates('Ingress', 'Egress')) +
      networkPolicy(
        'one',
        `podSelector: {matchLabels: {role: db}}
policyTypes: [Ingress, Egress]
ingress: [{from: [{podSelector: {matchLabels: {role: client}}}], ports: [{port: 80}]}]
egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}, {ipBlock: {cidr: "2001:db8:113::/48"}}]}]`,
      ) +
      networkPolicy(
        'two',
        `podSelector: {matchLabels: {app: myapp}}
policyTypes: [Ingress, Egress]
ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 53, protocol: UDP}]}]
egress: [{ports: [{port: 443}]}]`,
      ),
    expect: [
      ['alice-db alice-client', 'db', 'udp/53', 'allow'],
      ['alice-db alice-client', 'db', 'tcp/80', 'deny'],
      ['db', 'out-c', 'tcp/80 tcp/443 udp/1', 'allow'],
      ['db', 'alice-db out-a', 'tcp/443', 'allow'],
      ['db', 'alice-db out-a', 'tcp/80', 'deny'],
    ],
    later: [
      {
        manifests:
          networkPolicy(
            'one',
            `podSelector: {matchLabels: {role: db}}
ingress: [{from: [{podSelector: {matchLabels: {role: client}}}], ports: [{port: 80}]}]`,
          ) + networkPolicy('a-first', isolates('Ingress')),
        expect: [
          ['client', 'db', 'tcp/80', 'allow'],
          ['client', 'db', 'udp/53', 'deny'],
          ['frontend', 'db', 'tcp/80', 'deny'],
        ],
      },
    ],
  },
  {
    section: 'isolation',
    says: 'a connection needs both the source’s egress and the destination’s ingress',
    manifests:
      networkPolicy(
        'to-alice',
        `podSelector: {}
policyTypes: [Egress]
egress: [{to: [{namespaceSelector: {matchLabels: {user: alice}}}]}]`,
      ) +
      networkPolicy(
        'from-default',
        `podSelector: {matchLabels: {role: db}}
ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}}], ports: [{port: 80}]}]`,
        'alice',
      ) +
      networkPolicy('from-default', `podSelector: {}\ningress: [{}]`, 'bob'),
    expect: [
      ['db frontend', 'alice-db', 'tcp/80', 'allow'],
      ['db frontend', 'alice-db', 'tcp/81', 'deny'],
      ['bob-db', 'alice-db', 'tcp/80', 'deny'],
      ['db frontend', 'bob-db', 'tcp/80', 'deny'],
      ['db', 'alice-client', 'tcp/81', 'allow'],
    ],
  },
];

/** The page's own example, which is about namespace `default`. */
const EXAMPLE = networkPolicy(
  'test-network-policy',
  `podSelector:
  matchLabels:
    role: db
policyTypes:
- Ingress
- Egress
ingress:
- from:
  - ipBlock:
      cidr: 172.17.0.0/16
      except:
      - 172.17.1.0/24
  - ipBlock:
      cidr: 2001:db8:17::/48
      except:
      - 2001:db8:17:1::/64
  - namespaceSelector:
      matchLabels:
        project: myproject
  - podSelector:
      matchLabels:
        role: frontend
  ports:
  - protocol: TCP
    port: 6379
egress:
- to:
  - ipBlock:
      cidr: 10.0.0.0/24
  - ipBlock:
      cidr: 2001:db8:10::/48
  ports:
  - protocol: TCP
    port: 5978`,
);

const resource: readonly Scenario[] = [
  {
    section: 'the resource',
    says: 'the example isolates role=db pods of default in both directions, and no others',
    manifests: EXAMPLE,
    expect: [
      ['client bob-db bob-client out-c', 'db', 'tcp/6379 tcp/80 udp/53', 'deny'],
      ['db', `frontend client ${OTHERS} out-c`, 'tcp/6379 tcp/5978', 'deny'],
      ['bob-db out-c', 'frontend client alice-db', 'tcp/80', 'allow'],
      ['frontend client alice-db', 'out-c', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'the resource',
    says: 'the example allows three kinds of sources to TCP port 6379',
    manifests: EXAMPLE,
    expect: [
      ['frontend alice-db alice-frontend alice-client out-a', 'db', 'tcp/6379', 'allow'],
      ['frontend alice-db out-a', 'db', 'tcp/6378 tcp/6380 udp/6379 sctp/6379', 'deny'],
      ['out-b', 'db', 'tcp/6379', 'deny'],
      ['bob-frontend', 'db', 'tcp/6379', 'deny'],
    ],
  },
  {
    section: 'the resource',
    says: 'the example allows role=db pods to one network on TCP port 5978',
    manifests: EXAMPLE,
    expect: [
      ['db', 'out-d', 'tcp/5978', 'allow'],
      ['db', 'out-d', 'tcp/5979 udp/5978', 'deny'],
      ['db', 'out-a out-c', 'tcp/5978', 'deny'],
      ['alice-db', 'out-a', 'tcp/5978', 'allow'],
    ],
  },
  {
    section: 'the resource',
    says: 'podSelector: an empty one selects all pods of the namespace',
    manifests: networkPolicy('all', 'podSelector: {}', 'alice'),
    expect: [
      ['db bob-db', 'alice-db alice-frontend alice-client', 'tcp/80', 'deny'],
      ['alice-db', 'alice-client', 'tcp/80', 'deny'],
      ['alice-db', 'db bob-db', 'tcp/80', 'allow'],
      ['bob-db', 'db bob-client', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'the resource',
    says: 'policyTypes: if there are none, Ingress always, and Egress where there are egress rules',
    manifests: networkPolicy('none', 'podSelector: {matchLabels: {role: db}}'),
    expect: [
      ['client', 'db', 'tcp/80', 'deny'],
      ['db', 'client', 'tcp/80', 'allow'],
    ],
    later: [
      {
        manifests: networkPolicy(
          'none',
          `podSelector: {matchLabels: {role: db}}
egress: [{to: [{podSelector: {matchLabels: {role: client}}}]}]`,
        ),
        expect: [
          ['client', 'db', 'tcp/80', 'deny'],
          ['db', 'client', 'tcp/80', 'allow'],
          ['db', 'frontend', 'tcp/80', 'deny'],
        ],
      },
    ],
  },
  {
    section: 'the resource',
    says: 'policyTypes: a policy applies in the directions it names, whatever rules it has',
    manifests: networkPolicy(
      'only',
      `podSelector: {matchLabels: {role: db}}
policyTypes: [Egress]
ingress: [{from: [{podSelector: {matchLabels: {role: frontend}}}]}]`,
    ),
    expect: [
      ['client frontend alice-db', 'db', 'tcp/80', 'allow'],
      ['db', 'client frontend alice-db', 'tcp/80', 'deny'],
    ],
  },
  {
    section: 'the resource',
    says: 'ingress: a rule allows what matches both its from and its ports',
    manifests: networkPolicy(
      'both',
      `podSelector: {matchLabels: {role: db}}
ingress:
- from: [{podSelector: {matchLabels: {role: client}}}]
  ports: [{port: 80}, {port: 53, protocol: UDP}]
- from: [{podSelector: {matchLabels: {role: frontend}}}]
- ports: [{port: 443}]`,
    ),
    expect: [
      ['client', 'db', 'tcp/80 udp/53 tcp/443', 'allow'],
      ['client', 'db', 'tcp/53 udp/80 tcp/81 icmp', 'deny'],
      ['frontend', 'db', 'tcp/80 udp/53 tcp/81 sctp/7 icmp', 'allow'],
      ['alice-db out-c', 'db', 'tcp/443', 'allow'],
      ['alice-db out-c', 'db', 'tcp/80 udp/443', 'deny'],
    ],
  },
  {
    section: 'the resource',
    says: 'egress: a rule allows what matches both its to and its ports',
    manifests: networkPolicy(
      'both',
      `podSelector: {matchLabels: {role: db}}
policyTypes: [Egress]
egress:
- to: [{podSelector: {matchLabels: {role: client}}}]
  ports: [{port: 80}, {port: 53, protocol: UDP}]
- to: [{podSelector: {matchLabels: {role: frontend}}}]
- ports: [{port: 443}]`,
    ),
    expect: [
      ['db', 'client', 'tcp/80 udp/53 tcp/443', 'allow'],
      ['db', 'client', 'tcp/53 udp/80 tcp/81 icmp', 'deny'],
      ['db', 'frontend', 'tcp/80 udp/53 tcp/81 sctp/7 icmp', 'allow'],
      ['db', 'alice-db out-c', 'tcp/443', 'allow'],
      ['db', 'alice-db out-c', 'tcp/80 udp/443', 'deny'],
    ],
  },
  {
    section: 'the resource',
    says: 'ports: by name, as each pod that is reached has it',
    manifests:
      networkPolicy('named', `podSelector: {}\ningress: [{ports: [{port: redis}]}]`) +
      networkPolicy(
        'named',
        `podSelector: {}
policyTypes: [Egress]
egress: [{to: [{namespaceSelector: {}}], ports: [{port: redis}, {port: names, protocol: UDP}]}]`,
        'alice',
      ),
    expect: [
      ['bob-db client', 'db', 'tcp/6379', 'allow'],
      ['bob-db client', 'frontend', 'tcp/6380', 'allow'],
      ['bob-db frontend', 'db', 'tcp/6380 udp/53', 'deny'],
      ['bob-db db', 'frontend', 'tcp/6379', 'deny'],
      ['alice-client', 'bob-db', 'tcp/6379 udp/53', 'allow'],
      ['alice-client', 'bob-frontend', 'tcp/6380', 'allow'],
      ['alice-client', 'bob-frontend', 'tcp/6379 udp/53', 'deny'],
    ],
  },
];

const filtering: readonly Scenario[] = [
  {
    section: 'traffic filtering',
    says: 'TCP, UDP and SCTP are told apart; without protocol it is TCP',
    manifests: networkPolicy(
      'each',
      `podSelector: {matchLabels: {role: db}}
ingress:
- from: [{podSelector: {matchLabels: {role: client}}}]
  ports: [{protocol: SCTP, port: 7}]
- from: [{podSelector: {matchLabels: {role: frontend}}}]
  ports: [{port: 7}]
- from: [{namespaceSelector: {matchLabels: {user: alice}}}]
  ports: [{protocol: UDP}]`,
    ),
    expect: [
      ['client', 'db', 'sctp/7', 'allow'],
      ['client', 'db', 'sctp/8 tcp/7 udp/7', 'deny'],
      ['frontend', 'db', 'tcp/7', 'allow'],
      ['frontend', 'db', 'udp/7 sctp/7', 'deny'],
      ['alice-db', 'db', 'udp/7 udp/8', 'allow'],
      ['alice-db', 'db', 'tcp/7 sctp/7', 'deny'],
    ],
  },
  {
    section: 'traffic filtering',
    says: 'a policy that denies all denies TCP, UDP and SCTP; here, other protocols too',
    manifests: networkPolicy('none', isolates('Ingress', 'Egress')),
    expect: [
      ['alice-db out-c', 'db frontend', 'tcp/80 udp/53 sctp/7 icmp 47', 'deny'],
      ['db frontend', 'alice-db out-c', 'tcp/80 udp/53 sctp/7 icmp 47', 'deny'],
    ],
  },
  {
    section: 'traffic filtering',
    says: 'other protocols, here: allowed by rules without ports, not by rules with ports',
    manifests: networkPolicy(
      'some',
      `podSelector: {matchLabels: {role: db}}
ingress:
- from: [{podSelector: {matchLabels: {role: client}}}]
- from: [{podSelector: {matchLabels: {role: frontend}}}]
  ports: [{port: 80}]`,
    ),
    expect: [
      ['client', 'db', 'icmp 47 tcp/1', 'allow'],
      ['frontend', 'db', 'icmp 47', 'deny'],
      ['frontend', 'db', 'tcp/80', 'allow'],
    ],
  },
];

const lifecycle: readonly Scenario[] = [
  {
    section: 'pod lifecycle',
    says: 'a new pod that policies affect is isolated as it starts, and allowed what they allow',
    manifests: networkPolicy(
      'early',
      `podSelector: {matchLabels: {role: late}}
policyTypes: [Ingress, Egress]
ingress: [{from: [{podSelector: {matchLabels: {role: client}}}]}]
egress: [{to: [{podSelector: {matchLabels: {role: db}}}]}]`,
    ),
    pods: [{ ...LATE, name: 'late', labels: { role: 'late' } }],
    expect: [
      ['client', 'late', 'tcp/80', 'allow'],
      ['late', 'db', 'tcp/80', 'allow'],
      ['frontend alice-db node1', 'late', 'tcp/80 udp/53', 'deny'],
      ['late', 'frontend alice-db', 'tcp/80 udp/53', 'deny'],
    ],
  },
  {
    section: 'pod lifecycle',
    says: 'policies follow the labels of pods while they live, and cease with the policy',
    manifests: networkPolicy(
      'labelled',
      `podSelector: {matchLabels: {role: db}}
ingress: [{from: [{podSelector: {matchLabels: {role: trusted}}}]}]`,
    ),
    pods: [{ ...LATE, name: 'changing', labels: { role: 'new' } }],
    expect: [
      ['changing', 'db', 'tcp/80', 'deny'],
      ['alice-db', 'changing', 'tcp/80', 'allow'],
    ],
    later: [
      {
        manifests:
          networkPolicy(
            'labelled',
            `podSelector: {matchLabels: {role: db}}
ingress: [{from: [{podSelector: {matchLabels: {role: trusted}}}]}]`,
          ) + object('v1', 'Pod', ['changing', 'default'], '{nodeName: node2}', '{role: trusted}'),
        expect: [
          ['changing', 'db', 'tcp/80', 'allow'],
          ['alice-db', 'changing', 'tcp/80', 'allow'],
        ],
      },
      {
        manifests: object('v1', 'Pod', ['changing', 'default'], '{nodeName: node2}', '{role: db}'),
        expect: [['changing client alice-db', 'db', 'tcp/80', 'allow']],
      },
    ],
  },
  {
    section: 'existing connections',
    says: 'implementation defined; here, a change that denies them cuts them, and others go on',
    manifests: '',
    expect: [
      ['client frontend', 'db', 'udp/53#cut', 'allow'],
      ['alice-db alice-client', 'db', 'udp/53#kept', 'allow'],
      ['db', 'alice-db', 'udp/54#away', 'allow'],
    ],
    later: [
      {
        manifests: networkPolicy(
          'late',
          `podSelector: {matchLabels: {role: db}}
policyTypes: [Ingress, Egress]
ingress: [{from: [{namespaceSelector: {matchLabels: {user: alice}}}]}]`,
        ),
        expect: [
          ['client frontend', 'db', 'udp/53#cut', 'deny'],
          ['alice-db alice-client', 'db', 'udp/53#kept', 'allow'],
          ['db', 'alice-db', 'udp/54#away', 'deny'],
        ],
      },
    ],
  },
];

export const KUBERNETES: Documentation = {
  title: 'Kubernetes: NetworkPolicy',
  source: 'https://kubernetes.io/docs/concepts/services-networking/network-policies/',
  scenarios: [
    ...overview,
    ...isolation,
    ...resource,
    ...selectors,
    ...defaults,
    ...filtering,
    ...targets,
    ...lifecycle,
    ...hosts,
  ],
  elsewhere: [
    {
      section: 'selectors',
      says: 'ipBlock where addresses are rewritten: judged are those that pods see, after a service’s are translated',
      file: 'kube-proxy.test.ts',
      title: '',
    },
    {
      section: 'pod lifecycle',
      says: 'filtering is effective from the first instant that any container is started',
      file: 'policy-agent.test.ts',
      title: 'no window: a pod that sends from its first instruction',
    },
    {
      section: 'existing connections',
      says: 'they go on where the settings say so (policy.established: keep)',
      file: 'policy-agent.test.ts',
      title: 'a change of policies and connections that live',
    },
  ],
  silent: [
    ['prerequisites', 'a plugin has to enforce policies', 'profile canal does; every other can'],
    [
      'the resource',
      'mandatory fields, spec',
      'bad manifests are refused: src/policy/frontends/refused.test.ts',
    ],
    [
      'pod lifecycle',
      'it may take some time until a policy is handled; pods must be resilient',
      'a licence for plugins; here, no pod has a network before its rules are loaded',
    ],
    [
      'what you can’t do',
      'gateways, TLS, services by name, policy requests, defaults for all namespaces, querying, logging',
      'not in this API; cluster-wide defaults: ClusterNetworkPolicy; queries: tartan policy; logging: tartan flows',
    ],
  ],
};
