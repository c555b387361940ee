/** The second part of Kubernetes' page on network policies: selectors, default policies, ranges of ports, names, host network. */
import { ALL, OUTSIDE } from './cluster.ts';
import { isolates, networkPolicy, object } from './manifests.ts';
import type { Scenario } from './scenario.ts';

const OUT = Object.keys(OUTSIDE).join(' ');
const OTHERS = 'alice-db alice-frontend alice-client bob-db bob-frontend bob-client';

/** Who may reach `db`. */
const from = (...peers: readonly string[]): string =>
  networkPolicy('from', `podSelector: {matchLabels: {role: db}}\ningress:\n- from: [${peers.join(', ')}]`);
/** Whom `db` may reach. */
const to = (...peers: readonly string[]): string =>
  networkPolicy(
    'to',
    `podSelector: {matchLabels: {role: db}}\npolicyTypes: [Egress]\negress:\n- to: [${peers.join(', ')}]`,
  );

export const selectors: readonly Scenario[] = [
  {
    section: 'selectors',
    says: 'podSelector: particular pods of the policy’s own namespace',
    manifests: from('{podSelector: {matchLabels: {role: client}}}'),
    expect: [
      ['client', 'db', 'tcp/80 udp/53', 'allow'],
      ['frontend alice-client bob-client', 'db', 'tcp/80 udp/53', 'deny'],
    ],
    later: [
      {
        manifests: to('{podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}}'),
        expect: [
          ['db', 'client frontend', 'tcp/80', 'allow'],
          ['db', 'alice-client bob-frontend', 'tcp/80', 'deny'],
        ],
      },
    ],
  },
  {
    section: 'selectors',
    says: 'namespaceSelector: all pods of particular namespaces',
    manifests: from('{namespaceSelector: {matchLabels: {user: alice}}}'),
    expect: [
      ['alice-db alice-frontend alice-client', 'db', 'tcp/80', 'allow'],
      [`client frontend bob-client ${OUT}`, 'db', 'tcp/80', 'deny'],
    ],
    later: [
      {
        manifests: to(
          '{namespaceSelector: {matchExpressions: [{key: user, operator: NotIn, values: [alice]}]}}',
        ),
        expect: [
          ['db', 'client frontend bob-db', 'tcp/80', 'allow'],
          ['db', 'alice-db alice-client out-c', 'tcp/80', 'deny'],
        ],
      },
      {
        manifests: from('{namespaceSelector: {}}'),
        expect: [
          [`client frontend ${OTHERS}`, 'db', 'tcp/80', 'allow'],
          [`${OUT} node2`, 'db', 'tcp/80', 'deny'],
        ],
      },
    ],
  },
  {
    section: 'selectors',
    says: 'both in one entry: particular pods of particular namespaces',
    manifests: from(
      '{namespaceSelector: {matchLabels: {user: alice}}, podSelector: {matchLabels: {role: client}}}',
    ),
    expect: [
      ['alice-client', 'db', 'tcp/80', 'allow'],
      ['client bob-client alice-db alice-frontend', 'db', 'tcp/80', 'deny'],
    ],
  },
  {
    section: 'selectors',
    says: 'both as two entries: pods of the own namespace, or all pods of the others',
    manifests: from(
      '{namespaceSelector: {matchLabels: {user: alice}}}',
      '{podSelector: {matchLabels: {role: client}}}',
    ),
    expect: [
      ['client alice-client alice-db alice-frontend', 'db', 'tcp/80', 'allow'],
      ['frontend bob-client bob-db', 'db', 'tcp/80', 'deny'],
    ],
  },
  {
    section: 'selectors',
    says: 'ipBlock: particular networks without their exceptions, in and out',
    manifests:
      from(
        '{ipBlock: {cidr: 172.17.0.0/16, except: [172.17.1.0/24]}}',
        '{ipBlock: {cidr: "2001:db8:17::/48", except: ["2001:db8:17:1::/64"]}}',
      ) +
      to(
        '{ipBlock: {cidr: 0.0.0.0/0, except: [203.0.113.0/24]}}',
        '{ipBlock: {cidr: "::/0", except: ["2001:db8:113::/48"]}}',
      ),
    expect: [
      ['out-a', 'db', 'tcp/80 udp/53', 'allow'],
      ['out-b out-c client alice-db', 'db', 'tcp/80 udp/53', 'deny'],
      ['db', 'out-a out-b alice-db frontend node2', 'tcp/80 udp/53', 'allow'],
      ['db', 'out-c', 'tcp/80 udp/53', 'deny'],
    ],
  },
  {
    section: 'selectors',
    says: 'ipBlock: addresses of pods are addresses too, for as long as they have them',
    manifests: from(
      '{ipBlock: {cidr: "{{alice-db ipv4}}/32"}}',
      '{ipBlock: {cidr: "{{alice-db ipv6}}/128"}}',
    ),
    expect: [
      ['alice-db', 'db', 'tcp/80', 'allow'],
      ['alice-client client', 'db', 'tcp/80', 'deny'],
    ],
  },
];

