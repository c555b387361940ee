import type { Clock } from '#lib/clock.ts';
import type { FileObject } from './object-file.ts';
import { STORE_KINDS, type StoreEvent, type Stored, type StoreKind } from './store.ts';

type Holder = readonly [path: string, object: FileObject];

/**
 * Objects by kind and name out of the files that hold them: among several files the first by path counts, so the
 * operator's `manifests/` win over `state/`. Expired objects are not there. Says what changed, each change once.
 */
export class ObjectIndex {
  readonly #clock: Clock;
  readonly #onChange: (kind: StoreKind, event: StoreEvent) => void;
  readonly #files = new Map<string, readonly FileObject[]>();
  /** By kind and name, sorted by path: nearly every object stands in one file. */
  readonly #holders = new Map<string, readonly Holder[]>();
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
  /** All that have the object, the first by path first; expired ones too. */
  holdersOf(kind: StoreKind, name: string): readonly Holder[] {
    return this.#holders.get(`${kind}/${name}`) ?? [];
  }
  close(): void {
    clearTimeout(this.#timer);
    this.#timerAtMs = -Infinity;
  }

  /** These are the file's objects now. */
  set(path: string, objects: readonly FileObject[]): void {
    const steps = this.replace(path, objects);
    while (steps.next().done !== true);
  }
  /**
   * The same in steps, between which there may be other work, and other changes; what comes is there before what goes is
   * gone. An object that is the same in both is not looked at: of 10,000 in one file one changes at a time.
   */
  *replace(path: string, objects: readonly FileObject[]): Generator<void> {
    const [only, ...more] = objects;
    // A new file of one object, as there are thousands at start.
    if (only !== undefined && more.length === 0 && !this.#files.has(path)) {
      this.#files.set(path, objects);
      this.#hold(path, only);
      return;
    }
    const before = new Set(this.objectsOf(path));
    const now = new Set(objects);
    this.#files.set(path, objects);
    for (const object of [...now, ...before]) {
      if (now.has(object) && before.has(object)) continue;
      // Somebody else told other objects of the file meanwhile.
      if (this.#files.get(path) !== objects) return;
      if (now.has(object)) this.#hold(path, object);
      else this.#release(path, object);
      yield;
    }
    if (objects.length === 0) this.#files.delete(path);
  }
  #hold(path: string, object: FileObject): void {
    const { kind, name } = object;
    const key = `${kind}/${name}`;
    const others = this.#holders.get(key)?.filter(([other]) => other !== path) ?? [];
    const holders = [...others, [path, object] as const];
    this.#holders.set(key, others.length === 0 ? holders : holders.sort(([a], [b]) => (a < b ? -1 : 1)));
    this.#update(kind, name);
  }
  #release(path: string, object: FileObject): void {
    const { kind, name } = object;
    const holders = this.holdersOf(kind, name);
    const others = holders.filter((holder) => holder[1] !== object || holder[0] !== path);
    // It may have changed, and be there as another.
    if (others.length === holders.length) return;
    this.#holders.set(`${kind}/${name}`, others);
    this.#update(kind, name);
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
