/** What facts can be about. Every fact names one of these, and every requirement and preference asks for one. */

export type FeatureType = 'ability' | 'number' | 'version' | 'text';

/** In the order in which a reader meets them. */
export const GROUPS = {
  network: 'The network between nodes',
  policy: 'Policies',
  service: 'Services, and what goes in and out',
  pod: 'Pods',
  place: 'Where it runs, and what it needs there',
  size: 'How large',
  speed: 'Measured by others',
  care: 'Who looks after it',
} as const;
export type Group = keyof typeof GROUPS;

const of =
  (group: Group, type: FeatureType) =>
  (title: string): FeatureInfo => ({ group, type, title });
export type FeatureInfo = { readonly group: Group; readonly type: FeatureType; readonly title: string };
const network = of('network', 'ability');
const networkText = of('network', 'text');
const policy = of('policy', 'ability');
const service = of('service', 'ability');
const pod = of('pod', 'ability');
const place = of('place', 'ability');
const placeText = of('place', 'text');
const size = of('size', 'number');
const speed = of('speed', 'number');
const care = of('care', 'ability');

/** The title of an ability completes “it must have …”. */
const TABLE = {
  networkModel: networkText('network model'),
  routeDistribution: networkText('how nodes learn the way to pods'),
  encapsulation: network('encapsulation between nodes'),
  unencapsulated: network('plain routing without encapsulation'),
  acrossSubnets: network('nodes on several subnets, with routers that know no pods'),
  bgp: network('routes told by BGP'),
  cloudNative: network('pods with addresses of the cloud’s own network'),
  encryption: network('encryption between nodes'),
  severalClusters: network('pods of several clusters in one network (mesh)'),
  ipv6Only: network('clusters with IPv6 alone'),
  dualStack: network('both families at once'),
  multicast: network('multicast between pods'),
  mtuDetection: network('MTU found by itself'),
  networkPolicy: policy('Kubernetes NetworkPolicy'),
  egressPolicy: policy('policies for egress'),
  ipBlocks: policy('ipBlock in policies that also matches pods and nodes'),
  namedPorts: policy('named ports in policies'),
  portRanges: policy('port ranges (endPort) in policies'),
  clusterPolicy: policy('cluster-wide policies of Kubernetes (admin and baseline)'),
  calicoPolicy: policy('Calico’s kinds of policy'),
  ciliumPolicy: policy('Cilium’s kinds of policy'),
  hostPolicy: policy('policies for the nodes themselves'),
  httpPolicy: policy('policies by HTTP method and path (layer 7)'),
  dnsPolicy: policy('policies by DNS name (layer 7)'),
  flowLogs: policy('logs of flows and of what was denied'),
  serviceProxy: service('a service proxy in place of kube-proxy'),
  loadBalancer: service('addresses for services of type LoadBalancer'),
  serviceAnnouncement: service('service addresses announced to routers'),
  ingress: service('an ingress or gateway of its own'),
  egressGateway: service('an egress gateway'),
  hostPorts: pod('host ports'),
  bandwidth: pod('bandwidth limits per pod'),
  calicoAnnotations: pod('Calico’s annotations, and objects with its settings'),
  ciliumAnnotations: pod('Cilium’s annotations, and objects with its settings'),
  kubeRouterAnnotations: pod('kube-router’s annotations of services and nodes'),
  awsAnnotations: pod('the VPC CNI’s annotations, and objects with its settings'),
  datastore: placeText('datastore'),
  withoutDatastore: place('no datastore and no API server needed'),
  kubernetesApi: place('nodes and policies from the Kubernetes API'),
  onAws: place('running on AWS'),
  onGcp: place('running on Google Cloud'),
  onAzure: place('running on Azure'),
  onBareMetal: place('running on bare metal'),
  kernel: of('place', 'version')('oldest kernel'),
  modules: placeText('kernel modules that it cannot do without'),
  ports: placeText('ports between nodes'),
  oneProgram: place('one program per node and nothing else'),
  nodes: size('nodes that somebody ran or planned for'),
  nodesAws: size('nodes on AWS'),
  nodesGcp: size('nodes on Google Cloud'),
  nodesAzure: size('nodes on Azure'),
  podsPerNode: size('pods per node'),
  memoryMiB: size('memory of the agent, MiB'),
  benchMemoryMiB: speed('memory of a node in the benchmark of 2024, MiB (1,088 without a provider)'),
  throughputGbit: speed('one TCP stream between pods, Gbit/s of 40'),
  encryptedGbit: speed('one encrypted TCP stream between pods, Gbit/s of 40'),
  maintained: care('maintained'),
  support: care('commercial support'),
} as const;

export type Feature = keyof typeof TABLE;
export const FEATURES: Readonly<Record<Feature, FeatureInfo>> = TABLE;
export const FEATURE_NAMES = Object.keys(FEATURES) as readonly Feature[];

export function titleOf(feature: Feature): string {
  return FEATURES[feature].title;
}
