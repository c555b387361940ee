/**
 * What an object of an operator's manifests needs of a provider: the feature that reads its kind at all, and those of the
 * fields it uses, each at its path. Objects of which no fact tells need nothing.
 */
import { isFields } from '#model/manifest-shapes.ts';
import type { Manifest } from '#model/manifest.ts';
import type { Feature } from '../facts/features.ts';

export type Use = { readonly feature: Feature; readonly path: string };
export type Uses = {
  /** `kind [namespace/]name`. */
  readonly object: string;
  readonly source: string;
  /** Without it nobody reads the object; absent for kinds that all know. */
  readonly kind?: Feature;
  readonly fields: readonly Use[];
};

/** By API group, and the beginning of the kind; the first that fits. */
const KINDS: readonly (readonly [group: RegExp, kind: RegExp, feature: Feature])[] = [
  [/^networking\.k8s\.io$/, /^NetworkPolicy$/, 'networkPolicy'],
  [/^policy\.networking\.k8s\.io$/, /NetworkPolicy$/, 'clusterPolicy'],
  [/projectcalico\.org$/, /^HostEndpoint$/, 'hostPolicy'],
  [/projectcalico\.org$/, /^BGP/, 'bgp'],
  [/projectcalico\.org$/, /(?:Policy|NetworkSet|^Tier|^Profile)$/, 'calicoPolicy'],
  [/^cilium\.io$/, /^CiliumEgressGatewayPolicy$/, 'egressGateway'],
  [/^cilium\.io$/, /^CiliumBGP/, 'bgp'],
  [/^cilium\.io$/, /NetworkPolicy$|^CiliumCIDRGroup$/, 'ciliumPolicy'],
  [/^cilium\.io$/, /^/, 'ciliumAnnotations'],
  [/projectcalico\.org$/, /^/, 'calicoAnnotations'],
  [/^(?:vpcresources|networking)\.k8s\.aws$|^crd\.k8s\.amazonaws\.com$/, /^/, 'awsAnnotations'],
  [/^multicluster\.x-k8s\.io$/, /^/, 'severalClusters'],
];

/** Fields by their name, wherever they stand, and the kinds in which they count. */
type Field = {
  readonly name: string;
  readonly feature: Feature;
  readonly in: 'policy' | 'pod' | 'service';
  readonly when: (value: unknown) => boolean;
};
const isThere = (value: unknown): boolean => value !== undefined && value !== null;
const isName = (value: unknown): boolean => typeof value === 'string' && !/^[\d:]+$/.test(value);
const isFilled = (value: unknown): boolean => Array.isArray(value) && value.length > 0;
const hasName = (value: unknown): boolean => Array.isArray(value) && value.some(isName);

const FIELDS: readonly Field[] = [
  { name: 'egress', feature: 'egressPolicy', in: 'policy', when: isThere },
  { name: 'egressDeny', feature: 'egressPolicy', in: 'policy', when: isThere },
  {
    name: 'policyTypes',
    feature: 'egressPolicy',
    in: 'policy',
    when: (value) => Array.isArray(value) && value.includes('Egress'),
  },
  { name: 'ipBlock', feature: 'ipBlocks', in: 'policy', when: isThere },
  { name: 'endPort', feature: 'portRanges', in: 'policy', when: isThere },
  { name: 'port', feature: 'namedPorts', in: 'policy', when: isName },
  { name: 'namedPort', feature: 'namedPorts', in: 'policy', when: isThere },
  { name: 'destinationNamedPort', feature: 'namedPorts', in: 'policy', when: isThere },
  { name: 'ports', feature: 'namedPorts', in: 'policy', when: hasName },
  { name: 'http', feature: 'httpPolicy', in: 'policy', when: isThere },
  { name: 'domains', feature: 'dnsPolicy', in: 'policy', when: isFilled },
  { name: 'domainNames', feature: 'dnsPolicy', in: 'policy', when: isFilled },
  { name: 'toFQDNs', feature: 'dnsPolicy', in: 'policy', when: isFilled },
  { name: 'nodeSelector', feature: 'hostPolicy', in: 'policy', when: isThere },
  { name: 'hostPort', feature: 'hostPorts', in: 'pod', when: isThere },
  { name: 'type', feature: 'loadBalancer', in: 'service', when: (value) => value === 'LoadBalancer' },
];

