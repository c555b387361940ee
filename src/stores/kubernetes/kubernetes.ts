import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { type Clock, systemClock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';
import type { ApiServerSettings } from '#model/settings.ts';
import { createQueue } from '../event-queue.ts';
import { MAX_FILE_BYTES } from '../object-file.ts';
import type {
  PutOptions,
  StateKind,
  Store,
  Stored,
  StoreEvent,
  StoreKind,
  Version,
  WatchOptions,
} from '../store.ts';
import { expectVersion, refuseManifest } from '../version.ts';
import type { AccessReader } from './access.ts';
import { KubernetesClient } from './client.ts';
import { Identity } from './identity.ts';
import { getManifest, listManifests, watchManifests } from './manifests.ts';
import { Informer } from './informer.ts';
import { Merge } from './merge.ts';
import type { KubernetesObject } from './messages.ts';
import { isStatus } from './refusal.ts';
import {
  collectionPath,
  readState,
  selectorOf,
  stateObject,
  statePath,
  stateResource,
  writeOf,
} from './resource.ts';

/**
 * A store in the API server of Kubernetes (docs/decisions/0016-kubernetes-store.md): state as custom resources, operators'
 * objects where Kubernetes has them. Compare-and-swap is by resourceVersion. What expires carries its end, by the API
 * server's clock: nobody's own clock takes a neighbour's subnet or loses one.
 */
export type KubernetesStore = Store & {
  readonly client: KubernetesClient;
  close(): void;
};

export type KubernetesOptions = {
  readonly settings: ApiServerSettings;
  /** Of pods, those of this node are read; absent: all. */
  readonly node?: string | undefined;
  readonly clock?: Clock;
  readonly notice?: (text: string) => void;
  /** After data vanished all at once: for how long nothing new must have come until the rest is believed to be gone. */
  readonly holdMs?: number;
  readonly access?: AccessReader;
};

const HOLD_MS = 30_000;
/** Of a write that does not say what it replaces. */
const ATTEMPTS = 10;

export function openKubernetesStore(options: KubernetesOptions): KubernetesStore {
  const { settings, clock = systemClock, notice = () => undefined, access } = options;
  const client = new KubernetesClient({
    settings,
    clock,
    notice,
    ...(access === undefined ? {} : { access }),
  });
  return new Kubernetes({ ...options, clock, notice, holdMs: options.holdMs ?? HOLD_MS }, client);
}

type Options = KubernetesOptions & Required<Pick<KubernetesOptions, 'clock' | 'notice' | 'holdMs'>>;
type Put = {
  readonly kind: StateKind;
  readonly name: string;
  readonly value: unknown;
  readonly ttlSeconds: number | undefined;
};

class Kubernetes implements KubernetesStore {
  readonly client: KubernetesClient;
  readonly #options: Options;
  readonly #identity: Identity;
  readonly #closed = new AbortController();

  constructor(options: Options, client: KubernetesClient) {
    this.#options = options;
    this.client = client;
    this.#identity = new Identity(client);
  }
  close(): void {
    this.#closed.abort();
    this.client.close();
  }

  watch(kind: StoreKind, signal: AbortSignal, options: WatchOptions = {}): AsyncIterable<StoreEvent> {
    const left = new AbortController();
    const queue = createQueue<StoreEvent>(signal, () => left.abort());
    const merge = new Merge(
      (event) => queue.push(event),
      (object) => this.#byOwnClock(object),
    );
    const { clock, holdMs, node } = this.#options;
    const whole = AbortSignal.any([signal, left.signal, this.#closed.signal]);
    const common = { client: this.client, clock, holdMs, identity: this.#identity, signal: whole };
    if (kind === 'Manifest') void watchManifests(common, merge, { node, ...options });
    else this.#watchState(kind, common, merge);
    return queue;
  }
  #watchState(kind: StateKind, common: Common, merge: Merge): void {
    const resource = stateResource(kind);
    const missing = (): void =>
      this.#options.notice(
        `the API server has no ${resource.plural}.${resource.group}: its CustomResourceDefinitions are not installed`,
      );
    const informer = new Informer({
      ...common,
      path: collectionPath(resource),
      query: selectorOf(resource),
      read: (object) => readState(kind, object),
      isOperators: kind === 'Pool',
      listener: merge.listener(kind, missing),
    });
    merge.add(kind, informer);
    merge.complete();
    void informer.run();
  }

  async get(kind: StoreKind, name: string): Promise<Stored | undefined> {
    if (kind === 'Manifest') return getManifest(this.client, name);
    const present = await this.#present(kind, name);
    return present && this.#byOwnClock(present.stored);
  }
  async list(kind: StoreKind): Promise<Stored[]> {
    if (kind === 'Manifest') return listManifests(this.client, this.#options.node);
    const resource = stateResource(kind);
    const { items } = await this.client.list(collectionPath(resource), selectorOf(resource));
    const { lowMs } = await this.client.serverTime();
    return items
      .map((item) => readState(kind, item))
      .filter((read) => 'version' in read)
      .filter(({ expiresAtMs = Infinity }) => expiresAtMs > lowMs)
      .map((stored) => this.#byOwnClock(stored));
  }

  async put(kind: StoreKind, name: string, value: unknown, options: PutOptions = {}): Promise<Stored> {
    refuseManifest(kind, name);
    checkValue(kind, name, value);
    const { expect, ttlSeconds } = options;
    const put = { kind, name, value, ttlSeconds };
    if (expect === 'absent') return this.#create(put);
    if (expect !== undefined) return this.#replace(put, expect);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#putOver(put);
      } catch (error) {
        const isRace = error instanceof Fault && error.code === 'store-conflict';
        if (!isRace || attempt === ATTEMPTS) throw error;
      }
    }
  }
  async remove(kind: StoreKind, name: string, { expect }: Pick<PutOptions, 'expect'> = {}): Promise<void> {
    refuseManifest(kind, name);
    const body = { kind: 'DeleteOptions', apiVersion: 'v1', preconditions: { resourceVersion: expect } };
    try {
      const call = { method: 'DELETE', path: statePath(kind, name) } as const;
      await this.client.call(expect === undefined ? call : { ...call, body });
    } catch (error) {
      if (!isStatus(error, 404, 409)) throw error;
      // Gone by this very call, perhaps, when the answer to it was lost.
      if (error.status === 404 && (expect === undefined || error.attempts > 1)) return;
      expectVersion(name, (await this.#present(kind, name))?.stored, expect);
      throw conflict(name);
    }
  }

  async #create(put: Put): Promise<Stored> {
    try {
      return await this.#write('POST', put);
    } catch (error) {
      if (!isStatus(error, 409)) throw error;
    }
    const { stored, isExpired } = (await this.#found(put.kind, put.name)) ?? {};
    if (stored === undefined) throw conflict(put.name);
    if (isExpired === true) return this.#replace(put, stored.version);
    expectVersion(put.name, stored, 'absent');
    return stored;
  }
  async #replace(put: Put, version: Version): Promise<Stored> {
    try {
      return await this.#write('PUT', put, version);
    } catch (error) {
      if (!isStatus(error, 404, 409)) throw error;
      expectVersion(put.name, (await this.#present(put.kind, put.name))?.stored, version);
      throw conflict(put.name);
    }
  }
  /** Whatever is there; what is there already is not written. */
  async #putOver(put: Put): Promise<Stored> {
    const found = await this.#found(put.kind, put.name);
    if (found === undefined)
      return this.#write('POST', put).catch((error: unknown) => raced(put.name, error));
    const { stored, isExpired } = found;
    if (stored !== undefined && !isExpired && isSame(stored, put)) return stored;
    return this.#write('PUT', put, stored?.version ?? found.version).catch((error: unknown) =>
      raced(put.name, error),
    );
  }

  /** Throws KubernetesError 409, unless what is there is from this write. */
  async #write(method: 'POST' | 'PUT', put: Put, version?: Version): Promise<Stored> {
    const { kind, name, value, ttlSeconds } = put;
    const write = randomBytes(8).toString('hex');
    const expiresAtMs =
      ttlSeconds === undefined ? undefined : (await this.client.serverTime()).highMs + ttlSeconds * 1000;
    const body = stateObject({ kind, name, value, expiresAtMs, write, version });
    const path = method === 'POST' ? collectionPath(stateResource(kind)) : statePath(kind, name);
    let written: KubernetesObject;
    try {
      written = await this.client.call({ method, path, body });
    } catch (error) {
      const there =
        isStatus(error, 409) && error.attempts > 1 ? await this.#getObject(kind, name) : undefined;
      if (there === undefined || writeOf(there) !== write) throw error;
      written = there;
    }
    const read = readState(kind, written);
    if (!('version' in read)) throw malformed(kind, read);
    return this.#byOwnClock({ ...read, value: structuredClone(value) });
  }

  async #getObject(kind: StateKind, name: string): Promise<KubernetesObject | undefined> {
    try {
      return await this.client.call({ method: 'GET', path: statePath(kind, name) });
    } catch (error) {
      if (isStatus(error, 404)) return undefined;
      throw error;
    }
  }
  /** An object that cannot be read has its version all the same. */
  async #found(kind: StateKind, name: string): Promise<Found | undefined> {
    const object = await this.#getObject(kind, name);
    if (object === undefined) return undefined;
    const version = (object.metadata.resourceVersion ?? '') as Version;
    const read = readState(kind, object);
    if (!('version' in read)) return { version, stored: undefined, isExpired: false };
    const { lowMs } = await this.client.serverTime();
    return { version, stored: read, isExpired: (read.expiresAtMs ?? Infinity) <= lowMs };
  }
  async #present(kind: StateKind, name: string): Promise<{ readonly stored: Stored } | undefined> {
    const object = await this.#getObject(kind, name);
    if (object === undefined) return undefined;
    const stored = readState(kind, object);
    if (!('version' in stored)) throw malformed(kind, stored);
    const { lowMs } = await this.client.serverTime();
    return (stored.expiresAtMs ?? Infinity) <= lowMs ? undefined : { stored };
  }

  /** Readers compare with this host's clock. */
  #byOwnClock(stored: Stored): Stored {
    const { expiresAtMs } = stored;
    const server = this.client.knownServerTime();
    if (expiresAtMs === undefined || server === undefined) return stored;
    const leftMs = expiresAtMs - server.lowMs;
    return { ...stored, expiresAtMs: Math.round(this.#options.clock.nowMs() + leftMs) };
  }
}

