import { TARTAN_GROUP } from '#model/kubernetes-kinds.ts';
import { FIELD_MANAGER, MANIFEST_RESOURCES, resourcePath } from '#model/kubernetes-kinds.ts';
import { Fault } from '#model/fault.ts';
import type { StoreObject } from '#model/store-object.ts';
import type { Shelf, Trial } from '../shelf.ts';
import { STATE_KINDS, type Stored, type StoreKind } from '../store.ts';
import { APPLY, type KubernetesClient } from './client.ts';
import type { KubernetesStore } from './kubernetes.ts';
import type { KubernetesObject } from './messages.ts';
import { isStatus, KubernetesError } from './refusal.ts';

/**
 * Operators' objects in Kubernetes, written by server-side apply: fields that others have set stay theirs, and what
 * would change nothing is not written. The API server looks at everything before anything is written.
 */
type Wanted = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string | null };
};

/** Who makes these is Kubernetes. */
const FOREIGN: ReadonlySet<string> = new Set(['Node', 'Pod', 'Endpoints', 'EndpointSlice', 'Lease']);

export function kubernetesShelf(store: Pick<KubernetesStore, 'client' | 'get'>): Shelf {
  const { client } = store;
  const paths = new Paths(client);
  return {
    keepsState: false,
    holds: (origin) => !STATE_ORIGIN.test(origin),
    refusal: () => undefined,
    isForeign: (name) => FOREIGN.has(name.split('/').at(name.startsWith('v1/') ? 1 : 2) ?? ''),
    find: async (names) => {
      const found = await Promise.all(names.map((name) => find(store, name)));
      return found.filter((stored) => stored !== undefined);
    },
    trial: (objects) => Promise.all(objects.map((object) => tryOne(client, paths, object, objects))),
    put: async (objects) => {
      // What stands in a namespace needs it.
      const isFirst = ({ value }: StoreObject): boolean => value['kind'] === 'Namespace';
      for (const object of [...objects.filter(isFirst), ...objects.filter((each) => !isFirst(each))])
        await applyOne(client, await paths.of(object), object);
    },
    remove: async (objects) => {
      for (const object of objects) await removeOne(client, await paths.of(object));
    },
  };
}

/** As readState and readManifest tell it: state has no dot before its slash. */
const STATE_ORIGIN =
  /^(?:nodeadverts|subnetclaims|workloads|switches|blocks|blocklengths|leases|clusterstatuses|relays)\//;

async function find(store: Pick<KubernetesStore, 'get'>, name: string): Promise<Stored | undefined> {
  const [group, , kind, own] = name.split('/');
  const isState = group === TARTAN_GROUP && STATE_KINDS.some((each) => each === kind);
  return isState ? store.get(kind as StoreKind, own ?? '') : store.get('Manifest', name);
}

async function applyOne(
  client: Pick<KubernetesClient, 'call'>,
  path: string,
  { value }: StoreObject,
  isTrial = false,
): Promise<KubernetesObject> {
  const query = { fieldManager: FIELD_MANAGER, force: 'true', ...(isTrial ? { dryRun: 'All' } : {}) };
  return client.call({ method: 'PATCH', path, query, body: value, contentType: APPLY });
}

async function removeOne(client: Pick<KubernetesClient, 'call'>, path: string): Promise<void> {
  try {
    await client.call({ method: 'DELETE', path });
  } catch (error) {
    if (!isStatus(error, 404)) throw error;
  }
}

async function tryOne(
  client: Pick<KubernetesClient, 'call'>,
  paths: Paths,
  object: StoreObject,
  all: readonly StoreObject[],
): Promise<Trial> {
  try {
    const path = await paths.of(object);
    const present = await presentOf(client, path);
    const wished = await applyOne(client, path, object, true);
    return { isDue: present === undefined || bare(present) !== bare(wished) };
  } catch (error) {
    if (isStatus(error, 404) && all.some((each) => isNamespaceOf(each, object))) return { isDue: true };
    const problem = problemOf(error);
    if (problem === undefined) throw error;
    return { problem };
  }
}

/** What the API server says of the object, and not of itself. */
function problemOf(error: unknown): string | undefined {
  if (error instanceof KubernetesError) return error.message;
  if (!(error instanceof Fault)) return undefined;
  if (error.code === 'request-invalid') return error.message;
  // What has another shape than its kind is told by servers until 1.20 as a failure of their own.
  const { cause } = error;
  return isStatus(cause, 500) && /typed patch/.test(cause.message) ? cause.message : undefined;
}

function isNamespaceOf({ value }: StoreObject, object: StoreObject): boolean {
  const { metadata } = object.value as Wanted;
  return value['kind'] === 'Namespace' && (value as Wanted).metadata.name === metadata.namespace;
}

async function presentOf(
  client: Pick<KubernetesClient, 'call'>,
  path: string,
): Promise<KubernetesObject | undefined> {
  try {
    return await client.call({ method: 'GET', path });
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    throw error;
  }
}

/** A trial has times and owners of its own. */
function bare(object: KubernetesObject): string {
  const {
    managedFields: _,
    resourceVersion: __,
    generation: ___,
    ...metadata
  } = object.metadata as Readonly<Record<string, unknown>>;
  return JSON.stringify({ ...object, metadata });
}

/** Where an object of any kind that is served stands: its kind's plural is the server's to tell. */
class Paths {
  readonly #client: Pick<KubernetesClient, 'call'>;
  readonly #lists = new Map<string, Promise<readonly Served[]>>();

  constructor(client: Pick<KubernetesClient, 'call'>) {
    this.#client = client;
  }
  /** Throws Fault `request-invalid` for a kind that is not served. */
  async of({ value }: StoreObject): Promise<string> {
    const { apiVersion, kind, metadata } = value as Wanted;
    const [version = '', group = ''] = apiVersion.split('/').toReversed();
    const served = (await this.#servedBy(apiVersion)).find((each) => each.kind === kind);
    if (served === undefined)
      throw new Fault('request-invalid', `the API server has no ${kind} of ${apiVersion}${hintOf(group)}`);
    const namespace = served.namespaced ? (metadata.namespace ?? 'default') : undefined;
    return resourcePath({ group, plural: served.name }, version, { namespace, name: metadata.name });
  }
  #servedBy(apiVersion: string): Promise<readonly Served[]> {
    const path = `${apiVersion.includes('/') ? '/apis' : '/api'}/${apiVersion}`;
    const list = this.#lists.get(path) ?? this.#read(path);
    this.#lists.set(path, list);
    return list;
  }
  async #read(path: string): Promise<readonly Served[]> {
    try {
      const { resources = [] } = await this.#client.call<{ resources?: readonly Served[] }>({
        method: 'GET',
        path,
      });
      return resources.filter(({ name }) => !name.includes('/'));
    } catch (error) {
      if (isStatus(error, 404)) return [];
      throw error;
    }
  }
}

type Served = { readonly name: string; readonly kind: string; readonly namespaced: boolean };

function hintOf(group: string): string {
  const isKnown = MANIFEST_RESOURCES.some((each) => each.group === group);
  return isKnown ? ': its CustomResourceDefinition is not installed' : '';
}
