/** What runs on the cluster of the tests: a web server in several pods, clients, and the DNS of the cluster. */
import { IMAGE } from '../runtimes/image.ts';
import { DNS_ADDRESS } from './cluster.ts';
import { NODE_IMAGE } from './images.ts';

export const WEB_PORT = 8080;
export const NODE_PORT = 30_080;

const SERVE = `mkdir -p /www; hostname >/www/index.html; exec httpd -f -p ${WEB_PORT} -h /www`;
const probe = (port: number) => ({ tcpSocket: { port }, periodSeconds: 1 });

/** Pods that answer HTTP with their name, as evenly on the nodes as can be, and a Service before them. */
export function webObjects(replicas: number): object[] {
  const labels = { app: 'web' };
  const container = {
    name: 'web',
    image: IMAGE,
    imagePullPolicy: 'Never',
    command: ['sh', '-c', SERVE],
    readinessProbe: probe(WEB_PORT),
  };
  const spread = {
    maxSkew: 1,
    topologyKey: 'kubernetes.io/hostname',
    whenUnsatisfiable: 'DoNotSchedule',
    labelSelector: { matchLabels: labels },
  };
  return [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'default' },
      spec: {
        replicas,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            terminationGracePeriodSeconds: 0,
            topologySpreadConstraints: [spread],
            containers: [container],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'default' },
      spec: {
        type: 'NodePort',
        selector: labels,
        ports: [{ port: 80, targetPort: WEB_PORT, nodePort: NODE_PORT }],
      },
    },
  ];
}

export const clientPod = (name: string, labels: Readonly<Record<string, string>>, node: string): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default', labels },
  spec: {
    nodeName: node,
    // It has no controller that would make it again.
    tolerations: [{ operator: 'Exists' }],
    terminationGracePeriodSeconds: 0,
    containers: [{ name: 'sleep', image: IMAGE, imagePullPolicy: 'Never', command: ['sleep', '1000000'] }],
  },
});

/** Only pods with the label reach the web server. */
export const webPolicy = (access: string): object => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    podSelector: { matchLabels: { app: 'web' } },
    ingress: [{ from: [{ podSelector: { matchLabels: { access } } }] }],
  },
});

export function dnsObjects(): object[] {
  const metadata = { name: 'dns', namespace: 'kube-system' };
  const role = { name: 'test-dns' };
  const api = 'rbac.authorization.k8s.io';
  const container = {
    name: 'dns',
    image: NODE_IMAGE,
    imagePullPolicy: 'Never',
    command: ['node', '/pods/dns.ts'],
    readinessProbe: probe(8053),
  };
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    {
      apiVersion: `${api}/v1`,
      kind: 'ClusterRole',
      metadata: role,
      rules: [{ apiGroups: [''], resources: ['services'], verbs: ['get'] }],
    },
    {
      apiVersion: `${api}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: role,
      roleRef: { apiGroup: api, kind: 'ClusterRole', name: role.name },
      subjects: [{ kind: 'ServiceAccount', name: metadata.name, namespace: metadata.namespace }],
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        replicas: 1,
        selector: { matchLabels: { app: 'dns' } },
        template: {
          metadata: { labels: { app: 'dns' } },
          spec: {
            serviceAccountName: metadata.name,
            terminationGracePeriodSeconds: 0,
            containers: [container],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { clusterIP: DNS_ADDRESS, selector: { app: 'dns' }, ports: [{ protocol: 'UDP', port: 53 }] },
    },
  ];
}
