/**
 * How the store's kinds stand in Kubernetes, and which of its kinds agents read: one table for who reads and writes them, who
 * makes the CustomResourceDefinitions and who grants the rights.
 *
 * State kinds are cluster-scoped custom resources: the value in `spec`, the version is the resourceVersion. The kind of
 * the API is the store's but for `Node`, so that `kubectl get nodes` means what it always did.
 */
export const TARTAN_GROUP = 'tartan.dev';
export const TARTAN_VERSION = 'v1';

/** Who writes our objects, as server-side apply and managedFields have it. */
export const FIELD_MANAGER = 'tartan';

/** RFC 3339, by the API server's clock: the object counts as removed from then on. */
export const EXPIRES_AT = 'tartan.dev/expires-at';
/** Of one write: says whether what is there is from it. */
export const WRITE_ID = 'tartan.dev/write';

export type StateResource = {
  /** The `kind` of the API. */
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
};

/** By the store's kind. */
export const STATE_RESOURCES = {
  Node: { kind: 'NodeAdvert', plural: 'nodeadverts', singular: 'nodeadvert', shortNames: ['tna'] },
  SubnetClaim: { kind: 'SubnetClaim', plural: 'subnetclaims', singular: 'subnetclaim', shortNames: ['tsc'] },
  Workloads: { kind: 'Workloads', plural: 'workloads', singular: 'workloads', shortNames: ['twl'] },
  Switch: { kind: 'Switch', plural: 'switches', singular: 'switch', shortNames: ['tsw'] },
  Block: { kind: 'Block', plural: 'blocks', singular: 'block', shortNames: ['tbl'] },
  BlockLengths: {
    kind: 'BlockLengths',
    plural: 'blocklengths',
    singular: 'blocklengths',
    shortNames: ['tbln'],
  },
  Pool: { kind: 'Pool', plural: 'pools', singular: 'pool', shortNames: ['tpo'] },
  ClusterStatus: {
    kind: 'ClusterStatus',
    plural: 'clusterstatuses',
    singular: 'clusterstatus',
    shortNames: ['tcs'],
  },
  Relay: { kind: 'Relay', plural: 'relays', singular: 'relay', shortNames: ['trl'] },
} as const satisfies Readonly<Record<string, StateResource>>;

/** Kubernetes' own kind, there since every cluster has the namespace. */
export const LEASE_RESOURCE = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
  namespace: 'kube-system',
  /** Others have theirs there too. */
  labels: { 'app.kubernetes.io/managed-by': 'tartan' },
} as const;

/**
 * What is read of an object: `metadata` is asked for without the rest, `own` only where it is of this node, `whole` less
 * what nobody reads.
 */
export type View = 'whole' | 'metadata' | 'own';

export type ManifestResource = {
  /** '' of the core. */
  readonly group: string;
  /** The first that is served is read. */
  readonly versions: readonly string[];
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly view: View;
  /** Not read where this one is served, which says the same. */
  readonly unless?: { readonly group: string; readonly plural: string };
};

const resource = (
  [group, version, plural, kind]: readonly [string, string, string, string],
  more: Partial<ManifestResource> = {},
): ManifestResource => ({
  group,
  versions: version.split(','),
  plural,
  kind,
  namespaced: true,
  view: 'whole',
  ...more,
});

const CLUSTER = { namespaced: false } as const;

/** Calico's kinds as its own API server has them, else as the objects that it keeps in definitions of its own. */
const calico = (plural: string, kind: string, more: Partial<ManifestResource> = {}): ManifestResource[] => [
  resource(['projectcalico.org', 'v3', plural, kind], more),
  resource(['crd.projectcalico.org', 'v1', plural, kind], {
    ...more,
    unless: { group: 'projectcalico.org', plural },
  }),
];

