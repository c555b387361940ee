import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import type { EtcdSettings } from '#model/settings.ts';
import { createQueue } from '../event-queue.ts';
import { isObjectName, MAX_FILE_BYTES } from '../object-file.ts';
import type { PutOptions, StateKind, Store, Stored, StoreEvent, StoreKind, Version } from '../store.ts';
import { expectVersion, refuseManifest } from '../version.ts';
import { EtcdClient } from './client.ts';
import { KindWatch } from './kind-watch.ts';
import { listKind } from './listing.ts';
import {
  encodeText,
  type KeyValue,
  type LeaseResponse,
  type RangeResponse,
  type TxnResponse,
} from './messages.ts';
import { formatState, keyPrefix, readObject, type Written, writeOf } from './object-text.ts';

/**
 * A store in etcd 3.4 or later, through its JSON gateway (docs/decisions/0011-etcd.md). Layout: ./object-text.ts.
 * An object that expires has a lease of its own: etcd counts its time, whatever the clocks of nodes say. Compare-and-swap
 * is one transaction on the revision of the last write.
 */
export type EtcdStore = Store & {
  readonly client: EtcdClient;
  close(): void;
};

export type EtcdOptions = {
  readonly settings: EtcdSettings;
  readonly clock?: Clock;
  /** Told when etcd stops answering, and when it answers again. */
  readonly notice?: (text: string) => void;
  /** After data vanished all at once: for how long nothing new must have come until the rest is believed to be gone. */
  readonly holdMs?: number;
  /** Manifests that were accepted before, asked of a key that cannot be read now, nor was before. */
  readonly lastGood?: (origin: string) => Iterable<readonly [name: string, manifest: Manifest]>;
};

const HOLD_MS = 30_000;

export function openEtcdStore(options: EtcdOptions): EtcdStore {
  const {
    settings,
    clock = systemClock,
    notice = () => undefined,
    holdMs = HOLD_MS,
    lastGood = () => [],
  } = options;
  const client = new EtcdClient({ settings, clock, notice });
  return new Etcd({ settings, clock, notice, holdMs, lastGood }, client);
}

type Lease = { readonly id: string; readonly ttlSeconds: number };

class Etcd implements EtcdStore {
  readonly client: EtcdClient;
  readonly #options: Required<EtcdOptions>;
  readonly #closed = new AbortController();

  constructor(options: Required<EtcdOptions>, client: EtcdClient) {
    this.#options = options;
    this.client = client;
  }
  close(): void {
    this.#closed.abort();
    this.client.close();
  }

