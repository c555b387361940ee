import type { Clock } from '#lib/clock.ts';
import type { FileObject } from './object-file.ts';
import { STORE_KINDS, type StoreEvent, type Stored, type StoreKind } from './store.ts';

/**
 * Objects by kind and name out of the files that hold them: among several files the first by path counts, so the
 * operator's `manifests/` win over `state/`. Expired objects are not there. Says what changed, each change once.
 */
export class ObjectIndex {
  readonly #clock: Clock;
  readonly #onChange: (kind: StoreKind, event: StoreEvent) => void;
  readonly #files = new Map<string, readonly FileObject[]>();
  /** Path to object, by kind and name. */
  readonly #holders = new Map<string, Map<string, FileObject>>();
  readonly #present = new Map<StoreKind, Map<string, Stored>>(STORE_KINDS.map((kind) => [kind, new Map()]));
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Infinity;

  constructor(clock: Clock, onChange: (kind: StoreKind, event: StoreEvent) => void) {
    this.#clock = clock;
    this.#onChange = onChange;
  }
  get(kind: StoreKind, name: string): Stored | undefined {
    return this.#present.get(kind)?.get(name);
  }
  list(kind: StoreKind): Stored[] {
    return [...(this.#present.get(kind)?.values() ?? [])];
  }
  objectsOf(path: string): readonly FileObject[] {
    return this.#files.get(path) ?? [];
  }
  /** All that have the object, expired or not, the first by path first. */
  holdersOf(kind: StoreKind, name: string): (readonly [path: string, object: FileObject])[] {
    const holders = this.#holders.get(`${kind}/${name}`);
    return holders === undefined ? [] : [...holders].sort(([a], [b]) => (a < b ? -1 : 1));
  }
  close(): void {
    clearTimeout(this.#timer);
    this.#timerAtMs = -Infinity;
  }

  /** These are the file's objects now. */
  set(path: string, objects: readonly FileObject[]): void {
    const before = new Set(this.objectsOf(path));
    const now = new Set(objects);
    if (objects.length === 0) this.#files.delete(path);
    else this.#files.set(path, objects);
    // What is the same in both is the same for everyone: of 10,000 in one file one changes at a time.
    const gone = [...before].filter((object) => !now.has(object));
    const come = objects.filter((object) => !before.has(object));
    for (const { kind, name } of gone) this.#holders.get(`${kind}/${name}`)?.delete(path);
    for (const object of come) {
      const key = `${object.kind}/${object.name}`;
      if (!this.#holders.has(key)) this.#holders.set(key, new Map());
      this.#holders.get(key)?.set(path, object);
    }
    for (const { kind, name } of [...gone, ...come]) this.#update(kind, name);
  }

  #update(kind: StoreKind, name: string): void {
    const present = this.#present.get(kind);
    const before = present?.get(name);
    const now = this.#choose(kind, name);
    if (now === undefined) {
      if (present?.delete(name) === true) this.#onChange(kind, { type: 'removed', name });
    } else if (before?.version !== now.version || before.origin !== now.origin) {
      present?.set(name, now);
      this.#arm(now.expiresAtMs);
      this.#onChange(kind, { type: 'put', object: now });
    }
  }
  #choose(kind: StoreKind, name: string): Stored | undefined {
    const holders = this.holdersOf(kind, name);
    if (holders.length === 0) this.#holders.delete(`${kind}/${name}`);
    const first = holders.find(([, { expiresAtMs = Infinity }]) => expiresAtMs > this.#clock.nowMs());
    if (first === undefined) return undefined;
    const [origin, { revision: _, line: __, ...object }] = first;
    return { ...object, origin };
  }

  /** One timer for whatever expires next. */
  #arm(atMs = Infinity): void {
    if (atMs >= this.#timerAtMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    const delay = Math.min(Math.max(atMs - this.#clock.nowMs(), 0) + 1, 0x7fff_ffff);
    this.#timer = setTimeout(() => this.#expire(), delay).unref();
  }
  #expire(): void {
    this.#timerAtMs = Infinity;
    const now = this.#clock.nowMs();
    for (const { kind, name, expiresAtMs } of STORE_KINDS.flatMap((kind) => this.list(kind))) {
      if (expiresAtMs !== undefined && expiresAtMs <= now) this.#update(kind, name);
      else this.#arm(expiresAtMs);
    }
  }
}