/** What policy, routing and blocks read; those that an API server does not have are passed over. */
export const MANIFEST_RESOURCES: readonly ManifestResource[] = [
  resource(['', 'v1', 'namespaces', 'Namespace'], { ...CLUSTER, view: 'metadata' }),
  resource(['', 'v1', 'serviceaccounts', 'ServiceAccount'], { view: 'metadata' }),
  resource(['', 'v1', 'nodes', 'Node'], CLUSTER),
  resource(['', 'v1', 'pods', 'Pod'], { view: 'own' }),
  resource(['', 'v1', 'services', 'Service']),
  resource(['discovery.k8s.io', 'v1,v1beta1', 'endpointslices', 'EndpointSlice']),
  resource(['', 'v1', 'endpoints', 'Endpoints'], {
    unless: { group: 'discovery.k8s.io', plural: 'endpointslices' },
  }),
  resource(['networking.k8s.io', 'v1', 'networkpolicies', 'NetworkPolicy']),
  resource(
    ['policy.networking.k8s.io', 'v1alpha2', 'clusternetworkpolicies', 'ClusterNetworkPolicy'],
    CLUSTER,
  ),
  resource(['policy.networking.k8s.io', 'v1alpha1', 'adminnetworkpolicies', 'AdminNetworkPolicy'], CLUSTER),
  resource(
    ['policy.networking.k8s.io', 'v1alpha1', 'baselineadminnetworkpolicies', 'BaselineAdminNetworkPolicy'],
    CLUSTER,
  ),
  ...calico('networkpolicies', 'NetworkPolicy'),
  ...calico('globalnetworkpolicies', 'GlobalNetworkPolicy', CLUSTER),
  ...calico('stagednetworkpolicies', 'StagedNetworkPolicy'),
  ...calico('stagedglobalnetworkpolicies', 'StagedGlobalNetworkPolicy', CLUSTER),
  ...calico('stagedkubernetesnetworkpolicies', 'StagedKubernetesNetworkPolicy'),
  ...calico('tiers', 'Tier', CLUSTER),
  ...calico('profiles', 'Profile', CLUSTER),
  ...calico('networksets', 'NetworkSet'),
  ...calico('globalnetworksets', 'GlobalNetworkSet', CLUSTER),
  ...calico('hostendpoints', 'HostEndpoint', CLUSTER),
  ...calico('bgpconfigurations', 'BGPConfiguration', CLUSTER),
  ...calico('bgppeers', 'BGPPeer', CLUSTER),
  ...calico('bgpfilters', 'BGPFilter', CLUSTER),
  ...calico('ippools', 'IPPool', CLUSTER),
  ...calico('ipreservations', 'IPReservation', CLUSTER),
  ...calico('ipamconfigurations', 'IPAMConfiguration', CLUSTER),
];

/** RFC 1123, as the API has names. */
const DNS_NAME = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const ENCODED = 'x--';
const MAX_NAME = 253;

/**
 * The name of a state object in the API: itself, or where that is no DNS name `x--` and each byte that is not a small letter or
 * digit as `-hh`. Undefined: there is none, or it would be too long.
 */
export function encodeName(name: string): string | undefined {
  if (name === '') return undefined;
  if (DNS_NAME.test(name) && !name.startsWith(ENCODED)) return name.length > MAX_NAME ? undefined : name;
  const bytes = [...new TextEncoder().encode(name)];
  const text = bytes.map((byte) => {
    const character = String.fromCharCode(byte);
    return /[a-z0-9]/.test(character) ? character : `-${byte.toString(16).padStart(2, '0')}`;
  });
  const encoded = ENCODED + text.join('');
  return encoded.length > MAX_NAME ? undefined : encoded;
}

/** Undefined: no name that `encodeName` gives. */
export function decodeName(encoded: string): string | undefined {
  if (!encoded.startsWith(ENCODED)) return encoded;
  const parts = encoded.slice(ENCODED.length).match(/-[0-9a-f]{2}|[a-z0-9]/g) ?? [];
  const bytes = parts.map((part) =>
    part.length === 1 ? part.charCodeAt(0) : Number.parseInt(part.slice(1), 16),
  );
  const name = new TextDecoder().decode(Uint8Array.from(bytes));
  return encodeName(name) === encoded ? name : undefined;
}

/** The path of a resource's objects, or of one of them. */
export function resourcePath(
  { group, plural }: { readonly group: string; readonly plural: string },
  version: string,
  place: { readonly namespace?: string | undefined; readonly name?: string | undefined } = {},
): string {
  const within = place.namespace === undefined ? [] : ['namespaces', place.namespace];
  const root = group === '' ? ['api'] : ['apis', group];
  const parts = [...root, version, ...within, plural, ...(place.name === undefined ? [] : [place.name])];
  return `/${parts.map(encodeURIComponent).join('/')}`;
}
