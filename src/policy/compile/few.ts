/**
 * Multimaps of which nearly every key has one value, as addresses have one owner: it stands there by itself. Of 50,000 of them,
 * sets would be 12 MB, and lists 3. No list has less than two values, none has one twice, and no value is a list.
 */
export type Few<K, V extends object | string> = Map<K, V | readonly V[]>;

/** Answers whether it is new. */
export function addFew<K, V extends object | string>(map: Few<K, V>, key: K, value: V): boolean {
  const values = listFew(map, key);
  if (values.includes(value)) return false;
  map.set(key, values.length === 0 ? value : [...values, value]);
  return true;
}

/** Answers whether it was there. */
export function removeFew<K, V extends object | string>(map: Few<K, V>, key: K, value: V): boolean {
  const values = listFew(map, key);
  if (!values.includes(value)) return false;
  const rest = someOf(values.filter((each) => each !== value));
  if (rest === undefined) map.delete(key);
  else map.set(key, rest);
  return true;
}

/** Empty where the key has none. */
export function listFew<K, V extends object | string>(map: Few<K, V>, key: K): readonly V[] {
  return listOf(map.get(key));
}

/** None, one that stands by itself, or several. */
export type Some<V extends object | string> = undefined | V | readonly V[];

export function listOf<V extends object | string>(some: Some<V>): readonly V[] {
  if (some === undefined) return [];
  return isList(some) ? some : [some];
}

export function someOf<V extends object | string>(list: readonly V[]): Some<V> {
  return list.length > 1 ? list : list[0];
}

function isList<V extends object | string>(values: V | readonly V[]): values is readonly V[] {
  return Array.isArray(values);
}
