/**
 * Values by key that are also shown as a whole, as a sorted list or as a map. What is shown is never changed in place,
 * and is the same object for as long as nothing in it changes; a value that comes again with the same content stays the
 * object that it was.
 */
import { amendMap } from './layered-map.ts';

/** 0 only for values of the same key. */
export type Compare<T> = (a: T, b: T) => number;

/** Of plain values: what JSON can say, and Infinity. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!isObject(a) || !isObject(b)) return false;
  if (Array.isArray(a) || Array.isArray(b)) return isSameList(a, b);
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isSame(a[key], b[key]))
  );
}

function isSameList(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  return a.every((value, index) => isSame(value, b[index]));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** The list of those that hold nothing yet. */
export const NOTHING: readonly never[] = [];

export class SortedList<T extends object> {
  readonly #compare: Compare<T>;
  readonly #gone = new Set<T>();
  readonly #come = new Set<T>();
  #list: readonly T[] = NOTHING;

  constructor(compare: Compare<T>) {
    this.#compare = compare;
  }

  add(value: T): void {
    if (!this.#gone.delete(value)) this.#come.add(value);
  }
  /** The very object that is there. */
  remove(value: T): void {
    if (!this.#come.delete(value)) this.#gone.add(value);
  }

  list(): readonly T[] {
    if (this.#gone.size + this.#come.size === 0) return this.#list;
    this.#list = amend(this.#list, { gone: [...this.#gone], come: [...this.#come] }, this.#compare);
    this.#gone.clear();
    this.#come.clear();
    return this.#list;
  }
}

/** By key, in a list that others may have values in too. */
export class SortedValues<T extends object> {
  readonly #sorted: SortedList<T>;
  readonly #listed = new Map<string, T>();
  readonly #changed = new Map<string, T | undefined>();

  constructor(sorted: SortedList<T>) {
    this.#sorted = sorted;
  }

  put(key: string, value: T | undefined): void {
    if (isSame(this.#listed.get(key), value)) this.#changed.delete(key);
    else this.#changed.set(key, value);
  }

  list(): readonly T[] {
    for (const [key, value] of this.#changed) {
      const before = this.#listed.get(key);
      if (before !== undefined) this.#sorted.remove(before);
      if (value === undefined) this.#listed.delete(key);
      else {
        this.#listed.set(key, value);
        this.#sorted.add(value);
      }
    }
    this.#changed.clear();
    return this.#sorted.list();
  }
}

/** A sorted list without what is gone and with what has come. */
function amend<T>(
  list: readonly T[],
  { gone, come }: { readonly gone: readonly T[]; readonly come: readonly T[] },
  compare: Compare<T>,
): readonly T[] {
  const edit = (value: T, came: readonly T[]) => ({ at: placeOf(list, value, compare), came });
  const edits = [
    ...come.toSorted(compare).map((value) => edit(value, [value])),
    ...gone.map((value) => edit(value, [])),
  ].sort((a, b) => a.at - b.at || b.came.length - a.came.length);
  let next = 0;
  const parts = edits.flatMap(({ at, came }) => {
    const kept = list.slice(next, at);
    next = came.length === 0 ? at + 1 : at;
    return [kept, came];
  });
  return join([...parts, list.slice(next)]);
}

/** Arguments of a call are on the stack. */
const AT_ONCE = 10_000;

function join<T>(parts: readonly (readonly T[])[]): readonly T[] {
  let joined: T[] = [];
  for (let at = 0; at < parts.length; at += AT_ONCE) joined = joined.concat(...parts.slice(at, at + AT_ONCE));
  return joined;
}

/** Of the value, or of the first that comes after it. */
function placeOf<T>(list: readonly T[], value: T, compare: Compare<T>): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(list[middle] as T, value) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class MappedValues<T extends object> {
  #map: ReadonlyMap<string, T> = new Map();
  readonly #changed = new Map<string, T | undefined>();

  put(key: string, value: T | undefined): void {
    if (isSame(this.#map.get(key), value)) this.#changed.delete(key);
    else this.#changed.set(key, value);
  }

  map(): ReadonlyMap<string, T> {
    if (this.#changed.size === 0) return this.#map;
    this.#map = amendMap(this.#map, this.#changed);
    this.#changed.clear();
    return this.#map;
  }
}

export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
