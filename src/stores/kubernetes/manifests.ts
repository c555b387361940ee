import { backoffMs } from '#lib/backoff.ts';
import { MANIFEST_RESOURCES } from '#model/kubernetes-kinds.ts';
import { resourcePath } from '#model/kubernetes-kinds.ts';
import type { Stored, WatchOptions } from '../store.ts';
import type { KubernetesClient, Query } from './client.ts';
import { Informer, type InformerOptions } from './informer.ts';
import { keyOf, readServedKinds, type ServedKind } from './kinds-served.ts';
import { readManifest } from './manifest-object.ts';
import type { Merge } from './merge.ts';
import { isStatus } from './refusal.ts';
import { apiVersionOf, collectionPath } from './resource.ts';

/**
 * Operators' objects: one informer for each kind that is read and that the API server has. Kinds that come later are found, as
 * definitions are watched; those of other API servers behind this one by asking now and then.
 */
type Common = Pick<InformerOptions, 'client' | 'clock' | 'holdMs' | 'identity' | 'signal'>;

const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const RETRY = { firstMs: 200, maxMs: 30_000 } as const;
/** A new definition is served a moment after it is there. */
const SETTLE_MS = 1000;
const ASK_AGAIN_MS = 10 * 60_000;

type Wanted = WatchOptions & { readonly node: string | undefined };

export async function watchManifests(
  common: Common,
  merge: Merge,
  { node, ...which }: Wanted,
): Promise<void> {
  const { clock, signal, client } = common;
  const running = new Map<string, Running>();
  const wake = new Wake();
  let isFollowing = false;
  for (let failures = 0; !signal.aborted;) {
    const asked = wake.next();
    try {
      const served = choose(await readServedKinds(client), which);
      failures = 0;
      follow(common, { merge, node, running, onVanished: () => wake.up() }, served);
      merge.complete();
      if (!isFollowing && which.only === undefined) void followDefinitions(common, () => wake.up());
      isFollowing = true;
      await clock.sleep(ASK_AGAIN_MS * (1 + Math.random()), AbortSignal.any([asked, signal]));
      if (asked.aborted) await clock.sleep(SETTLE_MS * (1 + Math.random()), signal);
    } catch (error) {
      if (failures > 0) merge.gap(error instanceof Error ? error.message : String(error), false);
      await clock.sleep(backoffMs(RETRY, failures, Math.random()), signal);
      failures += 1;
    }
  }
}

function choose(
  served: ReadonlyMap<string, ServedKind>,
  { only, except }: WatchOptions,
): ReadonlyMap<string, ServedKind> {
  const isWanted = ({ resource }: ServedKind): boolean => {
    const kind = `${apiVersionOf(resource)}/${resource.kind}`;
    return (only === undefined || kind === only) && kind !== except;
  };
  return new Map([...served].filter(([, kind]) => isWanted(kind)));
}

type Running = { readonly served: ServedKind; readonly stop: AbortController };
type Following = {
  readonly merge: Merge;
  readonly node: string | undefined;
  readonly running: Map<string, Running>;
  readonly onVanished: () => void;
};

function follow(common: Common, following: Following, served: ReadonlyMap<string, ServedKind>): void {
  const { merge, node, running, onVanished } = following;
  const isSame = (key: string): boolean =>
    served.get(key)?.resource.version === running.get(key)?.served.resource.version;
  for (const [key, { stop }] of running) {
    if (isSame(key)) continue;
    stop.abort();
    running.delete(key);
    merge.drop(key);
  }
  for (const [key, kind] of served) {
    if (running.has(key)) continue;
    const stop = new AbortController();
    running.set(key, { served: kind, stop });
    const informer = new Informer({
      ...common,
      signal: AbortSignal.any([common.signal, stop.signal]),
      path: collectionPath(kind.resource),
      query: queryOf(kind, node),
      isBare: kind.view === 'metadata',
      read: (object) => readManifest(kind.resource, kind.view, object),
      isOperators: true,
      listener: merge.listener(key, onVanished),
    });
    merge.add(key, informer);
    void informer.run();
  }
}

function queryOf({ view }: ServedKind, node: string | undefined): Query {
  return view === 'own' && node !== undefined ? { fieldSelector: `spec.nodeName=${node}` } : {};
}

/** Says when one of the kinds that are read comes or goes. */
async function followDefinitions(common: Common, onChange: () => void): Promise<void> {
  const names = new Set(MANIFEST_RESOURCES.map(keyOf));
  let isBegun = false;
  const onNews = (name: string): void => {
    if (isBegun && names.has(name)) onChange();
  };
  const informer = new Informer({
    ...common,
    path: DEFINITIONS,
    isBare: true,
    isOperators: true,
    read: ({ metadata: { name, resourceVersion = '' } }) => ({
      kind: 'Manifest',
      name,
      value: undefined,
      version: resourceVersion as Stored['version'],
      origin: name,
    }),
    listener: {
      put: ({ name }) => onNews(name),
      removed: onNews,
      malformed: () => undefined,
      lost: () => undefined,
      synced: () => {
        if (isBegun) onChange();
        isBegun = true;
      },
      vanished: () => undefined,
    },
  });
  await informer.run();
}

/** Aborts the signal that was handed out last. */
class Wake {
  #current = new AbortController();
  next(): AbortSignal {
    this.#current = new AbortController();
    return this.#current.signal;
  }
  up(): void {
    this.#current.abort();
  }
}

/** `apiVersion/kind/[namespace/]name`. Throws as the client's `call`. */
export async function getManifest(
  client: Pick<KubernetesClient, 'call'>,
  name: string,
): Promise<Stored | undefined> {
  const parsed = parseName(name);
  if (parsed === undefined) return undefined;
  const { group, kind, place } = parsed;
  const table = MANIFEST_RESOURCES.find((each) => each.group === group && each.kind === kind);
  if (table === undefined) return undefined;
  for (const version of table.versions) {
    try {
      const object = await client.call({ method: 'GET', path: resourcePath(table, version, place) });
      const read = readManifest({ ...table, version }, table.view, object);
      return 'version' in read ? read : undefined;
    } catch (error) {
      if (!isStatus(error, 404)) throw error;
    }
  }
  return undefined;
}

type Parsed = {
  readonly group: string;
  readonly kind: string;
  readonly place: { readonly namespace?: string; readonly name: string };
};

function parseName(name: string): Parsed | undefined {
  const match = /^(?:([a-z0-9.-]+)\/)?[a-z0-9]+\/([A-Z][A-Za-z0-9]*)\/(?:([^/]+)\/)?([^/]+)$/.exec(name);
  if (match === null) return undefined;
  const [, group = '', kind = '', namespace, last = ''] = match;
  return { group, kind, place: { name: last, ...(namespace === undefined ? {} : { namespace }) } };
}

/** Throws as the client's `call`. */
export async function listManifests(client: KubernetesClient, node: string | undefined): Promise<Stored[]> {
  const served = [...(await readServedKinds(client)).values()];
  const lists = await Promise.all(
    served.map(async (kind) => {
      const { items } = await client.list(collectionPath(kind.resource), queryOf(kind, node));
      return items.map((item) => readManifest(kind.resource, kind.view, item));
    }),
  );
  return lists.flat().filter((read) => 'version' in read);
}
