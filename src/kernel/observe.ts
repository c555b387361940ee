/** The kernel's tables as items: all that is ours, what was asked for besides, and the underlay. */
import type {
  AddressItem,
  FdbItem,
  Item,
  LinkItem,
  NeighborItem,
  ProxyItem,
  RouteItem,
  RuleItem,
  StationItem,
} from '#model/host.ts';
import { MAIN_TABLE, ROUTE_PROTOCOL } from '#model/numbers.ts';
import { FAMILIES } from '#net/address.ts';
import type { Underlay, UnderlayLink, UnderlayRoute } from '#model/underlay.ts';
import type { Interest } from './kernel.ts';
import {
  addressItem,
  type AddressRow,
  isOurAddress,
  readAddress,
  RTM_GETADDR,
  underlayAddress,
} from './netlink/address.ts';
import { askLinks, IFF } from './netlink/link.ts';
import { linkItem, type LinkRow, readLink } from './netlink/link-row.ts';
import { NLM_F_DUMP } from './netlink/message.ts';
import {
  AF_BRIDGE,
  askNeighbors,
  askProxies,
  type NeighborRow,
  readNeighbor,
  readProxy,
} from './netlink/neighbor.ts';
import { askRoutes, isLearnedRoute, isOurRoute, readRoute, type RouteRow } from './netlink/route.ts';
import { askRules, readRule } from './netlink/rule.ts';
import type { Scope } from './scope.ts';
import { readSysctl } from './sysctl.ts';

const AF_UNSPEC = 0;

/** Links, addresses, neighbours, forwarding entries, routes, rules and sysctls; other kinds have their own observers. */
export function observeNetlink(scope: Scope, interest: Interest): Item[] {
  scope.names.forget();
  const rows = dumpLinks(scope);
  const ours = new Map(rows.filter((row) => row.ours).map((row) => [row.index, row]));
  const named = rows.filter((row) => row.ours || interest.foreignLinks.includes(row.name));
  return [
    ...scope.run(() => interest.sysctls.map(readSysctl).filter((item) => item !== undefined)),
    ...named.map((row): LinkItem => linkItem(row, scope.links)),
    ...observeAddresses(scope, ours),
    ...rows
      .filter((row) => row.ours && row.kind === 'wireguard')
      .flatMap((row) => scope.wireguard.peers(row.name)),
    ...scope.fou.ports(),
    ...observeNeighbors(scope, ours, AF_UNSPEC),
    ...observeNeighbors(scope, ours, AF_BRIDGE),
    ...observeProxies(scope),
    ...observeRoutes(scope),
    ...observeRules(scope),
  ];
}

/** All links; the scope learns their names. */
export function dumpLinks({ socket, writer, names }: Scope): LinkRow[] {
  writer.clear();
  askLinks(writer, NLM_F_DUMP);
  const rows = socket.dump(writer, readLink);
  for (const row of rows) names.learn(row.index, row.name);
  return rows;
}

/** All addresses of both families. */
export function dumpAddresses({ socket, writer }: Scope): AddressRow[] {
  writer.clear();
  writer.begin(RTM_GETADDR, NLM_F_DUMP);
  writer.put32(0);
  writer.put32(0);
  writer.end();
  return socket.dump(writer, readAddress);
}

function observeAddresses(scope: Scope, ours: ReadonlyMap<number, LinkRow>): AddressItem[] {
  return dumpAddresses(scope).flatMap((row) => {
    const link = scope.names.name(row.index);
    return link !== undefined && isOurAddress(row, ours.has(row.index)) ? [addressItem(row, link)] : [];
  });
}

/** Whether the entry is ours, given the link that it is on if that is ours. */
export function isOurNeighbor(row: NeighborRow, link: LinkRow | undefined): boolean {
  if (!row.permanent) return false;
  if (row.entry.kind === 'fdb') return link?.vxlan !== undefined;
  return link !== undefined || (row.entry.kind === 'neighbor' && row.marked);
}

