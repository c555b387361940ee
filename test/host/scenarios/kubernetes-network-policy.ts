/**
 * Kubernetes' page on network policies (concepts/services-networking/network-policies), paragraph by paragraph. Its
 * addresses are IPv4; beside each stands one of IPv6 that means the same.
 */
import { networkPolicy } from './manifests.ts';
import { isolation, overview } from './kubernetes-isolation.ts';
import { filtering, lifecycle } from './kubernetes-lifecycle.ts';
import { defaults, hosts, selectors, targets } from './kubernetes-selectors.ts';
import type { Documentation, Scenario } from './scenario.ts';

const OTHERS = 'alice-db alice-frontend alice-client bob-db bob-frontend bob-client';

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
      says: 'ipBlock where sources are rewritten on the way in: which address each road leaves, with a real kube-proxy',
      file: 'policy-services.test.ts',
      title: 'ingress: the source that the backend’s policy sees',
    },
    {
      section: 'selectors',
      says: 'ipBlock where a service’s address is rewritten on the way out: the backend’s counts',
      file: 'policy-services.test.ts',
      title: 'egress: the destination that the client’s policy sees',
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
