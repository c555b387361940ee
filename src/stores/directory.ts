import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '#lib/clock.ts';
import { Fault, toFault } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import { DirectoryView, type ViewOptions } from './directory-view.ts';
import { createQueue, type EventQueue } from './event-queue.ts';
import { replaceFile } from './files.ts';
import {
  type FileContent,
  type FileObject,
  formatObject,
  isObjectName,
  manifestObject,
  MAX_FILE_BYTES,
  parseObjects,
} from './object-file.ts';
import { REST, type Rest } from './manifest-files.ts';
import type { PutOptions, StateKind, Store, Stored, StoreEvent, StoreKind } from './store.ts';
import { expectVersion, refuseManifest } from './version.ts';
import { withLock } from './ticket-lock.ts';

/**
 * A store in a directory that the agents of one host share:
 *
 *     PATH/manifests/**.yaml         the operator's, read only: what stands there wins and cannot be overwritten
 *     PATH/state/KIND/NAME.yaml      the agents', one object in a file, replaced by rename(2)
 *     PATH/state/.lock/              held while a file of state/ is compared and replaced
 *
 * Every write is on stable storage before it is answered.
 */
export type DirectoryStore = Store & { close(): void };

export type DirectoryOptions = {
  readonly clock?: Clock;
  readonly rescanMs?: number;
  /** Objects that were accepted before, asked of a file of manifests/ that cannot be read now, nor was before. */
  readonly lastGood?: (path: string) => Iterable<readonly [name: string, manifest: Manifest]>;
  /** For how long a file of manifests/ has to rest until it is believed. */
  readonly rest?: Rest;
};

export function openDirectoryStore(path: string, options: DirectoryOptions = {}): DirectoryStore {
  const { clock = systemClock, rescanMs = 30_000, rest = REST, lastGood = () => [] } = options;
  const objectsBefore = (file: string): FileObject[] =>
    Array.from(lastGood(file), ([name, manifest]) => manifestObject(name, manifest));
  return new Directory(path, { clock, rescanMs, rest, lastGood: objectsBefore });
}

type Watcher = { readonly kind: StoreKind; readonly queue: EventQueue<StoreEvent>; started: boolean };

