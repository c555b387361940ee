import { backoffMs } from '#lib/backoff.ts';
import type { Clock } from '#lib/clock.ts';
import type { Manifest } from '#model/manifest.ts';
import { Doubt } from '../doubt.ts';
import type { StoreEvent, Stored, StoreKind } from '../store.ts';
import type { EtcdClient, Stream } from './client.ts';
import { readIdentity } from './identity.ts';
import { listKind } from './listing.ts';
import { decodeText, type KeyValue, rangeBelow, type WatchEvent, type WatchResponse } from './messages.ts';
import { CODE, EtcdError } from './refusal.ts';
import { keyPrefix, readObject } from './object-text.ts';

/**
 * One watch of one kind: lists, then follows from that revision on, over whatever happens to the connection. Every event
 * is told once and none is missed: after a cut the watch goes on with the next revision, and where etcd has compacted that,
 * everything is listed again.
 *
 * Data that vanish all at once are doubted: a wiped etcd, another one, a prefix deleted whole. That is a gap; everybody
 * writes again what was his own, and what has not come back when nothing new has come for `holdMs` is removed then.
 */
export type KindWatchOptions = {
  readonly client: EtcdClient;
  readonly prefix: string;
  readonly kind: StoreKind;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly holdMs: number;
  readonly push: (event: StoreEvent) => void;
  /** What was accepted before of a key that cannot be read now. */
  readonly lastGood: (origin: string) => Iterable<readonly [name: string, manifest: Manifest]>;
};

const RETRY = { firstMs: 50, maxMs: 5000 } as const;
/**
 * A process that hangs keeps its connections: who was silent for so long is asked; and left, where requests have gone to
 * another one meanwhile.
 */
const SILENT_MS = { left: 5000, asked: 60_000 };

export class KindWatch {
  readonly #options: KindWatchOptions;
  readonly #below: string;
  readonly #objects = new Map<string, Stored>();
  /** Everything up to here is known; 0: to be listed. */
  #revision = 0;
  #identity: string | undefined;
  /** The reader knows something. */
  #isBegun = false;
  /** Objects are to be told again, as the reader was told of a gap. */
  #isUntold = false;
  readonly #doubted: Doubt;
  #isConnected = false;
  #silentMs = 0;