  watch(kind: StoreKind, signal: AbortSignal): AsyncIterable<StoreEvent> {
    const left = new AbortController();
    const queue = createQueue<StoreEvent>(signal, () => left.abort());
    const { clock, holdMs, lastGood, settings } = this.#options;
    const following = new KindWatch({
      client: this.client,
      prefix: settings.prefix,
      kind,
      clock,
      holdMs,
      lastGood,
      signal: AbortSignal.any([signal, left.signal, this.#closed.signal]),
      push: (event) => queue.push(event),
    });
    void following.run();
    return queue;
  }

  async get(kind: StoreKind, name: string): Promise<Stored | undefined> {
    if (kind !== 'Manifest') checkName(name);
    const { kvs } = await this.client.call<RangeResponse>('/v3/kv/range', { key: this.#key(kind, name) });
    const [kv] = kvs ?? [];
    if (kv === undefined) return undefined;
    const object = this.#read(kind, kv);
    if (kv.lease === undefined) return object;
    const expiresAtMs = await this.#expiryOf(kv.lease);
    return expiresAtMs === undefined ? undefined : { ...object, expiresAtMs };
  }
  async list(kind: StoreKind): Promise<Stored[]> {
    const below = keyPrefix(this.#prefix, kind);
    const { kvs } = await listKind(this.client, below);
    return kvs.map((kv) => readObject(kind, below, kv)).filter((read) => 'version' in read);
  }

  async put(kind: StoreKind, name: string, value: unknown, options: PutOptions = {}): Promise<Stored> {
    refuseManifest(kind, name);
    checkName(name);
    const { ttlSeconds, expect } = options;
    const lease = ttlSeconds === undefined ? undefined : await this.#grant(ttlSeconds);
    try {
      return await this.#write({ kind, name, value }, expect, lease);
    } catch (error) {
      if (lease !== undefined && isUnwritten(error)) this.#revoke(lease.id);
      throw error;
    }
  }
  async remove(kind: StoreKind, name: string, { expect }: Pick<PutOptions, 'expect'> = {}): Promise<void> {
    refuseManifest(kind, name);
    checkName(name);
    const key = this.#key(kind, name);
    const txn = { compare: compareVersion(key, expect), success: [{ request_delete_range: { key } }] };
    const answer = await this.#txn({ ...txn, failure: [{ request_range: { key } }] });
    if (answer.succeeded !== true) this.#conflict(kind, name, expect, kvOf(answer));
  }

  async #write(
    object: Pick<Written, 'kind' | 'name' | 'value'>,
    expect: PutOptions['expect'],
    lease: Lease | undefined,
  ): Promise<Stored> {
    const { kind, name, value } = object;
    const key = this.#key(kind, name);
    const write = randomBytes(8).toString('hex');
    const expiry = lease === undefined ? {} : { expiresAtMs: this.#expiryIn(lease.ttlSeconds) };
    const text = formatState({ ...object, ...expiry, write });
    checkValue(kind, name, value, text);
    const held = lease === undefined ? {} : { lease: lease.id, prev_kv: true };
    const answer = await this.#txn({
      compare: compareVersion(key, expect),
      success: [{ request_put: { key, value: encodeText(text), ...held } }],
      failure: [{ request_range: { key } }],
    });
    const version = versionOf(answer, write) ?? this.#conflict(kind, name, expect, kvOf(answer));
    this.#release(answer, lease);
    const origin = `${keyPrefix(this.#prefix, kind)}${name}`;
    return { kind, name, value: structuredClone(value), version, origin, ...expiry };
  }
  /** The lease that the object hung on until now holds nothing any more. */
  #release(answer: TxnResponse, lease: Lease | undefined): void {
    const before = answer.responses?.[0]?.response_put?.prev_kv?.lease;
    if (before !== undefined && before !== lease?.id) this.#revoke(before);
  }
  #conflict(kind: StateKind, name: string, expect: PutOptions['expect'], kv: KeyValue | undefined): never {
    expectVersion(name, kv === undefined ? undefined : this.#read(kind, kv), expect);
    throw new Fault('store-conflict', `${name} was written by somebody else`);
  }

  async #grant(ttlSeconds: number): Promise<Lease> {
    const body = { TTL: String(Math.max(1, Math.ceil(ttlSeconds))) };
    const { ID, TTL } = await this.client.call<LeaseResponse>('/v3/lease/grant', body);
    return { id: ID, ttlSeconds: Number(TTL) };
  }
  /** Not waited for: a lease that nothing hangs on ends by itself. */
  #revoke(id: string): void {
    this.client.call('/v3/lease/revoke', { ID: id }).catch(() => undefined);
  }
  /** By this host's clock; undefined: it has ended. */
  async #expiryOf(lease: string): Promise<number | undefined> {
    const { TTL = '0' } = await this.client.call<LeaseResponse>('/v3/lease/timetolive', { ID: lease });
    return Number(TTL) < 0 ? undefined : this.#expiryIn(Number(TTL));
  }
  #expiryIn(seconds: number): number {
    return this.#options.clock.nowMs() + seconds * 1000;
  }

  get #prefix(): string {
    return this.#options.settings.prefix;
  }
  #key(kind: StoreKind, name: string): string {
    return encodeText(`${keyPrefix(this.#prefix, kind)}${name}`);
  }
  #txn(txn: object): Promise<TxnResponse> {
    return this.client.call<TxnResponse>('/v3/kv/txn', txn);
  }
  /** Throws Fault `store-malformed`. */
  #read(kind: StoreKind, kv: KeyValue): Stored {
    const read = readObject(kind, keyPrefix(this.#prefix, kind), kv);
    if ('version' in read) return read;
    const problems = [{ path: read.origin, message: read.message }];
    throw new Fault('store-malformed', `${kind} ${read.name} cannot be read`, { problems });
  }
}

/** For sure: when no answer has come, the object may hang on the lease, and would go with it. */
function isUnwritten(error: unknown): boolean {
  return error instanceof Fault && (error.code === 'store-conflict' || error.code === 'store-malformed');
}

function compareVersion(key: string, expect: PutOptions['expect']): object[] {
  if (expect === undefined) return [];
  return [{ key, target: 'MOD', result: 'EQUAL', mod_revision: expect === 'absent' ? '0' : expect }];
}

/** Of what this write has written; an answer to an earlier attempt at it may have been lost on its way. */
function versionOf(answer: TxnResponse, write: string): Version | undefined {
  if (answer.succeeded === true) return answer.header.revision as Version;
  const present = kvOf(answer);
  return writeOf(present) === write ? (present?.mod_revision as Version) : undefined;
}

function kvOf(answer: TxnResponse): KeyValue | undefined {
  return answer.responses?.[0]?.response_range?.kvs?.[0];
}

function checkName(name: string): void {
  if (!isObjectName(name))
    throw new Fault('store-malformed', `${JSON.stringify(name)} is not an object name`);
}

/** etcd refuses what is larger than 1.5 MiB by itself, with other words. */
function checkValue(kind: StateKind, name: string, value: unknown, text: string): void {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (isObject && text.length <= MAX_FILE_BYTES) return;
  throw new Fault('store-malformed', `${kind} ${name}: the value is not an object of at most 1 MiB`);
}
