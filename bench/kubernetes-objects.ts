/** A large cluster's objects, node by node: as kubelets and agents leave them. */
import type { NodeAdvert } from '#model/world.ts';
import type { NodeWorkloads } from '#model/workload.ts';
import { address } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import { prefix } from '#net/prefix.ts';

const hex = (byte: number): string => (byte & 255).toString(16).padStart(2, '0');
const halves = (n: number): readonly [high: number, low: number] => [n >> 8, n & 255];

/** Node `n` of at most 60,000. */
export function advertOf(n: number): NodeAdvert {
  const [high, low] = halves(n);
  return {
    name: `peer-${n}`,
    addresses: { 4: address(`172.31.${high}.${low}`) },
    subnets: { 4: prefix(`10.${high}.${low}.0/24`) },
    road: 'vxlan',
    vxlan: { vni: 1, port: 8472, mac: { 4: mac(`02:00:00:00:${hex(high)}:${hex(low)}`) } },
    mtu: 1500,
    ready: true,
  };
}

const labelsOf = (n: number, pod: number): Record<string, string> => ({
  app: `app-${(n * 7 + pod) % 200}`,
  'pod-template-hash': '5d4f8c7b9',
  tier: pod % 2 === 0 ? 'front' : 'back',
});
const podName = (n: number, pod: number): string => `app-${(n * 7 + pod) % 200}-5d4f8c7b9-${n}-${pod}`;
const podAddress = (n: number, pod: number): string => `10.${halves(n).join('.')}.${pod + 1}`;

export function workloadsOf(n: number, pods: number): NodeWorkloads {
  const numbers = Array.from({ length: pods }, (_, index) => index + 1);
  return {
    node: `peer-${n}`,
    pods: numbers.map((pod) => ({
      namespace: 'shop',
      name: podName(n, pod),
      addresses: [address(podAddress(n, pod))],
      labels: labelsOf(n, pod),
    })),
  };
}

export function nodeObjectOf(n: number): object {
  const [high, low] = halves(n);
  const conditions = ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'].map((type) => ({
    type,
    status: type === 'Ready' ? 'True' : 'False',
    reason: `Kubelet${type}`,
    message: 'kubelet is posting what it sees',
    lastHeartbeatTime: '2030-01-01T00:00:00Z',
    lastTransitionTime: '2030-01-01T00:00:00Z',
  }));
  const images = Array.from({ length: 20 }, (_, image) => ({
    names: [
      `registry.example/team/image-${image}@sha256:${'0'.repeat(64)}`,
      `registry.example/team/image-${image}:v1`,
    ],
    sizeBytes: 100_000_000 + image,
  }));
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: `peer-${n}`,
      labels: { 'kubernetes.io/hostname': `peer-${n}`, 'topology.kubernetes.io/zone': `zone-${n % 3}` },
    },
    spec: { podCIDR: `10.${high}.${low}.0/24`, podCIDRs: [`10.${high}.${low}.0/24`] },
    status: { addresses: [{ type: 'InternalIP', address: `172.31.${high}.${low}` }], conditions, images },
  };
}

export function podObjectOf(n: number, pod: number): object {
  const env = Array.from({ length: 10 }, (_, index) => ({
    name: `SETTING_${index}`,
    value: 'some text of usual length',
  }));
  const container = {
    name: 'main',
    image: 'registry.example/team/image-1:v1',
    env,
    ports: [{ name: 'http', containerPort: 8080 }],
    resources: { limits: { cpu: '1', memory: '512Mi' }, requests: { cpu: '100m', memory: '128Mi' } },
    livenessProbe: { httpGet: { path: '/healthz', port: 8080 }, periodSeconds: 10 },
    volumeMounts: [{ name: 'data', mountPath: '/data' }],
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: podName(n, pod), namespace: 'shop', labels: labelsOf(n, pod) },
    spec: { nodeName: `peer-${n}`, containers: [container], volumes: [{ name: 'data', emptyDir: {} }] },
  };
}

/** Lets one app in from another. */
export function policyOf(n: number): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: `policy-${n}`, namespace: 'shop' },
    spec: {
      podSelector: { matchLabels: { app: `app-${n}` } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app: `app-${n + 100}` } } }] }],
    },
  };
}
