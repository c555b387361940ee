/** What `show bfd sessions` says. */
import type { SeenBfd } from '#model/routing.ts';
import { parseAddress } from '#net/address.ts';
import type { Reply } from './reply.ts';

/** Address, interface or `---`, state, since (date and time), interval and timeout in seconds. */
const ROW = /^(\S+)\s+(\S+)\s+(AdminDown|Down|Init|Up)\s+(\d{4}-\d\d-\d\d \S+|\S+)\s+([\d.]+)\s+([\d.]+)$/;

export function readBfd({ lines }: Reply): SeenBfd[] {
  return lines.flatMap(({ code, text }) => (code === 1020 ? (readRow(text) ?? []) : []));
}

function readRow(text: string): SeenBfd | undefined {
  const [, address = '', link = '', state, since = '', interval, timeout] = ROW.exec(text.trim()) ?? [];
  const neighbour = parseAddress(address);
  if (neighbour === undefined) return undefined;
  return {
    neighbour,
    ...(link === '---' ? {} : { interface: link }),
    state: state as SeenBfd['state'],
    since,
    intervalMs: Math.round(Number(interval) * 1000),
    timeoutMs: Math.round(Number(timeout) * 1000),
  };
}
