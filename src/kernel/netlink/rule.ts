/** Rules that choose a routing table by source address and incoming link (include/uapi/linux/fib_rules.h), marked by our protocol. */
import { addressFromBytes, type Family } from '#net/address.ts';
import type { RuleItem } from '#model/host.ts';
import { ROUTE_PROTOCOL } from '#model/numbers.ts';
import { type Prefix, prefixAddress, prefixFamily, prefixLength } from '#net/prefix.ts';
import { Attributes, type Message, type MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from './message.ts';

export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
export const RTM_GETRULE = 34;

const AF_INET = 2;
const AF_INET6 = 10;
const HEADER = 12;
const FRA = { source: 2, iif: 3, priority: 6, table: 15, protocol: 21 } as const;
const FR_ACT_TO_TBL = 1;

function put(writer: MessageWriter, { from, iif, table, priority }: RuleItem): void {
  writer.put8(prefixFamily(from) === 4 ? AF_INET : AF_INET6);
  writer.put8(0);
  writer.put8(prefixLength(from));
  writer.put8(0);
  writer.put8(table < 256 ? table : 0);
  writer.put16(0);
  writer.put8(FR_ACT_TO_TBL);
  writer.put32(0);
  if (prefixLength(from) > 0) writer.address(FRA.source, prefixAddress(from));
  if (iif !== undefined) writer.str(FRA.iif, iif);
  writer.u32(FRA.priority, priority);
  writer.u32(FRA.table, table);
  writer.u8(FRA.protocol, ROUTE_PROTOCOL);
  writer.end();
}

/** Without NLM_F_EXCL the kernel would add the same rule once more: EEXIST says that it is there. */
export function putRule(writer: MessageWriter, item: RuleItem): void {
  writer.begin(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
  put(writer, item);
}

export function removeRule(writer: MessageWriter, item: RuleItem): void {
  writer.begin(RTM_DELRULE, 0);
  put(writer, item);
}

export function askRules(writer: MessageWriter, flags: number, family: Family): void {
  writer.begin(RTM_GETRULE, flags);
  writer.put8(family === 4 ? AF_INET : AF_INET6);
  for (let byte = 1; byte < HEADER; byte += 1) writer.put8(0);
  writer.end();
}

/** A rule of ours; undefined for everybody else's. */
export function readRule({ bytes, at, end }: Message): RuleItem | undefined {
  const attributes = new Attributes(bytes, at + HEADER, end);
  if (attributes.data(FRA.protocol)?.[0] !== ROUTE_PROTOCOL) return undefined;
  const any = Buffer.alloc(bytes.readUInt8(at) === AF_INET ? 4 : 16);
  const source = attributes.data(FRA.source) ?? any;
  const iif = attributes.str(FRA.iif);
  return {
    kind: 'rule',
    from: `${addressFromBytes(source)}/${bytes.readUInt8(at + 2)}` as Prefix,
    ...(iif === undefined ? {} : { iif }),
    table: attributes.u32(FRA.table) ?? bytes.readUInt8(at + 4),
    priority: attributes.u32(FRA.priority) ?? 0,
  };
}