class Directory implements DirectoryStore {
  readonly #clock: Clock;
  readonly #view: DirectoryView;
  readonly #watchers = new Set<Watcher>();
  readonly #lock: string;
  /** Writes of this process one after the other: only processes meet at the lock. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(path: string, options: ViewOptions) {
    this.#clock = options.clock;
    this.#lock = join(path, 'state', '.lock');
    this.#view = new DirectoryView(path, options, (kind, event) => {
      for (const watcher of this.#watchers) {
        if (watcher.started && (kind === undefined || watcher.kind === kind)) watcher.queue.push(event);
      }
    });
  }
  close(): void {
    this.#view.close();
  }

  watch(kind: StoreKind, signal: AbortSignal): AsyncIterable<StoreEvent> {
    const queue = createQueue<StoreEvent>(signal, () => this.#watchers.delete(watcher));
    const watcher: Watcher = { kind, queue, started: false };
    this.#watchers.add(watcher);
    this.#view.follow();
    void this.#view.scan().then(() => this.#begin(watcher));
    return queue;
  }
  #begin(watcher: Watcher): void {
    const { kind, queue } = watcher;
    watcher.started = true;
    for (const event of this.#view.problems(kind)) queue.push(event);
    for (const object of this.#view.index.list(kind)) queue.push({ type: 'put', object });
    if (this.#view.isGap(kind))
      for (const reason of this.#view.gaps.values()) queue.push({ type: 'gap', reason });
    else queue.push({ type: 'synced' });
  }

  async get(kind: StoreKind, name: string): Promise<Stored | undefined> {
    if (kind !== 'Manifest') checkName(name);
    await this.#view.knowManifests();
    const operators = this.#operators(kind, name);
    return operators !== undefined || kind === 'Manifest' ? operators : this.#read(kind, name).stored;
  }
  async list(kind: StoreKind): Promise<Stored[]> {
    await this.#view.scan();
    return this.#view.list(kind);
  }
  async put(kind: StoreKind, name: string, value: unknown, options: PutOptions = {}): Promise<Stored> {
    refuseManifest(kind, name);
    checkName(name);
    await this.#view.knowManifests();
    return this.#exclusively(() => this.#put(kind, name, value, options));
  }
  async remove(kind: StoreKind, name: string, options: Pick<PutOptions, 'expect'> = {}): Promise<void> {
    refuseManifest(kind, name);
    checkName(name);
    const path = this.#view.statePath(kind, name);
    await this.#view.knowManifests();
    await this.#exclusively(() => {
      this.#refuseOperators(kind, name);
      if (options.expect !== undefined) expectVersion(name, this.#read(kind, name).stored, options.expect);
      rmSync(path, { force: true });
      this.#view.forget(path);
    });
  }

  async #exclusively<T>(action: () => T): Promise<T> {
    const turn = this.#turn.then(() => withLock(this.#lock, action));
    this.#turn = turn.catch(() => undefined);
    try {
      return await turn;
    } catch (error) {
      throw toFault(error, 'io');
    }
  }
  #put(kind: StateKind, name: string, value: unknown, { expect, ttlSeconds }: PutOptions): Stored {
    this.#refuseOperators(kind, name);
    const before = this.#read(kind, name, expect !== undefined);
    if (expect !== undefined) expectVersion(name, before.stored, expect);
    const now = this.#clock.nowMs();
    const expiry = ttlSeconds === undefined ? {} : { expiresAtMs: now + ttlSeconds * 1000 };
    const revision = Math.max(before.revision + 1, Math.floor(now));
    const text = formatObject({ kind, name, value, ...expiry, revision });
    const [object] = parseObjects(text).objects;
    if (object === undefined || text.length > MAX_FILE_BYTES) {
      throw new Fault('store-malformed', `${kind} ${name}: the value is not an object of at most 1 MiB`);
    }
    const origin = this.#view.statePath(kind, name);
    replaceFile(origin, text);
    this.#view.load(origin);
    const { revision: _, line: __, ...stored } = object;
    return { ...stored, origin };
  }
  #operators(kind: StoreKind, name: string): Stored | undefined {
    const present = this.#view.index.get(kind, name);
    return present !== undefined && this.#view.isManifest(present.origin) ? present : undefined;
  }
  #refuseOperators(kind: StateKind, name: string): void {
    const present = this.#operators(kind, name);
    if (present !== undefined) {
      throw new Fault('store-conflict', `${kind} ${name} is the operator’s: ${present.origin}`);
    }
  }
  /** What the file holds at this moment; an expired object is none. Throws Fault `store-malformed` when strict. */
  #read(kind: StateKind, name: string, strict = true): { stored: Stored | undefined; revision: number } {
    const origin = this.#view.statePath(kind, name);
    const content = this.#view.load(origin);
    // What is broken may be written over; what another release wrote may not.
    if (strict || content?.problems.some(({ otherVersion }) => otherVersion === true) === true)
      refuseMalformed(`${kind} ${name}`, origin, content);
    const [object] = content?.objects ?? [];
    if (object === undefined) return { stored: undefined, revision: 0 };
    const { revision, line: _, ...rest } = object;
    const isExpired = (object.expiresAtMs ?? Infinity) <= this.#clock.nowMs();
    return { stored: isExpired ? undefined : { ...rest, origin }, revision };
  }
}

function refuseMalformed(what: string, origin: string, content: FileContent | undefined): void {
  const problems = (content?.problems ?? []).map(({ line, message }) => ({
    path: `${origin}:${line}`,
    message,
  }));
  if (problems.length > 0) throw new Fault('store-malformed', `${what} cannot be read`, { problems });
}

function checkName(name: string): void {
  if (!isObjectName(name))
    throw new Fault('store-malformed', `${JSON.stringify(name)} is not an object name`);
}