/** Annotations, of whatever object they are, and of the pods that it makes. */
const ANNOTATIONS: readonly (readonly [name: RegExp, feature: Feature])[] = [
  [/^kubernetes\.io\/(?:in|e)gress-bandwidth$/, 'bandwidth'],
  [/^service\.cilium\.io\/(?:global|shared|affinity)$|^io\.cilium\/global-service$/, 'severalClusters'],
  [/^(?:[a-z-]+\.)*cilium\.io\/|^io\.cilium\//, 'ciliumAnnotations'],
  [/^(?:[a-z-]+\.)*projectcalico\.org\//, 'calicoAnnotations'],
  [/^kube-router\.io\//, 'kubeRouterAnnotations'],
  [/^(?:vpc|k8s)\.amazonaws\.com\//, 'awsAnnotations'],
];

const POD_KINDS = new Set(['Pod', 'Deployment', 'DaemonSet', 'StatefulSet', 'ReplicaSet', 'Job', 'CronJob']);

/** Undefined for what needs nothing that facts tell of. */
export function usesOf({ value, source }: Manifest): Uses | undefined {
  if (!isFields(value)) return undefined;
  const kind = String(value['kind']);
  const reads = readerOf(String(value['apiVersion']).split('/')[0] ?? '', kind);
  const sort =
    reads !== undefined ? 'policy' : kind === 'Service' ? 'service' : POD_KINDS.has(kind) ? 'pod' : 'other';
  const fields = fieldsOf(value, sort);
  if (reads === undefined && fields.length === 0) return undefined;
  return { object: nameOf(kind, value['metadata']), source, ...(reads ? { kind: reads } : {}), fields };
}

/** What providers write for themselves: thousands of objects that nobody has to take along. */
const MADE =
  /^(?:Cilium(?:Endpoint|EndpointSlice|Identity|Node)|IPAM(?:Block|Handle)|BlockAffinity|ClusterInformation|CalicoNodeStatus|CNINode)$/;

/** Whether objects of a cluster's kind may need something. */
export function isAudited(group: string, kind: string): boolean {
  if (MADE.test(kind)) return false;
  const isPlain = ['Service', 'Namespace', 'Node'].includes(kind) && group === '';
  return isPlain || isPodKind(group, kind) || readerOf(group, kind) !== undefined;
}

function isPodKind(group: string, kind: string): boolean {
  return ['', 'apps', 'batch'].includes(group) && POD_KINDS.has(kind);
}

/** Made by another object that is looked at too: what it needs, that one needs. */
export function isMade({ value }: Manifest): boolean {
  const metadata = isFields(value) ? value['metadata'] : undefined;
  const owners = isFields(metadata) ? metadata['ownerReferences'] : undefined;
  return Array.isArray(owners) && owners.some((owner) => isFields(owner) && isPodOwner(owner));
}

function isPodOwner({ controller, kind, apiVersion }: Readonly<Record<string, unknown>>): boolean {
  return controller === true && isPodKind(String(apiVersion).split('/')[0] ?? '', String(kind));
}

function readerOf(group: string, kind: string): Feature | undefined {
  return KINDS.find(([groups, kinds]) => groups.test(group) && kinds.test(kind))?.[2];
}

function fieldsOf(value: unknown, sort: Field['in'] | 'other'): Use[] {
  const known = FIELDS.filter((field) => field.in === sort);
  return [...walk(value, [])].flatMap(([path, name, found]) => {
    const annotated =
      path.at(-2) === 'annotations' ? ANNOTATIONS.find(([names]) => names.test(name)) : undefined;
    const features = [
      ...known.filter((field) => field.name === name && field.when(found)).map(({ feature }) => feature),
      ...(annotated === undefined ? [] : [annotated[1]]),
    ];
    return features.map((feature) => ({ feature, path: path.join('.') }));
  });
}

function nameOf(kind: string, metadata: unknown): string {
  const { name, namespace } = isFields(metadata) ? metadata : {};
  const place = typeof namespace === 'string' ? `${namespace}/` : '';
  return `${kind} ${place}${typeof name === 'string' ? name : '?'}`;
}

type Found = readonly [path: readonly string[], name: string, value: unknown];

/** No object that anybody reads is deeper. */
const MAX_DEPTH = 64;

/** Every field in it. */
function* walk(value: unknown, path: readonly string[]): Generator<Found> {
  if (typeof value !== 'object' || value === null || path.length > MAX_DEPTH) return;
  for (const [name, inner] of Object.entries(value)) {
    const at = [...path, name];
    if (!Array.isArray(value)) yield [at, name, inner];
    yield* walk(inner, at);
  }
}
