/** Cells joined to what a reader calls traffic: `tcp/80-90`, `icmp type 8`, `all but tcp, udp`. */
import { PROTOCOL } from '#model/policy.ts';
import type { Span } from '#model/policy-program.ts';
import type { Family } from '#net/address.ts';
import { limitOf } from '../compile/grid.ts';
import { isIcmp } from '../compile/grid.ts';
import type { Cell } from './cuts.ts';

/** Ranges are inclusive; absent: all. */
export type TrafficSpan = {
  /** Its name or number; `any`: all traffic; `other`: all protocols but those in `except`. */
  readonly protocol: string;
  readonly except?: readonly string[];
  readonly ports?: Span;
  readonly sourcePorts?: Span;
  readonly types?: Span;
  readonly codes?: Span;
};

/** `tcp`, or the number where there is no name. */
export function protocolName(protocol: number): string {
  return Object.entries(PROTOCOL).find(([, number]) => number === protocol)?.[0] ?? String(protocol);
}

/** ICMP of the other family does not occur. */
export function occurs({ protocol }: Cell, family: Family): boolean {
  return protocol !== (family === 4 ? PROTOCOL.icmpv6 : PROTOCOL.icmp);
}

/** `cells` out of `all`, in their order. */
export function joinCells(cells: readonly Cell[], all: readonly Cell[]): TrafficSpan[] {
  if (cells.length === all.length) return [{ protocol: 'any' }];
  const byProtocol = [...Map.groupBy(cells, ({ protocol }) => protocol)];
  const [others, own] = [
    byProtocol.filter(([each]) => each === undefined),
    byProtocol.filter(([each]) => each !== undefined),
  ];
  return [...own, ...others].flatMap(([protocol, found]): TrafficSpan[] => {
    if (protocol !== undefined) return joinProtocol(protocol, found);
    const named = [...new Set(all.flatMap((cell) => cell.protocol ?? []))].map(protocolName);
    return [{ protocol: 'other', except: named }];
  });
}

type Column = { readonly x: Span; readonly ys: readonly Span[] };

function joinProtocol(protocol: number, cells: readonly Cell[]): TrafficSpan[] {
  const limit = limitOf(protocol);
  const columns = [...Map.groupBy(cells, ({ x }) => x[0]).values()].map((own): Column => ({
    x: own[0]?.x ?? [0, limit],
    ys: joinSpans(own.map(({ y }) => y)),
  }));
  const name = protocolName(protocol);
  const [across, down] = isIcmp(protocol)
    ? (['types', 'codes'] as const)
    : (['ports', 'sourcePorts'] as const);
  const spanned = (key: keyof TrafficSpan, [from, to]: Span): Partial<TrafficSpan> =>
    from === 0 && to === limit ? {} : { [key]: [from, to] };
  return joinColumns(columns).flatMap(({ x, ys }) =>
    ys.map((y): TrafficSpan => ({ protocol: name, ...spanned(across, x), ...spanned(down, y) })),
  );
}

function joinColumns(columns: readonly Column[]): Column[] {
  const joined: Column[] = [];
  for (const column of columns) {
    const last = joined.at(-1);
    const isNext = last !== undefined && last.x[1] + 1 === column.x[0];
    if (isNext && String(last.ys) === String(column.ys)) {
      joined[joined.length - 1] = { x: [last.x[0], column.x[1]], ys: last.ys };
    } else joined.push(column);
  }
  return joined;
}

function joinSpans(spans: readonly Span[]): Span[] {
  const joined: Span[] = [];
  for (const span of spans) {
    const last = joined.at(-1);
    if (last !== undefined && last[1] + 1 === span[0]) joined[joined.length - 1] = [last[0], span[1]];
    else joined.push(span);
  }
  return joined;
}

/** In one line; ports of one protocol stand together. */
export function showTraffic(spans: readonly TrafficSpan[]): string {
  return [...Map.groupBy(spans, showRest)]
    .map(([rest, own]) => {
      const ports = own.flatMap(({ ports, types }) => ports ?? types ?? []);
      const list = own.map(({ ports, types }) => showSpan(ports ?? types)).filter((text) => text !== '');
      const [protocol = '', ...more] = rest.split('|');
      const shown =
        ports.length === 0
          ? protocol
          : `${protocol}${own[0]?.types === undefined ? '/' : ' type '}${list.join(',')}`;
      return [shown, ...more].join(' ');
    })
    .join(', ');
}

function showRest({ protocol, except, sourcePorts, codes }: TrafficSpan): string {
  if (protocol === 'any') return 'all traffic';
  if (protocol === 'other') return except?.length === 0 ? 'all traffic' : `all but ${except?.join(' ')}`;
  const source = sourcePorts === undefined ? '' : `|from port ${showSpan(sourcePorts)}`;
  return `${protocol}${source}${codes === undefined ? '' : `|code ${showSpan(codes)}`}`;
}

function showSpan(span: Span | undefined): string {
  if (span === undefined) return '';
  return span[0] === span[1] ? String(span[0]) : `${span[0]}-${span[1]}`;
}
