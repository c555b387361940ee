/** What stands around Calico's table: namespaces, peers and traffic of its rules. */
import { calico } from './manifests.ts';
import type { Scenario } from './scenario.ts';

const DB = `selector: "role == 'db'"`;
const inDefault = (name: string, spec: string): string => calico('NetworkPolicy', `default/${name}`, spec);
const globally = (name: string, spec: string): string => calico('GlobalNetworkPolicy', name, spec);
const SERVICE = `---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: alice}
spec:
  selector: {role: db}
  ports: [{port: 80, targetPort: 8080}]
`;
const ALICE = 'alice-db alice-frontend alice-client';

export const peers: readonly Scenario[] = [
  {
    section: 'namespaces',
    says: 'a NetworkPolicy’s selectors find what is in its namespace only',
    manifests: inDefault(
      'own',
      `selector: all()\ningress: [{action: Allow, source: {selector: "role == 'client'"}}]`,
    ),
    expect: [
      ['client', 'db frontend', 'tcp/80', 'allow'],
      ['alice-client bob-client frontend', 'db', 'tcp/80', 'deny'],
      ['db', 'alice-db bob-client', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'namespaces',
    says: 'namespaceSelector finds others, alone or with a selector; all() those with a namespace, global() those without',
    manifests:
      calico('GlobalNetworkSet', 'office', 'nets: [172.17.2.0/24, "2001:db8:17:2::/64"]', '{role: client}') +
      inDefault(
        'others',
        `${DB}
ingress:
- {action: Allow, protocol: TCP, source: {namespaceSelector: "user == 'alice'"}, destination: {ports: [80]}}
- {action: Allow, protocol: TCP, source: {namespaceSelector: "user == 'bob'", selector: "role == 'client'"}, destination: {ports: [80]}}
- {action: Allow, protocol: TCP, source: {namespaceSelector: all()}, destination: {ports: [81]}}
- {action: Allow, protocol: TCP, source: {namespaceSelector: global(), selector: "role == 'client'"}, destination: {ports: [82]}}`,
      ),
    expect: [
      [`${ALICE} bob-client`, 'db', 'tcp/80', 'allow'],
      ['client bob-db out-a', 'db', 'tcp/80', 'deny'],
      [`${ALICE} bob-db client`, 'db', 'tcp/81', 'allow'],
      ['out-a out-c', 'db', 'tcp/81', 'deny'],
      ['out-a', 'db', 'tcp/82', 'allow'],
      ['out-b client alice-client', 'db', 'tcp/82', 'deny'],
    ],
  },
  {
    section: 'namespaces',
    says: 'a GlobalNetworkPolicy’s find pods of all namespaces, and inherited labels',
    manifests: globally(
      'everywhere',
      `selector: "role == 'db'"
namespaceSelector: "projectcalico.org/name in {'default', 'bob'}"
ingress:
- {action: Allow, source: {selector: "role == 'client' && pcns.user == 'alice'"}}
- {action: Allow, source: {selector: "projectcalico.org/namespace == 'bob'"}}`,
    ),
    expect: [
      ['alice-client bob-client bob-frontend', 'db', 'tcp/80', 'allow'],
      ['alice-db client frontend', 'db bob-db', 'tcp/80', 'deny'],
      ['client bob-db', 'alice-db', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'peers',
    says: 'service accounts, by name and by label, of subjects too',
    manifests: inDefault(
      'accounts',
      `serviceAccountSelector: "of == 'db'"
ingress:
- {action: Allow, source: {serviceAccounts: {names: [frontend]}}}
- {action: Allow, source: {namespaceSelector: "user == 'bob'", serviceAccounts: {selector: "of == 'frontend'"}}}`,
    ),
    expect: [
      ['frontend bob-frontend', 'db', 'tcp/80', 'allow'],
      ['client alice-frontend bob-db', 'db', 'tcp/80', 'deny'],
      ['bob-db', 'frontend client', 'tcp/80', 'allow'],
    ],
  },
  {
    section: 'peers',
    says: 'services: of egress, their backends at their ports',
    manifests:
      SERVICE +
      inDefault(
        'services',
        `selector: "role == 'client'"
types: [Egress]
egress: [{action: Allow, destination: {services: {name: web, namespace: alice}}}]`,
      ),
    expect: [
      ['client', 'alice-db', 'tcp/8080', 'allow'],
      ['client', 'alice-db', 'tcp/80 udp/8080', 'deny'],
      ['client', 'alice-frontend bob-db', 'tcp/8080', 'deny'],
    ],
  },
  {
    section: 'peers',
    says: 'nets and notNets, network sets, and selectors negated',
    manifests:
      calico(
        'NetworkSet',
        'default/partners',
        'nets: [203.0.113.0/24, "2001:db8:113::/48"]',
        '{partner: "yes"}',
      ) +
      inDefault(
        'nets',
        `${DB}
ingress:
- {action: Allow, source: {nets: [172.17.0.0/16], notNets: [172.17.1.0/24]}}
- {action: Allow, source: {nets: ["2001:db8:17::/48"], notNets: ["2001:db8:17:1::/64"]}}
- {action: Allow, source: {selector: "partner == 'yes'"}}
- {action: Allow, source: {selector: has(role), notSelector: "role in {'frontend'}"}}`,
      ),
    expect: [
      ['out-a out-c client', 'db', 'tcp/80 udp/53', 'allow'],
      ['out-b frontend alice-client', 'db', 'tcp/80 udp/53', 'deny'],
    ],
  },
  {
    section: 'traffic',
    says: 'ports by number, range, name and negated; protocols, ICMP by type, and families',
    manifests: inDefault(
      'traffic',
      `${DB}
ingress:
- {action: Allow, protocol: TCP, destination: {ports: [80, "90:92", redis]}}
- {action: Allow, protocol: UDP, destination: {notPorts: ["1:100"]}}
- {action: Allow, notProtocol: TCP, source: {selector: "role == 'frontend'"}}
- {action: Allow, protocol: ICMP, icmp: {type: 8, code: 0}}
- {action: Allow, protocol: ICMPv6, icmp: {type: 128}}
- {action: Allow, protocol: 47}`,
    ),
    expect: [
      ['client', 'db', 'tcp/80 tcp/90 tcp/92 tcp/6379 udp/101 icmp 47', 'allow'],
      ['client', 'db', 'tcp/81 tcp/93 tcp/6380 udp/1 udp/100 sctp/7', 'deny'],
      ['frontend', 'db', 'udp/1 sctp/7', 'allow'],
      ['frontend', 'db', 'tcp/81', 'deny'],
    ],
  },
];