export const defaults: readonly Scenario[] = [
  {
    section: 'default policies',
    says: 'deny all ingress: of all pods of the namespace; their egress is as it was',
    manifests: networkPolicy('default-deny-ingress', isolates('Ingress')),
    expect: [
      [`${OTHERS} ${OUT}`, 'db frontend client', 'tcp/80', 'deny'],
      ['db', 'client frontend', 'tcp/80 udp/53', 'deny'],
      ['db frontend client', `${OTHERS} node2 out-c`, 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'default policies',
    says: 'allow all ingress: no other policy can deny any; egress is as it was',
    manifests:
      networkPolicy('allow-all-ingress', 'podSelector: {}\ningress: [{}]\npolicyTypes: [Ingress]') +
      networkPolicy('deny', isolates('Ingress')) +
      networkPolicy('little', 'podSelector: {matchLabels: {role: db}}\ningress: [{ports: [{port: 1}]}]'),
    expect: [
      [`${OTHERS} ${OUT} node1 node2`, 'db frontend client', 'tcp/80 udp/53', 'allow'],
      ['db', `client frontend ${OTHERS} out-c`, 'tcp/80', 'allow'],
    ],
    later: [
      {
        manifests:
          networkPolicy('allow-all-ingress', 'podSelector: {}\ningress: [{}]\npolicyTypes: [Ingress]') +
          networkPolicy('silence', isolates('Egress')),
        expect: [
          ['alice-db out-c', 'db frontend', 'tcp/80', 'allow'],
          ['db frontend', 'alice-db out-c', 'tcp/80', 'deny'],
        ],
      },
    ],
  },
  {
    section: 'default policies',
    says: 'deny all egress: of all pods of the namespace; their ingress is as it was',
    manifests: networkPolicy('default-deny-egress', isolates('Egress')),
    expect: [
      ['db frontend client', `${OTHERS} ${OUT}`, 'tcp/80', 'deny'],
      ['db', 'client frontend', 'tcp/80 udp/53', 'deny'],
      [`${OTHERS} node2 out-c`, 'db frontend client', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'default policies',
    says: 'allow all egress: no other policy can deny any; ingress is as it was',
    manifests:
      networkPolicy('allow-all-egress', 'podSelector: {}\negress: [{}]\npolicyTypes: [Egress]') +
      networkPolicy('deny', isolates('Egress')),
    expect: [
      ['db frontend client', `${OTHERS} ${OUT} node1 node2`, 'tcp/80 udp/53', 'allow'],
      [`frontend ${OTHERS} out-c`, 'db', 'tcp/80', 'allow'],
    ],
    later: [
      {
        manifests:
          networkPolicy('allow-all-egress', 'podSelector: {}\negress: [{}]\npolicyTypes: [Egress]') +
          networkPolicy('deny', isolates('Ingress')),
        expect: [
          ['db frontend', 'alice-db out-c', 'tcp/80', 'allow'],
          ['alice-db out-c', 'db frontend', 'tcp/80', 'deny'],
        ],
      },
    ],
  },
  {
    section: 'default policies',
    says: 'deny all: neither ingress nor egress of any pod of the namespace',
    manifests: networkPolicy('default-deny-all', isolates('Ingress', 'Egress')),
    expect: [
      [`${OTHERS} ${OUT}`, 'db frontend client', 'tcp/80', 'deny'],
      ['db frontend client', `${OTHERS} ${OUT}`, 'tcp/80', 'deny'],
      ['db frontend client', 'db frontend client', 'tcp/80 udp/53', 'deny'],
      ['alice-db', 'bob-db', 'tcp/80', 'allow'],
    ],
  },
];

/** The page's example, with an IPv6 network beside its own. */
const RANGE = networkPolicy(
  'multi-port-egress',
  `podSelector:
  matchLabels:
    role: db
policyTypes:
- Egress
egress:
- to:
  - ipBlock:
      cidr: 10.0.0.0/24
  - ipBlock:
      cidr: 2001:db8:10::/48
  ports:
  - protocol: TCP
    port: 32000
    endPort: 32768`,
);
const wrongRange = (port: string): string =>
  networkPolicy('wrong', `podSelector: {}\npolicyTypes: [Egress]\negress: [{ports: [{${port}}]}]`);

export const targets: readonly Scenario[] = [
  {
    section: 'range of ports',
    says: 'the example allows TCP to ports 32000 to 32768 of one network',
    manifests: RANGE,
    expect: [
      ['db', 'out-d', 'tcp/32000 tcp/32500 tcp/32768', 'allow'],
      ['db', 'out-d', 'tcp/31999 tcp/32769 udp/32500 sctp/32500', 'deny'],
      ['db', 'out-c alice-db', 'tcp/32500', 'deny'],
    ],
  },
  {
    section: 'range of ports',
    says: 'endPort must not be below port, must not stand alone, and both must be numbers; such a policy is refused',
    manifests:
      RANGE +
      wrongRange('port: 80, endPort: 79') +
      wrongRange('endPort: 80').replace('name: wrong', 'name: alone') +
      wrongRange('port: redis, endPort: 80').replace('name: wrong', 'name: named'),
    problems: [
      /endPort: must be at least port, 80/,
      /endPort: must not be there without port as a number/,
      /endPort: must not be there without port as a number/,
    ],
    expect: [
      ['db', 'out-d', 'tcp/32500', 'allow'],
      ['client', 'alice-db', 'tcp/32500', 'allow'],
    ],
  },
  {
    section: 'namespaces by label',
    says: 'the example allows egress to several namespaces by a label that they have',
    manifests: networkPolicy(
      'egress-namespaces',
      `podSelector:
  matchLabels:
    app: myapp
policyTypes:
- Egress
egress:
- to:
  - namespaceSelector:
      matchExpressions:
      - key: namespace
        operator: In
        values: ["frontend", "backend"]`,
    ),
    expect: [
      ['db', OTHERS, 'tcp/80 udp/53', 'allow'],
      ['db', 'client frontend node2 out-c', 'tcp/80 udp/53', 'deny'],
      ['client', 'frontend', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'namespace by name',
    says: 'by the label kubernetes.io/metadata.name, which every namespace has',
    manifests: from('{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: bob}}}'),
    expect: [
      ['bob-db bob-frontend bob-client', 'db', 'tcp/80', 'allow'],
      ['alice-db client', 'db', 'tcp/80', 'deny'],
    ],
  },
];

const HOST_PODS = ['node1', 'node2']
  .map((node) =>
    object(
      'v1',
      'Pod',
      [`agent-${node}`, 'default'],
      `{nodeName: ${node}, hostNetwork: true}`,
      '{role: agent}',
    ),
  )
  .join('');

export const hosts: readonly Scenario[] = [
  {
    section: 'hostNetwork pods',
    says: 'are not told from their node: no podSelector of a policy selects them',
    manifests:
      HOST_PODS +
      networkPolicy('agents', 'podSelector: {matchLabels: {role: agent}}\npolicyTypes: [Ingress, Egress]') +
      networkPolicy('all', isolates('Ingress', 'Egress'), 'bob'),
    expect: [
      ['node1', 'node2 out-c db frontend', 'tcp/80 udp/53', 'allow'],
      ['out-c node2 db frontend', 'node1', 'tcp/80 udp/53', 'allow'],
    ],
  },
  {
    section: 'hostNetwork pods',
    says: 'no podSelector or namespaceSelector of a rule selects them',
    manifests:
      HOST_PODS +
      from('{podSelector: {matchLabels: {role: agent}}}', '{namespaceSelector: {}}') +
      to('{podSelector: {matchLabels: {role: agent}}}', '{namespaceSelector: {}}'),
    expect: [
      ['node2', 'db', 'tcp/80 udp/53', 'deny'],
      ['db', 'node2', 'tcp/80 udp/53', 'deny'],
      ['frontend', 'db', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'hostNetwork pods',
    says: 'an ipBlock with their node’s address allows them',
    manifests:
      HOST_PODS +
      from('{ipBlock: {cidr: "{{node2 ipv4}}/32"}}', '{ipBlock: {cidr: "{{node2 ipv6}}/128"}}') +
      to('{ipBlock: {cidr: 192.168.10.11/32}}', '{ipBlock: {cidr: "fd00:1::11/128"}}'),
    expect: [
      ['node2 node1', 'db', 'tcp/80 udp/53', 'allow'],
      ['db', 'node2 node1', 'tcp/80 udp/53', 'allow'],
      ['frontend out-c', 'db', 'tcp/80', 'deny'],
    ],
  },
  {
    section: 'what you can’t do',
    says: 'block loopback, or what the resident node sends',
    manifests: ['default', 'alice', 'bob']
      .map((namespace) => networkPolicy('none', isolates('Ingress', 'Egress'), namespace))
      .join(''),
    expect: [
      ['db', 'db', 'tcp/80', 'allow'],
      ['alice-client', 'alice-client', 'tcp/80', 'allow'],
      ['node1', 'db client alice-frontend bob-db bob-frontend', 'tcp/80 udp/53 icmp', 'allow'],
      ['node2', 'frontend alice-db alice-client bob-client', 'tcp/80 udp/53 icmp', 'allow'],
      ['node2', 'db', 'tcp/80', 'deny'],
    ],
  },
  {
    section: 'what you can’t do',
    says: 'deny explicitly: policies only add to what is allowed',
    manifests:
      networkPolicy('open', 'podSelector: {}\ningress: [{}]\negress: [{}]') +
      networkPolicy(
        'tries',
        `podSelector: {matchLabels: {role: db}}
policyTypes: [Ingress, Egress]
ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [203.0.113.0/24]}}]}]`,
      ),
    expect: [
      ['out-c alice-db', 'db', 'tcp/80', 'allow'],
      ['db', 'out-c alice-db', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'what you can’t do',
    says: 'name nodes: their addresses stand for them',
    manifests: to('{ipBlock: {cidr: 192.168.10.11/32}}', '{ipBlock: {cidr: "fd00:1::11/128"}}'),
    expect: [
      ['db', 'node2', 'tcp/80', 'allow'],
      ['db', `frontend out-c ${ALL.replace('db ', '').replace('frontend ', '')}`, 'tcp/80', 'deny'],
    ],
  },
];
