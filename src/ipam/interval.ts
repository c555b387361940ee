/** Closed intervals of integers, for address arithmetic. Lists are sorted, disjoint and hold no empty interval. */
export type Interval = { readonly from: bigint; readonly to: bigint };

/** The sorted, disjoint list that covers the same numbers. */
export function unionIntervals(intervals: readonly Interval[]): Interval[] {
  const sorted = intervals
    .filter(({ from, to }) => from <= to)
    .sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
  const union: Interval[] = [];
  for (const { from, to } of sorted) {
    const last = union.at(-1);
    if (last === undefined || from > last.to + 1n) union.push({ from, to });
    else if (to > last.to) union[union.length - 1] = { from: last.from, to };
  }
  return union;
}

/** The list without the numbers of the hole. */
export function subtractInterval(intervals: readonly Interval[], hole: Interval): Interval[] {
  return intervals
    .flatMap(({ from, to }) => {
      if (hole.to < from || hole.from > to) return [{ from, to }];
      return [
        { from, to: hole.from - 1n },
        { from: hole.to + 1n, to },
      ];
    })
    .filter(({ from, to }) => from <= to);
}

export function countIntervals(intervals: readonly Interval[]): bigint {
  return intervals.reduce((sum, { from, to }) => sum + to - from + 1n, 0n);
}

/** Every number once: from `start` to the end of the list, then from its beginning up to `start`. */
export function* walkIntervals(intervals: readonly Interval[], start = 0n): Generator<bigint, undefined> {
  const before = { from: -1n, to: start - 1n };
  const late = start <= 0n ? intervals : subtractInterval(intervals, before);
  const early = intervals
    .map(({ from, to }) => ({ from, to: to < start ? to : start - 1n }))
    .filter(({ from, to }) => from <= to);
  for (const { from, to } of [...late, ...early]) {
    for (let value = from; value <= to; value += 1n) yield value;
  }
}
