/** Where the store's kinds stand in the API, and how their objects are written there and read. */
import { given } from '#lib/given.ts';
import { Fault } from '#model/fault.ts';
import {
  decodeName,
  encodeName,
  EXPIRES_AT,
  LEASE_RESOURCE,
  resourcePath,
  STATE_RESOURCES,
  TARTAN_GROUP,
  TARTAN_VERSION,
  WRITE_ID,
} from '#model/kubernetes-kinds.ts';
import { isObjectName } from '../object-file.ts';
import type { StateKind, Stored, Version } from '../store.ts';
import type { Query } from './client.ts';
import type { KubernetesObject } from './messages.ts';

export type Resource = {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  /** All objects are in this one; absent: in none, or in any. */
  readonly namespace?: string;
  /** Ours have these; absent: all are ours. */
  readonly labels?: Readonly<Record<string, string>>;
};

export function stateResource(kind: StateKind): Resource {
  if (kind === 'Lease') return LEASE_RESOURCE;
  const { plural, kind: name } = STATE_RESOURCES[kind];
  return { group: TARTAN_GROUP, version: TARTAN_VERSION, plural, kind: name };
}

export function collectionPath(resource: Resource): string {
  return resourcePath(resource, resource.version, { namespace: resource.namespace });
}

export function selectorOf({ labels }: Pick<Resource, 'labels'>): Query {
  if (labels === undefined) return {};
  return {
    labelSelector: Object.entries(labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(','),
  };
}

export function apiVersionOf({ group, version }: Pick<Resource, 'group' | 'version'>): string {
  return group === '' ? version : `${group}/${version}`;
}

/** Throws Fault `store-malformed`. */
export function statePath(kind: StateKind, name: string): string {
  return `${collectionPath(stateResource(kind))}/${encodeURIComponent(apiNameOf(name))}`;
}

function apiNameOf(name: string): string {
  const encoded = isObjectName(name) ? encodeName(name) : undefined;
  if (encoded !== undefined) return encoded;
  throw new Fault('store-malformed', `${JSON.stringify(name)} is not an object name`);
}

export type Written = {
  readonly kind: StateKind;
  readonly name: string;
  readonly value: unknown;
  /** By the server's clock. */
  readonly expiresAtMs?: number | undefined;
  /** Of one write. */
  readonly write: string;
  /** That is to be replaced. */
  readonly version?: Version | undefined;
};

export function stateObject({ kind, name, value, expiresAtMs, write, version }: Written): object {
  const resource = stateResource(kind);
  const expiry = expiresAtMs === undefined ? {} : { [EXPIRES_AT]: new Date(expiresAtMs).toISOString() };
  return {
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    metadata: {
      name: apiNameOf(name),
      ...given('namespace', resource.namespace),
      ...given('labels', resource.labels),
      annotations: { [WRITE_ID]: write, ...expiry },
      ...given('resourceVersion', version),
      // Who owns which field is nobody's question here; it would double what is stored and watched.
      managedFields: [{}],
    },
    spec: value,
  };
}

export function writeOf({ metadata }: KubernetesObject): string | undefined {
  return metadata.annotations?.[WRITE_ID];
}

export type Unreadable = { readonly name: string; readonly origin: string; readonly message: string };

/** `expiresAtMs` by the server's clock. */
export function readState(kind: StateKind, object: KubernetesObject): Stored | Unreadable {
  const { metadata, spec } = object;
  const origin = `${stateResource(kind).plural}/${metadata.name}`;
  const name = decodeName(metadata.name) ?? '';
  const expiry = metadata.annotations?.[EXPIRES_AT];
  const expiresAtMs = expiry === undefined ? undefined : Date.parse(expiry);
  const refuse = (message: string): Unreadable => ({ name: name || metadata.name, origin, message });
  if (!isObjectName(name)) return refuse('the name is none that an agent gives');
  if (typeof spec !== 'object' || spec === null || Array.isArray(spec))
    return refuse('spec is not an object');
  if (Number.isNaN(expiresAtMs)) return refuse(`${EXPIRES_AT} is not a time: ${JSON.stringify(expiry)}`);
  const version = (metadata.resourceVersion ?? '') as Version;
  return { kind, name, value: spec, version, origin, ...given('expiresAtMs', expiresAtMs) };
}
