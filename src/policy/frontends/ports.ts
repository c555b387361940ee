/** Lists of ports as sets of traffic, in one canonical form: one set per protocol, ranges sorted and merged. */
import { type Clause, type End, type PortRange, PROTOCOL, type TrafficSet } from '#model/policy.ts';

export const PROTOCOLS = { TCP: PROTOCOL.tcp, UDP: PROTOCOL.udp, SCTP: PROTOCOL.sctp } as const;
export type ProtocolName = keyof typeof PROTOCOLS;

/** One line of such a list. Neither name nor range: all of the protocol. A name without protocol: whatever it is for. */
export type PortLine = { readonly protocol?: number; readonly name?: string; readonly range?: PortRange };

/** No lines: all traffic, and no clause. */
export function destinationPorts(lines: readonly PortLine[]): Clause<TrafficSet>[] {
  return lines.length === 0 ? [] : [{ anyOf: portSets(lines, 'destination') }];
}

export function portSets(lines: readonly PortLine[], end: End): TrafficSet[] {
  return [...Map.groupBy(lines, ({ protocol }) => protocol)]
    .sort(([a = 0], [b = 0]) => a - b)
    .flatMap(([protocol, group]) => setsOf(protocol, group, end));
}

function setsOf(protocol: number | undefined, lines: readonly PortLine[], end: End): TrafficSet[] {
  const isWhole = lines.some(({ name, range }) => name === undefined && range === undefined);
  if (protocol !== undefined && isWhole) return [{ kind: 'protocol', protocol }];
  const only = protocol === undefined ? {} : { protocol };
  const ranges = mergeRanges(lines.flatMap(({ range }) => range ?? []));
  const names = [...new Set(lines.flatMap(({ name }) => name ?? []))].sort();
  return [
    ...(ranges.length === 0 ? [] : [{ kind: 'ports', end, ...only, ranges } as const]),
    ...names.map((name) => ({ kind: 'named-port', end, ...only, name }) as const),
  ];
}

/** Ascending, neither overlapping nor touching. */
export function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const merged: PortRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.from - b.from)) {
    const last = merged.at(-1);
    if (last === undefined || range.from > last.to + 1) merged.push(range);
    else merged[merged.length - 1] = { from: last.from, to: Math.max(last.to, range.to) };
  }
  return merged;
}
