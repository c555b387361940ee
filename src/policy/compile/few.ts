/**
 * Multimaps of which nearly every key has one value, as addresses have one owner: a set for each of 50,000 of them would be
 * 12 MB. No list is ever empty, none has a value twice.
 */
export type Few<K, V> = Map<K, readonly V[]>;

export function addFew<K, V>(map: Few<K, V>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else if (!values.includes(value)) map.set(key, [...values, value]);
}

export function removeFew<K, V>(map: Few<K, V>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined || !values.includes(value)) return;
  if (values.length === 1) map.delete(key);
  else
    map.set(
      key,
      values.filter((each) => each !== value),
    );
}