export function neighborItem(row: NeighborRow, link: string): NeighborItem | FdbItem | StationItem {
  return { ...row.entry, link };
}

function observeNeighbors(
  scope: Scope,
  ours: ReadonlyMap<number, LinkRow>,
  family: number,
): (NeighborItem | FdbItem | StationItem)[] {
  const { socket, writer, names } = scope;
  writer.clear();
  askNeighbors(writer, family, NLM_F_DUMP);
  return socket.dump(writer, (message) => {
    const row = readNeighbor(message);
    if (row === undefined || !isOurNeighbor(row, ours.get(row.index))) return undefined;
    const link = names.name(row.index);
    return link === undefined ? undefined : neighborItem(row, link);
  });
}

function observeProxies({ socket, writer, names }: Scope): ProxyItem[] {
  writer.clear();
  askProxies(writer, NLM_F_DUMP);
  return socket.dump(writer, (message) => {
    const row = readProxy(message);
    const link = row === undefined ? undefined : names.name(row.index);
    return row === undefined || link === undefined
      ? undefined
      : { kind: 'proxy', link, address: row.address };
  });
}

/** Undefined when the route's link is gone. */
export function routeItem(row: RouteRow, scope: Pick<Scope, 'names'>): RouteItem | undefined {
  if (row.index === undefined) return row.item;
  const link = scope.names.name(row.index);
  return link === undefined ? undefined : { ...row.item, link };
}

/** Our routes of both families, in every table. */
export function observeRoutes(scope: Scope): RouteItem[] {
  const { socket, writer } = scope;
  return FAMILIES.flatMap((family) => {
    writer.clear();
    askRoutes(writer, NLM_F_DUMP, family, ROUTE_PROTOCOL);
    return socket.dump(writer, (message) => {
      const row = isOurRoute(message) ? readRoute(message) : undefined;
      return row === undefined ? undefined : routeItem(row, scope);
    });
  });
}

function observeRules({ socket, writer }: Scope): RuleItem[] {
  return FAMILIES.flatMap((family) => {
    writer.clear();
    askRules(writer, NLM_F_DUMP, family);
    return socket.dump(writer, readRule);
  });
}

export function observeUnderlay(scope: Scope): Underlay {
  scope.names.forget();
  const rows = dumpLinks(scope);
  const addresses = Map.groupBy(dumpAddresses(scope), (row) => row.index);
  const links = rows.map((row) => underlayLink(row, addresses.get(row.index) ?? []));
  return { links, routes: underlayRoutes(scope) };
}

function underlayLink(row: LinkRow, addresses: readonly AddressRow[]): UnderlayLink {
  const has = (flag: number): boolean => (row.flags & flag) !== 0;
  return {
    name: row.name,
    index: row.index,
    mtu: row.mtu,
    up: has(IFF.up),
    loopback: has(IFF.loopback),
    pointToPoint: has(IFF.pointToPoint),
    ours: row.ours,
    addresses: addresses.map(underlayAddress),
    ...(row.kind === undefined ? {} : { type: row.kind }),
    ...(row.mac === undefined ? {} : { mac: row.mac }),
  };
}

function underlayRoutes(scope: Scope): UnderlayRoute[] {
  const { socket, writer, names } = scope;
  return FAMILIES.flatMap((family) => {
    writer.clear();
    askRoutes(writer, NLM_F_DUMP, family);
    return socket.dump(writer, (message) => {
      const row = isOurRoute(message) ? undefined : readRoute(message);
      if (row?.index === undefined || row.item.table !== MAIN_TABLE) return undefined;
      // What BIRD learns comes by the underlay: it cannot say which link that is.
      if (isLearnedRoute(message, row)) return undefined;
      const link = names.name(row.index);
      const { prefix, metric, via } = row.item;
      return link === undefined ? undefined : { prefix, link, metric, ...(via === undefined ? {} : { via }) };
    });
  });
}
