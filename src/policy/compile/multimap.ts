/** Maps from a key to a set of values, where no set is ever empty. */
export type Multimap<K, V> = Map<K, Set<V>>;

export function addTo<K, V>(map: Multimap<K, V>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, new Set([value]));
  else values.add(value);
}

export function removeFrom<K, V>(map: Multimap<K, V>, key: K, value: V): void {
  const values = map.get(key);
  values?.delete(value);
  if (values?.size === 0) map.delete(key);
}
