import { backoffMs } from '#lib/backoff.ts';
import type { Clock } from '#lib/clock.ts';
import { share } from '#lib/share.ts';
import { Doubt } from '../doubt.ts';
import type { Stored } from '../store.ts';
import type { KubernetesClient, Listing, Query } from './client.ts';
import { Expiry } from './expiry.ts';
import type { Identity } from './identity.ts';
import { isEarlier, type KubernetesObject, type WatchLine } from './messages.ts';
import { isAhead, isExpired, isStatus } from './refusal.ts';
import type { Unreadable } from './resource.ts';

/**
 * The objects of one kind, as they are: listed once, then followed over whatever happens to the connection. Every change is
 * told once and none is missed. What was listed again is told as the changes that it makes.
 *
 * Data that vanish all at once are doubted: another cluster, an earlier state, all of a kind of agents gone. They stay;
 * who wrote them writes them again, and what has not come back when nothing new has come for `holdMs` goes then.
 */
export type InformerListener = {
  put(object: Stored): void;
  removed(name: string): void;
  malformed(unreadable: Unreadable): void;
  /** What was told may no longer be so, until `synced`. `isLoss`: who wrote it writes it again. */
  lost(reason: string, isLoss: boolean): void;
  /** All is known: what is not among the objects now is gone, told or not. */
  synced(): void;
  /** The API has no such kind any more. */
  vanished(): void;
};

export type InformerOptions = {
  readonly client: KubernetesClient;
  readonly clock: Clock;
  readonly identity: Identity;
  readonly signal: AbortSignal;
  readonly holdMs: number;
  readonly path: string;
  readonly query?: Query;
  /** For lists and watches of metadata alone. */
  readonly isBare?: boolean;
  readonly read: (object: KubernetesObject) => Stored | Unreadable;
  /** An operator may remove all of them at once. */
  readonly isOperators: boolean;
  readonly listener: InformerListener;
};

const RETRY = { firstMs: 100, maxMs: 10_000 } as const;
/** Watches end then, by themselves, so that they come to be spread over the servers that there are. */
const WATCH_SECONDS = { least: 300, more: 300 } as const;
const BARE = 'g=meta.k8s.io;v=v1,application/json';
/** A watch that has lasted so long was a good one. */
const STEADY_MS = 5000;
/** A kind that is not found so often, in a row, is gone. */
const VANISHED = 4;

export class Informer {
  readonly #options: InformerOptions;
  readonly #objects = new Map<string, Stored>();
  readonly #expiry: Expiry;
  /** Everything up to here is known; undefined: to be listed. */
  #version: string | undefined;
  /** As #version, also while all is listed again. */
  #lastVersion: string | undefined;
  #identity: string | undefined;
  #isSynced = false;
  #isConnected = false;
  /** Another cluster may answer now. */
  #isStrange = true;
  #notFound = 0;
  readonly #doubted: Doubt;

