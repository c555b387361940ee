/** Objects of the operator's and of Kubernetes' own, less what nobody reads: agents keep thousands of them. */
import type { View } from '#model/kubernetes-kinds.ts';
import { manifestOf } from '#model/manifest.ts';
import { manifestName } from '../object-file.ts';
import type { Stored, Version } from '../store.ts';
import type { KubernetesObject, Metadata } from './messages.ts';
import { apiVersionOf, type Resource, type Unreadable } from './resource.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Longer ones are other programs' memory. */
const MAX_ANNOTATION = 8 << 10;
const UNREAD_ANNOTATIONS: ReadonlySet<string> = new Set(['kubectl.kubernetes.io/last-applied-configuration']);

export function readManifest(resource: Resource, view: View, object: KubernetesObject): Stored | Unreadable {
  const { kind, plural, group } = resource;
  const { namespace, name } = object.metadata;
  const place = namespace === undefined ? name : `${namespace}/${name}`;
  const origin = `${plural}${group === '' ? '' : `.${group}`}/${place}`;
  const isOldSlice = kind === 'EndpointSlice' && resource.version === 'v1beta1';
  const apiVersion = apiVersionOf(isOldSlice ? { group, version: 'v1' } : resource);
  const fields = view === 'metadata' ? {} : fieldsOf(kind, object);
  const value = {
    apiVersion,
    kind,
    metadata: metadataOf(kind, object.metadata),
    ...(isOldSlice ? modernSlice(fields) : fields),
  };
  const full = manifestName(value);
  if (full === undefined) return { name: place, origin, message: 'has no name that can be told' };
  const version = (object.metadata.resourceVersion ?? '') as Version;
  return { kind: 'Manifest', name: full, value: manifestOf(origin, value), version, origin };
}

function metadataOf(kind: string, metadata: Metadata): object {
  const { name, namespace, uid, labels, annotations, deletionTimestamp } = metadata;
  const kept = Object.entries(annotations ?? {}).filter(
    ([key, text]) => !UNREAD_ANNOTATIONS.has(key) && text.length <= MAX_ANNOTATION,
  );
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    // Events about it name it so.
    ...(kind === 'Pod' || kind === 'Node' ? { uid } : {}),
    ...(labels === undefined ? {} : { labels }),
    ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
  };
}

function fieldsOf(kind: string, object: KubernetesObject): Fields {
  const { apiVersion: _, kind: __, metadata: ___, ...rest } = object;
  return TRIMMED[kind]?.(rest as Trimmable) ?? rest;
}

type Trimmable = { readonly spec?: Fields; readonly status?: Fields } & Fields;

/** Of kinds that say much besides. */
const TRIMMED: Readonly<Record<string, (object: Trimmable) => Fields>> = {
  Node: ({ spec = {}, status = {} }) => ({
    spec: pick(spec, ['podCIDR', 'podCIDRs', 'taints']),
    status: pick(status, ['addresses']),
  }),
  Pod: ({ spec = {}, status = {} }) => ({
    spec: {
      ...pick(spec, ['nodeName', 'hostNetwork', 'serviceAccountName']),
      containers: portsOf(spec['containers']),
      initContainers: portsOf(spec['initContainers']),
    },
    status: { ...pick(status, ['phase', 'podIP', 'podIPs', 'hostIP']), conditions: bareConditions(status) },
  }),
  Service: ({ spec, status = {} }) => ({ spec, status: pick(status, ['loadBalancer']) }),
};

function pick(fields: Fields, names: readonly string[]): Fields {
  return Object.fromEntries(names.flatMap((name) => (name in fields ? [[name, fields[name]]] : [])));
}

function portsOf(containers: unknown): unknown {
  return Array.isArray(containers)
    ? containers.map((each: Fields) => pick(each, ['name', 'ports', 'restartPolicy']))
    : undefined;
}

function bareConditions({ conditions }: Fields): unknown {
  return Array.isArray(conditions)
    ? conditions.map((each: Fields) => pick(each, ['type', 'status']))
    : undefined;
}

/** v1beta1 has an endpoint's node among its topology. */
function modernSlice({ endpoints, ...rest }: Fields): Fields {
  if (!Array.isArray(endpoints)) return rest;
  const modern = endpoints.map(({ topology, ...endpoint }: Fields) => ({
    nodeName: (topology as Fields | undefined)?.['kubernetes.io/hostname'],
    ...endpoint,
  }));
  return { ...rest, endpoints: modern };
}
