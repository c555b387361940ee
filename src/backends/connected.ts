/** Arithmetic on prefixes that the choice of an underlay link needs. */
import { contains, nthSubnet, overlaps, type Prefix, prefixLength } from '#net/prefix.ts';

/** The part of `outer` that is not in `inner`, as the fewest prefixes. */
export function subtract(outer: Prefix, inner: Prefix): Prefix[] {
  if (!overlaps(outer, inner)) return [outer];
  if (contains(inner, outer)) return [];
  const half = prefixLength(outer) + 1;
  return [0n, 1n].flatMap((index) => subtract(nthSubnet(outer, half, index), inner));
}
