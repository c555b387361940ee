import { FAMILIES, type Family } from './address.ts';

/** Something for IPv4, for IPv6, or for both; a family that is not in use is absent. */
export type PerFamily<T> = { readonly 4?: T; readonly 6?: T };

export function families(value: PerFamily<unknown>): Family[] {
  return FAMILIES.filter((family) => value[family] !== undefined);
}

/** Built by asking for each family; families answered with undefined stay absent. */
export function perFamily<T>(make: (family: Family) => T | undefined): PerFamily<T> {
  const four = make(4);
  const six = make(6);
  return { ...(four === undefined ? {} : { 4: four }), ...(six === undefined ? {} : { 6: six }) };
}

export function mapFamilies<A, B>(value: PerFamily<A>, make: (item: A, family: Family) => B): PerFamily<B> {
  return perFamily((family) => {
    const item = value[family];
    return item === undefined ? undefined : make(item, family);
  });
}

export function familyValues<T>(value: PerFamily<T>): T[] {
  return [value[4], value[6]].filter((item) => item !== undefined);
}
