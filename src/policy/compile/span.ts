/** What differs between two long lists of which most is the same. */

/**
 * What is between the beginning and the end that both have in common. Where one value has come, gone or changed that is
 * all; others there may be the same, elsewhere.
 */
export function changedSpan<T>(
  before: readonly T[],
  now: readonly T[],
): { readonly gone: readonly T[]; readonly come: readonly T[] } {
  if (before === now) return { gone: [], come: [] };
  const least = Math.min(before.length, now.length);
  let start = 0;
  while (start < least && before[start] === now[start]) start += 1;
  let end = 0;
  while (end < least - start && before[before.length - 1 - end] === now[now.length - 1 - end]) end += 1;
  return { gone: before.slice(start, before.length - end), come: now.slice(start, now.length - end) };
}
