/**
 * A large map and the few entries in which it differs, as a map of its own: to copy thousands of entries for each one that changes
 * would cost more than all that follows from the change. Neither part is ever changed. The order is that of a copy: what
 * stays keeps its place, what comes stands at the end.
 */

/** Below so many entries a copy costs nothing that counts. */
const SMALL = 256;
/** The layer is at most this share of what it lies upon. */
const SHARE = 1 / 16;

type Changes<V> = ReadonlyMap<string, V | undefined>;

/** The map as it is after the changes, in which undefined removes; the map itself stays as it was. */
export function amendMap<V extends object>(
  map: ReadonlyMap<string, V>,
  changes: Changes<V>,
): ReadonlyMap<string, V> {
  const [base, before] = map instanceof LayeredMap ? [map.base as ReadonlyMap<string, V>, map.layer] : [map];
  const layer = new Map<string, V | undefined>(before as Changes<V> | undefined);
  for (const [key, value] of changes) {
    // What went and comes again is new.
    if (value !== undefined && layer.has(key) && layer.get(key) === undefined) return copyOf(map, changes);
    layer.set(key, value);
  }
  const isThin = base.size >= SMALL && layer.size <= base.size * SHARE;
  return isThin ? new LayeredMap(base, layer) : copyOf(map, changes);
}

function copyOf<V extends object>(map: ReadonlyMap<string, V>, changes: Changes<V>): ReadonlyMap<string, V> {
  const copy = new Map(map);
  for (const [key, value] of changes) {
    if (value === undefined) copy.delete(key);
    else copy.set(key, value);
  }
  return copy;
}

class LayeredMap<V extends object> implements ReadonlyMap<string, V> {
  readonly base: ReadonlyMap<string, V>;
  readonly layer: Changes<V>;
  readonly size: number;

  constructor(base: ReadonlyMap<string, V>, layer: Changes<V>) {
    this.base = base;
    this.layer = layer;
    let { size } = base;
    for (const [key, value] of layer) size += Number(value !== undefined) - Number(base.has(key));
    this.size = size;
  }
  get(key: string): V | undefined {
    return this.layer.has(key) ? this.layer.get(key) : this.base.get(key);
  }
  has(key: string): boolean {
    return this.layer.has(key) ? this.layer.get(key) !== undefined : this.base.has(key);
  }
  *entries(): Generator<[string, V], undefined> {
    for (const [key, value] of this.base) {
      const now = this.layer.has(key) ? this.layer.get(key) : value;
      if (now !== undefined) yield [key, now];
    }
    for (const [key, value] of this.layer) if (value !== undefined && !this.base.has(key)) yield [key, value];
  }
  *keys(): Generator<string, undefined> {
    for (const [key] of this.entries()) yield key;
  }
  *values(): Generator<V, undefined> {
    for (const [, value] of this.entries()) yield value;
  }
  [Symbol.iterator](): Generator<[string, V], undefined> {
    return this.entries();
  }
  forEach(act: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this.entries()) act(value, key, this);
  }
}