export type Common = Pick<
  ConstructorParameters<typeof Informer>[0],
  'client' | 'clock' | 'holdMs' | 'identity' | 'signal'
>;

type Found = {
  readonly version: Version;
  readonly stored: Stored | undefined;
  readonly isExpired: boolean;
};

/** What is to last, and lasts as it is. */
function isSame(stored: Stored, { value, ttlSeconds }: Put): boolean {
  const lasts = ttlSeconds === undefined && stored.expiresAtMs === undefined;
  return lasts && isDeepStrictEqual(stored.value, value);
}

function conflict(name: string): Fault {
  return new Fault('store-conflict', `${name} was written by somebody else`);
}

function raced(name: string, error: unknown): never {
  throw isStatus(error, 404, 409) ? conflict(name) : error;
}

function malformed(
  kind: StateKind,
  { origin, message, name }: { origin: string; message: string; name: string },
): Fault {
  const problems = [{ path: origin, message }];
  return new Fault('store-malformed', `${kind} ${name} cannot be read`, { problems });
}

function checkValue(kind: StateKind, name: string, value: unknown): void {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (isObject && JSON.stringify(value).length <= MAX_FILE_BYTES - 1000) return;
  throw new Fault('store-malformed', `${kind} ${name}: the value is not an object of at most 1 MiB`);
}
