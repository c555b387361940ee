/**
 * flannel's keys in etcd: followed, and this node's own kept alive in flannel's way, with a lease of etcd's. Nobody's but the own
 * key is ever written.
 */
import { backoffMs } from '#lib/backoff.ts';
import type { Clock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';
import type { EtcdClient } from './client.ts';
import { listKind } from './listing.ts';
import {
  decodeText,
  encodeText,
  type KeyValue,
  type LeaseResponse,
  rangeBelow,
  type RangeResponse,
  type TxnResponse,
  type WatchResponse,
} from './messages.ts';

/** `key` without what all of them begin with. */
export type FlannelKey = { readonly key: string; readonly value: string; readonly isLeased: boolean };

export type FollowOptions = {
  readonly client: EtcdClient;
  /** Ends with a slash. */
  readonly below: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** All of them, whenever something changed. */
  readonly onKeys: (keys: readonly FlannelKey[]) => void;
};

const RETRY = { firstMs: 100, maxMs: 5000 } as const;

/** Until the signal aborts; over whatever happens to the connection. */
export async function followKeys(options: FollowOptions): Promise<void> {
  const { clock, signal } = options;
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      await followOnce(options, () => (attempt = 0));
    } catch {
      // The client tells of it; everything is listed again.
    }
    await clock.sleep(backoffMs(RETRY, attempt, Math.random()), signal);
  }
}

async function followOnce(
  { client, below, signal, onKeys }: FollowOptions,
  onBegun: () => void,
): Promise<void> {
  const { kvs, revision } = await listKind(client, below);
  const present = new Map(kvs.map((kv) => [nameOf(below, kv), kv]));
  const tell = (): void => onKeys(Array.from(present, ([key, kv]) => entryOf(key, kv)));
  tell();
  const range = rangeBelow(below);
  const create = { create_request: { ...range, start_revision: String(revision + 1) } };
  const { responses } = await client.watch(create, signal);
  for await (const response of responses) {
    if (response.canceled === true) return;
    onBegun();
    if (take(present, below, response)) tell();
  }
}

function take(present: Map<string, KeyValue>, below: string, { events = [] }: WatchResponse): boolean {
  for (const { type, kv } of events) {
    if (type === 'DELETE') present.delete(nameOf(below, kv));
    else present.set(nameOf(below, kv), kv);
  }
  return events.length > 0;
}

function nameOf(below: string, { key }: KeyValue): string {
  return decodeText(key).slice(below.length);
}

function entryOf(key: string, { value = '', lease }: KeyValue): FlannelKey {
  return { key, value: decodeText(value), isLeased: lease !== undefined };
}

async function readKv(client: EtcdClient, key: string): Promise<KeyValue | undefined> {
  const { kvs } = await client.call<RangeResponse>('/v3/kv/range', { key: encodeText(key) });
  return kvs?.[0];
}

export type KeepOptions = {
  readonly key: string;
  readonly value: string;
  readonly ttlSeconds: number;
  readonly renewBeforeSeconds: number;
  /** Whether a value that is there already is this node's. */
  readonly isOwn: (value: string) => boolean;
};

/**
 * Written when it is missing, another or about to end; a reservation stays one. Throws Fault `store-conflict` when the key is
 * somebody else's.
 */
export async function keepKey(client: EtcdClient, options: KeepOptions): Promise<'kept' | 'written'> {
  const { key, value, ttlSeconds, isOwn } = options;
  const kv = await readKv(client, key);
  if (kv === undefined) {
    await write(client, options, { lease: await grant(client, ttlSeconds), expect: '0' });
    return 'written';
  }
  const present = decodeText(kv.value ?? '');
  if (!isOwn(present)) throw new Fault('store-conflict', `${key} is another node’s: ${present}`);
  const isReserved = kv.lease === undefined;
  if (present === value && (isReserved || (await isFresh(client, kv, options)))) return 'kept';
  const lease = isReserved ? {} : { lease: await grant(client, ttlSeconds) };
  await write(client, options, { ...lease, expect: kv.mod_revision });
  return 'written';
}

type Held = { readonly lease?: string; readonly expect: string };

async function write(
  client: EtcdClient,
  { key: name, value: text }: KeepOptions,
  { expect, ...held }: Held,
): Promise<void> {
  const [key, value] = [encodeText(name), encodeText(text)];
  const answer = await client.call<TxnResponse>('/v3/kv/txn', {
    compare: [{ key, target: 'MOD', result: 'EQUAL', mod_revision: expect }],
    success: [{ request_put: { key, value, ...held } }],
  });
  if (answer.succeeded !== true) throw new Fault('store-conflict', `${name} was written by somebody else`);
}

async function isFresh(client: EtcdClient, kv: KeyValue, options: KeepOptions): Promise<boolean> {
  const { TTL = '0' } = await client.call<LeaseResponse>('/v3/lease/timetolive', { ID: kv.lease ?? '0' });
  return Number(TTL) > options.renewBeforeSeconds;
}

async function grant(client: EtcdClient, ttlSeconds: number): Promise<string> {
  const { ID } = await client.call<LeaseResponse>('/v3/lease/grant', { TTL: String(ttlSeconds) });
  return ID;
}
