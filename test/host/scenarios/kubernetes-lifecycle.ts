/** The third part of Kubernetes' page on network policies: protocols, and what changes while pods live. */
import { isolates, networkPolicy, object } from './manifests.ts';
import type { Scenario } from './scenario.ts';

const LATE = { namespace: 'default', node: 'node2' };

export const filtering: readonly Scenario[] = [
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

export const lifecycle: readonly Scenario[] = [
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
          ) + object('v1', 'Pod', ['changing', 'default'], '{}', '{role: trusted}'),
        expect: [
          ['changing', 'db', 'tcp/80', 'allow'],
          ['alice-db', 'changing', 'tcp/80', 'allow'],
        ],
      },
      {
        manifests: object('v1', 'Pod', ['changing', 'default'], '{}', '{role: db}'),
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
      ['db', 'client frontend', 'udp/53#cut<', 'allow'],
      ['db', 'alice-db alice-client', 'udp/53#kept<', 'allow'],
      ['alice-db', 'db', 'udp/54#away<', 'allow'],
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
          ['db', 'client frontend', 'udp/53#cut<', 'deny'],
          ['db', 'alice-db alice-client', 'udp/53#kept<', 'allow'],
        ],
      },
    ],
  },
];
