/**
 * The cluster that all scenarios are about: three namespaces with a db, a frontend and a client each, over two nodes, so
 * that each has neighbours on its own node and on the other; and places outside.
 */
import type { NewPod } from './scenario.ts';

const NAMESPACES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  default: {},
  alice: { user: 'alice', project: 'myproject', namespace: 'frontend', tenant: 'one' },
  bob: { user: 'bob', namespace: 'backend', tenant: 'two' },
};

const pod = (name: string, namespace: string, node: string): NewPod => {
  const role = name.replace(`${namespace}-`, '');
  return { name, namespace, node, labels: { role, ...(role === 'db' ? { app: 'myapp' } : {}) } };
};

export const PODS: readonly NewPod[] = [
  pod('db', 'default', 'node1'),
  pod('frontend', 'default', 'node2'),
  pod('client', 'default', 'node1'),
  pod('alice-db', 'alice', 'node2'),
  pod('alice-frontend', 'alice', 'node1'),
  pod('alice-client', 'alice', 'node2'),
  pod('bob-db', 'bob', 'node1'),
  pod('bob-frontend', 'bob', 'node1'),
  pod('bob-client', 'bob', 'node2'),
];

/** All of them, as expectations name them. */
export const ALL = PODS.map(({ name }) => name).join(' ');

/** Addresses that are nobody's in the lab: what is sent to them ends at its router, and it sends in their names. */
export const OUTSIDE: Readonly<Record<string, Readonly<Record<4 | 6, string>>>> = {
  'out-a': { 4: '172.17.2.9', 6: '2001:db8:17:2::9' },
  'out-b': { 4: '172.17.1.9', 6: '2001:db8:17:1::9' },
  'out-c': { 4: '203.0.113.9', 6: '2001:db8:113::9' },
  /** The destinations of the documentation's egress rule, 10.0.0.0/24. */
  'out-d': { 4: '10.0.0.9', 6: '2001:db8:10::9' },
};

/** Named ports of each role. */
const PORTS: Readonly<Record<string, readonly (readonly [string, number, string])[]>> = {
  db: [
    ['redis', 6379, 'TCP'],
    ['names', 53, 'UDP'],
  ],
  frontend: [['redis', 6380, 'TCP']],
};

/** The cluster's own manifests, whose pods are on the nodes where they are. */
export function clusterManifests(nodeOf: (pod: NewPod) => string): string {
  const objects = [
    ...Object.entries(NAMESPACES).map(([name, labels]) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels },
    })),
    ...['node1', 'node2'].map((name) => ({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, labels: { 'kubernetes.io/hostname': name } },
    })),
    ...Object.keys(NAMESPACES).flatMap((namespace) =>
      ['db', 'frontend'].map((name) => ({
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { namespace, name, labels: { of: name } },
      })),
    ),
    ...PODS.map((each) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: each.name, namespace: each.namespace, labels: each.labels },
      spec: {
        nodeName: nodeOf(each),
        serviceAccountName: each.labels['role'] === 'client' ? 'default' : each.labels['role'],
        containers: [
          {
            ports: (PORTS[each.labels['role'] ?? ''] ?? []).map(([name, containerPort, protocol]) => ({
              name,
              containerPort,
              protocol,
            })),
          },
        ],
      },
    })),
  ];
  return objects.map((object) => `---\n${JSON.stringify(object)}\n`).join('');
}