  constructor(options: InformerOptions) {
    this.#options = options;
    const { client, clock, signal } = options;
    const onExpired = (name: string): void => this.#remove(name);
    this.#expiry = new Expiry({ client, clock, signal, onExpired });
    this.#doubted = new Doubt({
      ...options,
      isConnected: () => this.#isConnected,
      hasSome: (missing) => this.#objects.size > missing.size,
      onSettled: (missing) => this.#give(missing),
    });
  }
  get objects(): ReadonlyMap<string, Stored> {
    return this.#objects;
  }
  get isSynced(): boolean {
    return this.#isSynced;
  }

  async run(): Promise<void> {
    const { signal, clock } = this.#options;
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.#follow(() => (failures = 0));
      } catch (error) {
        if (signal.aborted) return;
        const isStale = isExpired(error) || isAhead(error);
        if (isStale) this.#version = undefined;
        // What has only just ended is tried again at once, and nobody need hear of it.
        if (failures > 0) this.#lose(error instanceof Error ? error.message : String(error));
        this.#countNotFound(error);
        if (failures > 0 || !isStale) await clock.sleep(backoffMs(RETRY, failures, Math.random()), signal);
        failures += 1;
      }
    }
  }

  async #follow(onSteady: () => void): Promise<void> {
    const { client, clock, path, query, signal, isBare } = this.#options;
    if (this.#version === undefined) await this.#takeAll();
    const timeoutSeconds = WATCH_SECONDS.least + Math.floor(Math.random() * WATCH_SECONDS.more);
    const startMs = clock.monotonicMs();
    const accept = isBare === true ? `application/json;as=PartialObjectMetadata;${BARE}` : undefined;
    const stream = await client.watch(
      path,
      { ...query, resourceVersion: this.#version, timeoutSeconds },
      { signal, ...(accept === undefined ? {} : { accept }) },
    );
    try {
      await this.#meet();
      for await (const event of stream.events) this.#take(event);
    } finally {
      stream.close();
      this.#isConnected = false;
      const lastedMs = clock.monotonicMs() - startMs;
      this.#isStrange = lastedMs < timeoutSeconds * 1000 - STEADY_MS;
      if (lastedMs > STEADY_MS) onSteady();
    }
    if (this.#isStrange) throw new Error('the watch has ended');
  }

  /** Nothing of a new connection is believed before it is known whose it is. */
  async #meet(): Promise<void> {
    if (this.#isStrange) await this.#checkIdentity();
    if (this.#version === undefined) throw new Error('all is listed again');
    this.#isStrange = false;
    this.#isConnected = true;
    this.#notFound = 0;
    if (this.#doubted.isOpen) this.#doubted.settle();
    else this.#sync();
  }
  async #checkIdentity(): Promise<void> {
    const identity = await this.#options.identity.read();
    if (this.#identity !== undefined && identity !== this.#identity) this.#doubt('another cluster answers');
    this.#identity = identity;
  }

  async #takeAll(): Promise<void> {
    const before = this.#identity;
    await this.#checkIdentity();
    const { items, resourceVersion } = await this.#list();
    const seen = this.#lastVersion;
    if (before === this.#identity && isEarlier(resourceVersion, seen)) this.#doubt('it has an earlier state');
    else if (items.length === 0) await this.#questionEmpty();
    this.#replace(items);
    this.#version = resourceVersion;
    this.#lastVersion = resourceVersion;
  }

  async #list(): Promise<Listing<Stored | Unreadable>> {
    const { client, path, query, signal, isBare, read } = this.#options;
    const accept = isBare === true ? `application/json;as=PartialObjectMetadataList;${BARE}` : undefined;
    const more = { signal, read, ...(accept === undefined ? {} : { accept }) };
    const seen = this.#lastVersion;
    // From the server's memory: never older than what was seen; what it has is enough to begin with.
    const fresh =
      seen === undefined
        ? { resourceVersion: '0' }
        : { resourceVersion: seen, resourceVersionMatch: 'NotOlderThan' };
    try {
      return await client.list(path, { ...query, ...fresh }, more);
    } catch (error) {
      if (!isAhead(error) && !isExpired(error)) throw error;
      return client.list(path, query, more);
    }
  }
  /** Of what agents write, somebody's is always there; what an operator removes he may remove whole. */
  async #questionEmpty(): Promise<void> {
    const { client, path, query, isOperators } = this.#options;
    if (this.#objects.size === 0 || this.#doubted.isOpen) return;
    if (!isOperators && this.#objects.size > 1)
      return this.#doubt(`all ${this.#objects.size} are gone at once`);
    const { items } = await client.list(path, query);
    if (items.length > 0) throw new Error('the API server does not know what it has');
  }

  #replace(items: readonly (Stored | Unreadable)[]): void {
    const names = new Set<string>();
    for (const item of items) {
      const name = this.#put(item);
      if (name !== undefined) names.add(name);
    }
    for (const name of this.#objects.keys())
      if (!names.has(name) && !this.#doubted.has(name)) this.#remove(name);
  }

  #take({ type, object }: WatchLine): void {
    if (type === 'ERROR') return;
    const version = object.metadata.resourceVersion ?? '';
    // What comes twice, or late, is known.
    if (type !== 'BOOKMARK' && !isEarlier(this.#version ?? '', version)) return;
    if (type === 'DELETED') this.#drop(object);
    else if (type !== 'BOOKMARK') this.#put(this.#options.read(object));
    if (isEarlier(this.#version ?? '', version)) {
      this.#version = version;
      this.#lastVersion = version;
    }
  }
  #drop(object: KubernetesObject): void {
    const { name } = this.#options.read(object);
    this.#doubted.clear(name);
    this.#remove(name);
    this.#doubted.settle();
  }

  /** Answers the name of what is there. What cannot be read leaves what was there before. */
  #put(found: Stored | Unreadable): string | undefined {
    if (!('version' in found)) this.#options.listener.malformed(found);
    else if (this.#expiry.isExpired(found)) {
      this.#remove(found.name);
      return undefined;
    } else this.#tell(found);
    return found.name;
  }
  #tell(found: Stored): void {
    const { listener } = this.#options;
    const before = this.#objects.get(found.name);
    const isBack = this.#takeBack(found.name, before);
    if (before?.version === found.version && !isBack) return;
    const kept = before === undefined ? found : { ...found, value: share(before.value, found.value) };
    this.#objects.set(found.name, kept);
    this.#expiry.note(kept);
    if (isBack || !this.#isSame(before, kept)) listener.put(kept);
    this.#doubted.settle();
  }
  /** Answers whether it was missing. */
  #takeBack(name: string, before: Stored | undefined): boolean {
    const isBack = this.#doubted.clear(name);
    if (isBack || (this.#doubted.isOpen && before === undefined)) this.#doubted.hold();
    return isBack;
  }
  /** Much of what the cluster writes into its objects is nothing that is kept. */
  #isSame(before: Stored | undefined, { value }: Stored): boolean {
    return this.#options.isOperators && before !== undefined && before.value === value;
  }
  #remove(name: string): void {
    this.#expiry.forget(name);
    if (this.#objects.delete(name)) this.#options.listener.removed(name);
  }

  #countNotFound(error: unknown): void {
    this.#notFound = isStatus(error, 404) ? this.#notFound + 1 : 0;
    if (this.#notFound === VANISHED) this.#options.listener.vanished();
    if (this.#notFound > 0) this.#version = undefined;
  }
  #lose(reason: string): void {
    if (!this.#isSynced) return;
    this.#isSynced = false;
    this.#options.listener.lost(reason, false);
  }
  #doubt(reason: string): void {
    this.#doubted.begin(this.#objects.keys());
    this.#version = undefined;
    this.#lastVersion = undefined;
    this.#isSynced = false;
    this.#options.listener.lost(reason, true);
  }
  /** What has not come back goes, and everything is known again. */
  #give(missing: ReadonlySet<string>): void {
    for (const name of missing) {
      this.#objects.delete(name);
      this.#expiry.forget(name);
    }
    this.#sync();
  }
  #sync(): void {
    if (this.#isSynced) return;
    this.#isSynced = true;
    this.#options.listener.synced();
  }
}
