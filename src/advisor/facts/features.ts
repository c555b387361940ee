/** What facts can be about. Every fact names one of these, and every requirement and preference asks for one. */

export type FeatureType = 'ability' | 'number' | 'version' | 'text';

const ability = (title: string) => ({ type: 'ability', title }) as const;
const number = (title: string) => ({ type: 'number', title }) as const;

/** The title completes "… has it: ". */
export const FEATURES = {
  encapsulation: ability('encapsulation between nodes'),
  unencapsulated: ability('plain routing without encapsulation'),
  acrossSubnets: ability('nodes on several subnets, with routers that know no pods'),
  bgp: ability('routes told by BGP'),
  cloudNative: ability('pods with addresses of the cloud’s own network'),
  kubernetesApi: ability('nodes and policies from the Kubernetes API'),
  withoutDatastore: ability('no datastore and no API server needed'),
  networkPolicy: ability('Kubernetes NetworkPolicy'),
  egressPolicy: ability('policies for egress'),
  namedPorts: ability('named ports in policies'),
  portRanges: ability('port ranges (endPort) in policies'),
  clusterPolicy: ability('cluster-wide policies'),
  calicoPolicy: ability('Calico’s kinds of policy'),
  ciliumPolicy: ability('Cilium’s kinds of policy'),
  hostPolicy: ability('policies for the nodes themselves'),
  httpPolicy: ability('policies by HTTP method and path'),
  dnsPolicy: ability('policies by DNS name'),
  encryption: ability('encryption between nodes'),
  severalClusters: ability('pods of several clusters in one network'),
  ipv6Only: ability('clusters with IPv6 alone'),
  dualStack: ability('both families at once'),
  multicast: ability('multicast between pods'),
  serviceProxy: ability('a service proxy in place of kube-proxy'),
  egressGateway: ability('an egress gateway'),
  serviceAnnouncement: ability('service addresses announced to routers'),
  flowLogs: ability('logs of flows and of what was denied'),
  mtuDetection: ability('MTU found by itself'),
  hostPorts: ability('host ports'),
  bandwidth: ability('bandwidth limits per pod'),
  onAws: ability('running on AWS'),
  onGcp: ability('running on Google Cloud'),
  onAzure: ability('running on Azure'),
  onBareMetal: ability('running on bare metal'),
  maintained: ability('maintained'),
  support: ability('commercial support'),
  oneProgram: ability('one program per node and nothing else'),
  nodes: number('nodes that somebody ran or planned for'),
  nodesAws: number('nodes on AWS'),
  nodesGcp: number('nodes on Google Cloud'),
  nodesAzure: number('nodes on Azure'),
  podsPerNode: number('pods per node'),
  memoryMiB: number('memory of the agent, MiB'),
  benchMemoryMiB: number('memory of a node in the benchmark of 2024, MiB (1,088 without a provider)'),
  throughputGbit: number('one TCP stream between pods, Gbit/s of 40'),
  encryptedGbit: number('one encrypted TCP stream between pods, Gbit/s of 40'),
  kernel: { type: 'version', title: 'oldest kernel' },
  ports: { type: 'text', title: 'ports between nodes' },
} as const satisfies Readonly<Record<string, { readonly type: FeatureType; readonly title: string }>>;

export type Feature = keyof typeof FEATURES;
export const FEATURE_NAMES = Object.keys(FEATURES) as readonly Feature[];

export function titleOf(feature: Feature): string {
  return FEATURES[feature].title;
}