  constructor(options: KindWatchOptions) {
    this.#options = options;
    this.#doubted = new Doubt({
      ...options,
      isConnected: () => this.#isConnected,
      hasSome: () => this.#objects.size > 0,
      onSettled: () => this.#push({ type: 'synced' }),
    });
    this.#below = keyPrefix(options.prefix, options.kind);
  }

  async run(): Promise<void> {
    const { signal, clock } = this.#options;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        await this.#follow(() => (attempt = 0));
      } catch (error) {
        this.#onLost(error instanceof Error ? error.message : String(error));
      }
      await clock.sleep(backoffMs(RETRY, attempt, Math.random()), signal);
    }
  }

  async #follow(onConnected: () => void): Promise<void> {
    if (this.#revision === 0) await this.#takeAll();
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#options.signal]);
    const stream = await this.#options.client.watch(this.#request(), signal);
    this.#silentMs = 0;
    const guard = setInterval(() => void this.#look(stream, stop), SILENT_MS.left).unref();
    try {
      for await (const response of stream.responses) {
        this.#silentMs = 0;
        this.#refuseCanceled(response);
        if (response.created !== true) await this.#take(response);
        else if (!this.#isConnected) {
          await this.#meet(response);
          onConnected();
        }
      }
    } finally {
      clearInterval(guard);
      this.#isConnected = false;
    }
  }
  #request(): object {
    const options = { start_revision: String(this.#revision + 1), progress_notify: true, fragment: true };
    return { create_request: { ...rangeBelow(this.#below), ...options } };
  }
  async #look({ endpoint }: Stream, stop: AbortController): Promise<void> {
    const { client, prefix } = this.#options;
    this.#silentMs += SILENT_MS.left;
    const isLeft = (): boolean => client.endpoint !== endpoint && this.#silentMs > SILENT_MS.left;
    if (isLeft()) return stop.abort();
    if (this.#silentMs < SILENT_MS.asked) return;
    this.#silentMs = 0;
    const identity = await readIdentity(client, prefix).catch(() => undefined);
    if (identity !== this.#identity || client.endpoint !== endpoint) stop.abort();
  }

  #refuseCanceled({ canceled, compact_revision, cancel_reason }: WatchResponse): void {
    if (canceled !== true) return;
    if (compact_revision !== undefined) {
      this.#revision = 0;
      throw new EtcdError(CODE.outOfRange, 'etcd has compacted what happened meanwhile');
    }
    // A token that etcd has forgotten is told of like this too.
    this.#options.client.forgetToken();
    throw new EtcdError(CODE.permissionDenied, cancel_reason ?? 'etcd has ended the watch');
  }

  /** The first answer of a stream: nothing is believed before it is known whose history this is. */
  async #meet({ header }: WatchResponse): Promise<void> {
    const identity = await readIdentity(this.#options.client, this.#options.prefix);
    if (Number(header.revision) < this.#revision) this.#doubt('etcd has an earlier state than before');
    else if (identity !== this.#identity) this.#doubt('etcd has lost its data');
    if (this.#revision === 0) throw new EtcdError(CODE.dataLoss, 'all is listed again');
    this.#isConnected = true;
    if (this.#isUntold) for (const object of this.#objects.values()) this.#push({ type: 'put', object });
    this.#isUntold = false;
    if (this.#doubted.isOpen) this.#doubted.settle();
    else this.#push({ type: 'synced' });
  }

  async #takeAll(): Promise<void> {
    const { client, prefix } = this.#options;
    const identity = await readIdentity(client, prefix);
    if (this.#identity !== undefined && identity !== this.#identity) this.#doubt('etcd has lost its data');
    this.#identity = identity;
    const { kvs, revision } = await listKind(client, this.#below);
    const before = new Map(this.#objects);
    this.#objects.clear();
    for (const kv of kvs) this.#put(kv, before);
    this.#revision = revision;
    this.#isUntold = false;
  }

  async #take({ header, events = [], fragment }: WatchResponse): Promise<void> {
    const news = events.filter(({ kv }) => Number(kv.mod_revision) > this.#revision);
    if (this.#isSweep(news) && !(await this.#isMeant())) {
      this.#doubt(`all ${this.#objects.size} are gone at once`);
      throw new EtcdError(CODE.dataLoss, 'all is listed again');
    }
    for (const event of news) this.#takeOne(event);
    if (fragment !== true)
      this.#revision = Math.max(this.#revision, Number(events.at(-1)?.kv.mod_revision ?? header.revision));
    this.#doubted.settle();
  }
  #takeOne({ type, kv }: WatchEvent): void {
    if (type !== 'DELETE') return this.#put(kv, this.#objects);
    const name = this.#nameOf(kv);
    if (this.#objects.delete(name)) this.#push({ type: 'removed', name });
  }
  /** Nothing would be left. */
  #isSweep(events: readonly WatchEvent[]): boolean {
    if (this.#objects.size === 0 || events.length < this.#objects.size) return false;
    const gone = new Set(events.map((event) => (event.type === 'DELETE' ? this.#nameOf(event.kv) : '')));
    return !gone.has('') && Array.from(this.#objects.keys()).every((name) => gone.has(name));
  }
  /** Agents remove what is their own, one by one; the operator may remove all of his. Neither removes the identity. */
  async #isMeant(): Promise<boolean> {
    const { client, prefix, kind } = this.#options;
    if (kind !== 'Manifest' && this.#objects.size > 1) return false;
    return (await readIdentity(client, prefix)) === this.#identity;
  }
  #nameOf(kv: KeyValue): string {
    return decodeText(kv.key).slice(this.#below.length);
  }

  /** What cannot be read leaves what was there before. */
  #put(kv: KeyValue, before: ReadonlyMap<string, Stored>): void {
    const { kind, lastGood } = this.#options;
    const read = readObject(kind, this.#below, kv);
    if ('version' in read) return this.#tell(read);
    const { name, origin, message } = read;
    this.#push({ type: 'malformed', origin, line: undefined, message });
    const [good] = Array.from(lastGood(origin), ([, value]) => ({
      kind,
      name,
      value,
      version: kv.mod_revision,
      origin,
    }));
    const kept = before.get(name) ?? (good as Stored | undefined);
    if (kept !== undefined) this.#tell(kept);
  }
  #tell(object: Stored): void {
    const isNew = !this.#objects.has(object.name);
    this.#objects.set(object.name, object);
    this.#push({ type: 'put', object });
    if (!this.#doubted.isOpen) return;
    this.#doubted.clear(object.name);
    if (isNew) this.#doubted.hold();
  }

  #onLost(reason: string): void {
    if (this.#options.signal.aborted || this.#isUntold || !this.#isBegun) return;
    this.#isUntold = true;
    this.#push({ type: 'gap', reason });
  }
  #doubt(reason: string): void {
    this.#doubted.begin(this.#objects.keys());
    this.#revision = 0;
    this.#identity = undefined;
    this.#isUntold = true;
    this.#push({ type: 'gap', reason, isLoss: true });
  }
  #push(event: StoreEvent): void {
    this.#isBegun = true;
    this.#options.push(event);
  }
}
