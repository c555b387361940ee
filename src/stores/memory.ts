import { type Clock, systemClock } from '#lib/clock.ts';
import { createQueue, type EventQueue } from './event-queue.ts';
import { ObjectIndex } from './object-index.ts';
import { parseOperators } from './object-file.ts';
import type { PutOptions, Store, Stored, StoreEvent, StoreKind, Version } from './store.ts';
import { expectVersion, refuseManifest } from './version.ts';

/** A store in memory, for tests: the meaning of `Store` without any file. */
export type MemoryStore = Store & {
  /** What a lost connection does to watchers: a gap, then everything again. */
  interrupt(reason: string): void;
  /** What an operator does to a file: this is its text now, undefined when there is none. */
  writeManifests(source: string, text: string | undefined): void;
  close(): void;
};

export function createMemoryStore(clock: Clock = systemClock): MemoryStore {
  const watchers = new Set<{ readonly kind: StoreKind; readonly queue: EventQueue<StoreEvent> }>();
  const index = new ObjectIndex(clock, (kind, event) => {
    for (const watcher of watchers) if (watcher.kind === kind) watcher.queue.push(event);
  });
  const tellAll = (kind: StoreKind, queue: EventQueue<StoreEvent>): void => {
    for (const object of index.list(kind)) queue.push({ type: 'put', object });
    queue.push({ type: 'synced' });
  };
  return {
    watch(kind, signal) {
      const queue = createQueue<StoreEvent>(signal, () => watchers.delete(watcher));
      const watcher = { kind, queue };
      watchers.add(watcher);
      tellAll(kind, queue);
      return queue;
    },
    ...accessTo(index, clock),
    interrupt(reason) {
      for (const { kind, queue } of watchers) {
        queue.push({ type: 'gap', reason });
        tellAll(kind, queue);
      }
    },
    writeManifests(source, text = '') {
      const { objects, problems } = parseOperators(source, text);
      index.set(source, objects);
      const told = problems.map(({ line, message }) => ({ origin: source, line, message }));
      for (const { queue } of watchers) for (const each of told) queue.push({ type: 'malformed', ...each });
    },
    close: () => index.close(),
  };
}

function accessTo(index: ObjectIndex, clock: Clock): Omit<Store, 'watch'> {
  let revision = 0;
  const path = (kind: StoreKind, name: string): string => `memory:${kind}/${name}`;
  const present = (kind: StoreKind, name: string): Stored | undefined => {
    const stored = index.get(kind, name);
    return (stored?.expiresAtMs ?? Infinity) > clock.nowMs() ? stored : undefined;
  };
  return {
    get: async (kind, name) => present(kind, name),
    list: async (kind) => index.list(kind).filter(({ name }) => present(kind, name) !== undefined),
    async put(kind, name, value, { expect, ttlSeconds }: PutOptions = {}) {
      refuseManifest(kind, name);
      expectVersion(name, present(kind, name), expect);
      revision += 1;
      const expiry = ttlSeconds === undefined ? {} : { expiresAtMs: clock.nowMs() + ttlSeconds * 1000 };
      const version = String(revision) as Version;
      const object = { kind, name, value: structuredClone(value), version, ...expiry };
      index.set(path(kind, name), [{ ...object, revision, line: 1 }]);
      return { ...object, origin: path(kind, name) };
    },
    async remove(kind, name, { expect } = {}) {
      refuseManifest(kind, name);
      expectVersion(name, present(kind, name), expect);
      index.set(path(kind, name), []);
    },
  };
}
