/** Routes over rtnetlink (include/uapi/linux/rtnetlink.h), marked by our rtm_protocol. */
import { addressBits, addressFromBytes, type Family } from '#net/address.ts';
import type { RouteItem } from '#model/host.ts';
import type { ProviderRoute } from '#model/provider.ts';
import { BIRD_ROUTE_PROTOCOL, MAIN_TABLE, METRIC, ROUTE_PROTOCOL } from '#model/numbers.ts';
import { type Prefix, prefixAddress, prefixFamily, prefixLength } from '#net/prefix.ts';
import {
  Attributes,
  type Message,
  type MessageWriter,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from './message.ts';
import type { LinkNames } from './names.ts';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

const AF_INET = 2;
const AF_INET6 = 10;
const HEADER = 12;
const RTA = { dst: 1, oif: 4, gateway: 5, priority: 6, source: 7, metrics: 8, table: 15 } as const;
const RTAX_MTU = 2;
const RTAX_ADVMSS = 8;
const RTN_UNSPEC = 0;
const RTN_UNICAST = 1;
const RTN_BLACKHOLE = 6;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_NOWHERE = 255;
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;

/** Of programs that say nothing of themselves. */
const RTPROT_BOOT = 3;

type Header = { readonly scope: number; readonly flags?: number; readonly protocol?: number };

function header(
  writer: MessageWriter,
  item: RouteItem,
  { scope, flags = 0, protocol = ROUTE_PROTOCOL }: Header,
): void {
  writer.put8(prefixFamily(item.prefix) === 4 ? AF_INET : AF_INET6);
  writer.put8(prefixLength(item.prefix));
  writer.put8(0);
  writer.put8(0);
  writer.put8(item.table < 256 ? item.table : 0);
  writer.put8(protocol);
  writer.put8(scope);
  writer.put8(item.type === 'blackhole' ? RTN_BLACKHOLE : RTN_UNICAST);
  writer.put32(flags);
  writer.u32(RTA.table, item.table);
  if (prefixLength(item.prefix) > 0) writer.address(RTA.dst, prefixAddress(item.prefix));
  if (item.metric !== 0) writer.u32(RTA.priority, item.metric);
}

type PutMode = 'add' | 'replace' | 'give';

/**
 * `add` refuses (EEXIST) when any route has the same prefix and metric, `replace` changes that one; `give` adds one that is
 * nobody's.
 */
export function putRoute(writer: MessageWriter, item: RouteItem, names: LinkNames, mode: PutMode): void {
  writer.begin(RTM_NEWROUTE, NLM_F_CREATE | (mode === 'replace' ? NLM_F_REPLACE : NLM_F_EXCL));
  header(writer, item, headerOf(item, mode));
  if (item.link !== undefined) writer.u32(RTA.oif, names.index(item.link));
  if (item.via !== undefined) writer.address(RTA.gateway, item.via);
  if (item.source !== undefined) writer.address(RTA.source, item.source);
  if (item.mtu !== undefined || item.advmss !== undefined) putMetrics(writer, item);
  writer.end();
}

function headerOf({ type, via, onlink }: RouteItem, mode: PutMode): Header {
  const isDirect = type === 'unicast' && via === undefined;
  return {
    scope: isDirect ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
    flags: onlink === true ? RTNH_F_ONLINK : 0,
    protocol: mode === 'give' ? RTPROT_BOOT : ROUTE_PROTOCOL,
  };
}

function putMetrics(writer: MessageWriter, { mtu, advmss }: RouteItem): void {
  writer.nest(RTA.metrics, () => {
    if (mtu !== undefined) writer.u32(RTAX_MTU, mtu);
    if (advmss !== undefined) writer.u32(RTAX_ADVMSS, advmss);
  });
}

/** Only a route of our protocol is removed. */
export function removeRoute(writer: MessageWriter, item: RouteItem): void {
  writer.begin(RTM_DELROUTE, 0);
  header(writer, item, { scope: RT_SCOPE_NOWHERE });
  writer.end();
}

/** A route that BIRD wrote, as `isLearnedRoute` has it. */
export function removeLearnedRoute(writer: MessageWriter, { prefix, table, metric }: RouteItem): void {
  writer.begin(RTM_DELROUTE, 0);
  writer.put8(prefixFamily(prefix) === 4 ? AF_INET : AF_INET6);
  writer.put8(prefixLength(prefix));
  for (const byte of [0, 0, table, BIRD_ROUTE_PROTOCOL, RT_SCOPE_NOWHERE, RTN_UNSPEC]) writer.put8(byte);
  writer.put32(0);
  if (prefixLength(prefix) > 0) writer.address(RTA.dst, prefixAddress(prefix));
  writer.u32(RTA.priority, metric);
  writer.end();
}

/** A route of another program, exactly that one. */
export function removeForeignRoute(
  writer: MessageWriter,
  { prefix, metric, protocol, via, link }: ProviderRoute,
  names: LinkNames,
): void {
  writer.begin(RTM_DELROUTE, 0);
  writer.put8(prefixFamily(prefix) === 4 ? AF_INET : AF_INET6);
  writer.put8(prefixLength(prefix));
  for (const byte of [0, 0, MAIN_TABLE, protocol, RT_SCOPE_NOWHERE, RTN_UNSPEC]) writer.put8(byte);
  writer.put32(0);
  if (prefixLength(prefix) > 0) writer.address(RTA.dst, prefixAddress(prefix));
  if (metric !== 0) writer.u32(RTA.priority, metric);
  writer.u32(RTA.oif, names.index(link));
  if (via !== undefined) writer.address(RTA.gateway, via);
  writer.end();
}

/** A dump request; with a protocol the kernel leaves out routes of others. */
export function askRoutes(writer: MessageWriter, flags: number, family: Family, protocol = 0): void {
  writer.begin(RTM_GETROUTE, flags);
  writer.put8(family === 4 ? AF_INET : AF_INET6);
  for (let byte = 1; byte < HEADER; byte += 1) writer.put8(byte === 5 ? protocol : 0);
  writer.end();
}

/** A unicast or blackhole route as the kernel has it; `link` is still an index. */
export type RouteRow = {
  readonly ours: boolean;
  readonly index: number | undefined;
  readonly item: Omit<RouteItem, 'link'>;
};

export function isOurRoute({ bytes, at }: Message): boolean {
  return bytes.readUInt8(at + 5) === ROUTE_PROTOCOL;
}

/** Of this node's BIRD; an operator's own has another metric. */
export function isLearnedRoute({ bytes, at }: Message, { item }: RouteRow): boolean {
  const ofBird = bytes.readUInt8(at + 5) === BIRD_ROUTE_PROTOCOL;
  return ofBird && item.table === MAIN_TABLE && item.metric === METRIC.learned;
}

/** Undefined for local, broadcast, cloned and other routes that nobody here plans with. */
export function readRoute(message: Message): RouteRow | undefined {
  const { bytes, at, end } = message;
  const kind = bytes.readUInt8(at + 7);
  if (kind !== RTN_UNICAST && kind !== RTN_BLACKHOLE) return undefined;
  const flags = bytes.readUInt32LE(at + 8);
  if ((flags & RTM_F_CLONED) !== 0) return undefined;
  const attributes = new Attributes(bytes, at + HEADER, end);
  const base = {
    kind: 'route' as const,
    prefix: readPrefix(bytes.readUInt8(at) === AF_INET ? 4 : 6, attributes, bytes.readUInt8(at + 1)),
    table: attributes.u32(RTA.table) ?? MAIN_TABLE,
    metric: attributes.u32(RTA.priority) ?? 0,
  };
  const ours = isOurRoute(message);
  // IPv6 shows blackholes on lo: an accident of how it stores them.
  if (kind === RTN_BLACKHOLE) return { ours, index: undefined, item: { ...base, type: 'blackhole' } };
  const onlink = (flags & RTNH_F_ONLINK) !== 0;
  const item = { ...base, type: 'unicast' as const, onlink, ...readDetails(attributes) };
  return { ours, index: attributes.u32(RTA.oif), item };
}

function readPrefix(family: Family, attributes: Attributes, length: number): Prefix {
  const raw = attributes.data(RTA.dst) ?? new Uint8Array(addressBits(family) / 8);
  return `${addressFromBytes(raw)}/${length}` as Prefix;
}

function readDetails(attributes: Attributes): Pick<RouteItem, 'via' | 'source' | 'mtu' | 'advmss'> {
  const via = attributes.data(RTA.gateway);
  const source = attributes.data(RTA.source);
  const metrics = attributes.nest(RTA.metrics);
  const mtu = metrics?.u32(RTAX_MTU);
  const advmss = metrics?.u32(RTAX_ADVMSS);
  return {
    ...(via === undefined ? {} : { via: addressFromBytes(via) }),
    ...(source === undefined ? {} : { source: addressFromBytes(source) }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(advmss === undefined ? {} : { advmss }),
  };
}
