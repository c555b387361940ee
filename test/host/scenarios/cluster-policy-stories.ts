/** The user stories of the Network Policy API, each with its sample. */
import { admin, baseline, clusterPolicy, isolates, named, networkPolicy } from './manifests.ts';
import type { Scenario } from './scenario.ts';

const DEFAULT = 'db frontend client';
const ALICE = 'alice-db alice-frontend alice-client';
const BOB = 'bob-db bob-frontend bob-client';
const openAll = ['default', 'alice', 'bob']
  .map((namespace) =>
    networkPolicy(
      'open',
      'podSelector: {}\npolicyTypes: [Ingress, Egress]\ningress: [{}]\negress: [{}]',
      namespace,
    ),
  )
  .join('');
const closeAll = ['default', 'alice', 'bob']
  .map((namespace) => networkPolicy('none', isolates('Ingress', 'Egress'), namespace))
  .join('');

export const stories: readonly Scenario[] = [
  {
    section: 'story 1',
    says: 'a deny rule of the cluster that no NetworkPolicy overrides (sample: bob is the sensitive namespace)',
    manifests:
      openAll +
      clusterPolicy(
        'cluster-wide-deny-example',
        admin(
          10,
          `subject:
  namespaces: ${named('bob')}
ingress:
- action: Deny
  name: select-all-deny-all
  from:
  - namespaces: {matchLabels: {}}`,
        ),
      ),
    expect: [
      [`${DEFAULT} ${ALICE}`, BOB, 'tcp/80 udp/53 sctp/7 icmp', 'deny'],
      ['bob-client', 'bob-db bob-frontend', 'tcp/80', 'deny'],
      ['out-c', 'bob-db', 'tcp/80', 'allow'],
      [BOB, `${DEFAULT} ${ALICE}`, 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'story 2',
    says: 'allow rules that no NetworkPolicy overrides (sample: alice monitors, bob-db is the DNS)',
    manifests:
      closeAll +
      clusterPolicy(
        'cluster-wide-allow-example',
        admin(
          30,
          `subject:
  namespaces: {}
ingress:
- action: Accept
  from:
  - namespaces: ${named('alice')}
egress:
- action: Accept
  name: allow-kube-dns-egress
  to:
  - pods:
      namespaceSelector: ${named('bob')}
      podSelector: {matchLabels: {role: db}}`,
        ),
      ),
    expect: [
      [ALICE, 'bob-db', 'tcp/80 udp/53', 'allow'],
      [DEFAULT, 'bob-db', 'tcp/80 udp/53', 'deny'],
      [ALICE, 'db bob-frontend', 'tcp/80', 'deny'],
    ],
    later: [
      {
        manifests:
          ['default', 'bob'].map((each) => networkPolicy('none', isolates('Ingress'), each)).join('') +
          clusterPolicy(
            'cluster-wide-allow-example',
            admin(
              30,
              `subject: {namespaces: {}}\ningress: [{action: Accept, from: [{namespaces: ${named('alice')}}]}]`,
            ),
          ),
        expect: [
          [ALICE, `${DEFAULT} ${BOB}`, 'tcp/80 udp/53', 'allow'],
          ['bob-client', 'db', 'tcp/80', 'deny'],
          ['client', 'bob-db', 'tcp/80', 'deny'],
        ],
      },
    ],
  },
  {
    section: 'story 3',
    says: 'traffic is delegated to NetworkPolicies, and allowed where none decides (sample: port 8080 of a public service)',
    manifests:
      networkPolicy('none', isolates('Egress'), 'alice') +
      clusterPolicy(
        'pub-svc-delegate-example',
        admin(
          20,
          `subject:
  namespaces: {}
egress:
- action: Pass
  to:
  - pods:
      namespaceSelector: ${named('bob')}
      podSelector: {matchLabels: {role: frontend}}
  protocols:
  - tcp: {destinationPort: {number: 8080}}`,
        ),
      ) +
      clusterPolicy(
        'deny-the-rest',
        admin(21, `subject: {namespaces: {}}\negress: [{action: Deny, to: [{namespaces: ${named('bob')}}]}]`),
      ),
    expect: [
      ['client db', 'bob-frontend', 'tcp/8080', 'allow'],
      ['alice-client', 'bob-frontend', 'tcp/8080', 'deny'],
      ['client db', 'bob-frontend', 'tcp/8081 udp/8080', 'deny'],
      ['client db', 'bob-db', 'tcp/8080', 'deny'],
    ],
  },
  {
    section: 'story 4',
    says: 'tenants are isolated from each other, and rule themselves inside (by a policy for each)',
    manifests:
      networkPolicy('own', 'podSelector: {matchLabels: {role: db}}', 'alice') +
      ['one', 'two']
        .map((tenant) =>
          clusterPolicy(
            `tenant-${tenant}`,
            admin(
              50,
              `subject: {namespaces: {matchLabels: {tenant: ${tenant}}}}
ingress:
- {action: Pass, from: [{namespaces: {matchLabels: {tenant: ${tenant}}}}]}
- {action: Deny, from: [{namespaces: {}}]}`,
            ),
          ),
        )
        .join(''),
    expect: [
      ['alice-client', 'alice-frontend', 'tcp/80', 'allow'],
      ['alice-client', 'alice-db', 'tcp/80', 'deny'],
      ['bob-client', 'bob-db bob-frontend', 'tcp/80', 'allow'],
      [ALICE, BOB, 'tcp/80 udp/53', 'deny'],
      [BOB, 'alice-frontend alice-client', 'tcp/80', 'deny'],
      [BOB, DEFAULT, 'tcp/80', 'allow'],
      ['db', 'alice-frontend bob-db', 'tcp/80', 'deny'],
    ],
  },
  {
    section: 'story 5',
    says: 'all traffic of the cluster is denied by default, and NetworkPolicies may allow it (sample)',
    manifests:
      networkPolicy('web', 'podSelector: {matchLabels: {role: db}}\ningress: [{ports: [{port: 80}]}]') +
      clusterPolicy(
        'baseline-rule-example',
        baseline(
          1,
          `subject:
  namespaces: {}
ingress:
- action: Deny
  from:
  - namespaces: {matchLabels: {}}`,
        ),
      ),
    expect: [
      [`client ${ALICE} ${BOB}`, 'db', 'tcp/80', 'allow'],
      [`client ${ALICE} ${BOB}`, 'db', 'tcp/81', 'deny'],
      [`db ${ALICE}`, `frontend client ${BOB}`, 'tcp/80 udp/53', 'deny'],
      ['out-c', 'frontend bob-db', 'tcp/80', 'allow'],
    ],
  },
];
