/** The first part of Kubernetes' page on network policies: what they are about, and isolation. */
import { ALL, OUTSIDE } from './cluster.ts';
import { isolates, networkPolicy } from './manifests.ts';
import type { Scenario } from './scenario.ts';

const OUT = Object.keys(OUTSIDE).join(' ');
const OTHERS = 'alice-db alice-frontend alice-client bob-db bob-frontend bob-client';

export const overview: readonly Scenario[] = [
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

export const isolation: readonly Scenario[] = [
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
