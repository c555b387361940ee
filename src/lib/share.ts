/** Values that come again, mostly as they were. */

/**
 * `now`, with every part that says the same as in `before` being the object that it was there: who compares by identity
 * sees what has changed, and what was only read again is garbage at once. Of plain values, as JSON has them; neither is
 * changed. In a list the parts in front of the change and behind it are found.
 */
export function share<T>(before: unknown, now: T): T {
  if (before === now || !isObject(before) || !isObject(now)) return now;
  if (Array.isArray(before) && Array.isArray(now)) return shareList(before, now) as T;
  return Array.isArray(before) || Array.isArray(now) ? now : (shareMap(before, now) as T);
}

type PlainMap = Readonly<Record<string, unknown>>;

function shareMap(before: PlainMap, now: PlainMap): PlainMap {
  const keys = Object.keys(now);
  const values = keys.map((key) => (Object.hasOwn(before, key) ? share(before[key], now[key]) : now[key]));
  const isSame =
    keys.length === Object.keys(before).length &&
    keys.every((key, at) => Object.hasOwn(before, key) && before[key] === values[at]);
  return isSame ? before : Object.fromEntries(keys.map((key, at) => [key, values[at]]));
}

function shareList(before: readonly unknown[], now: readonly unknown[]): readonly unknown[] {
  const shared = [...now];
  const shorter = Math.min(before.length, now.length);
  let front = 0;
  for (; front < shorter; front += 1) {
    shared[front] = share(before[front], now[front]);
    if (shared[front] !== before[front]) break;
  }
  for (let back = 1; back <= shorter - front; back += 1) {
    shared[now.length - back] = share(before[before.length - back], now[now.length - back]);
    if (shared[now.length - back] !== before[before.length - back]) break;
  }
  return front === now.length && now.length === before.length ? before : shared;
}

function isObject(value: unknown): value is PlainMap {
  return typeof value === 'object' && value !== null;
}
