/**
 * What another provider made, looked at and made ours (or given back) while packets go by it: links change their name and
 * mark, and keep their number, addresses, routes and neighbours. Nothing but routes is created or removed.
 */
import type { HandOver, ProviderLink, ProviderRoute } from '#model/provider.ts';
import type { RouteItem } from '#model/host.ts';
import { LINK_ALIAS, MAIN_TABLE, METRIC } from '#model/numbers.ts';
import { FAMILIES } from '#net/address.ts';
import { IFF, IFLA, RTM_NEWLINK } from './netlink/link.ts';
import type { LinkRow } from './netlink/link-row.ts';
import { Attributes, type MessageWriter, NLM_F_DUMP } from './netlink/message.ts';
import { askRoutes, isOurRoute, putRoute, readRoute, removeForeignRoute } from './netlink/route.ts';
import { NetlinkError } from './netlink/socket.ts';
import { inNetns } from './netns.ts';
import { dumpAddresses, dumpLinks } from './observe.ts';
import { openScope, type Scope } from './scope.ts';

/** All links of a network namespace (absent: of the calling thread's), with their addresses and who is on the other side. */
export function lookAtLinks(netns?: number): ProviderLink[] {
  return inScope(netns, (scope) => {
    const rows = dumpLinks(scope);
    const names = new Map(rows.map(({ index, name }) => [index, name]));
    const addresses = Map.groupBy(dumpAddresses(scope), ({ index }) => index);
    return rows.map((row) => ({
      ...linkOf(row, names),
      addresses: (addresses.get(row.index) ?? [])
        .filter(({ scope: reach }) => reach === 0)
        .map((one) => one.address),
    }));
  });
}

const RTM_NEWNSID = 88;
const RTM_GETNSID = 90;
const NETNSA = { id: 1, fd: 3 } as const;
const NOT_ASSIGNED = 0xffff_ffff;

/** By which number links of the calling thread's namespace know the other one; undefined: none leads there. */
export function numberOfNetns(netns: number): number | undefined {
  return inScope(undefined, ({ socket, writer }) => {
    writer.clear();
    writer.begin(RTM_GETNSID, 0);
    writer.put32(0);
    writer.u32(NETNSA.fd, netns);
    writer.end();
    const [id = NOT_ASSIGNED] = socket.request(writer, ({ type, bytes, at, end }) =>
      type === RTM_NEWNSID ? new Attributes(bytes, at + 4, end).u32(NETNSA.id) : undefined,
    );
    return id === NOT_ASSIGNED ? undefined : id;
  });
}

/** Unicast routes of the main table that are not ours. */
export function lookAtRoutes(netns?: number): ProviderRoute[] {
  return inScope(netns, (scope) => {
    dumpLinks(scope);
    return FAMILIES.flatMap((family) => {
      scope.writer.clear();
      askRoutes(scope.writer, NLM_F_DUMP, family);
      return scope.socket.dump(scope.writer, (message) => {
        const row = isOurRoute(message) ? undefined : readRoute(message);
        if (row?.index === undefined || row.item.table !== MAIN_TABLE) return undefined;
        const link = scope.names.name(row.index);
        if (link === undefined) return undefined;
        const { prefix, metric, via, mtu } = row.item;
        return { prefix, metric, link, protocol: message.bytes.readUInt8(message.at + 5), via, mtu };
      });
    });
  });
}

/** Throws NetlinkError. Routes of links that had to go down for it come back by who wants them. */
export function renameLink(hand: HandOver): void {
  inScope(undefined, (scope) => {
    const row = dumpLinks(scope).find(({ name }) => name === hand.from);
    if (row === undefined) return;
    try {
      scope.writer.clear();
      putName(scope.writer, row.index, hand);
      scope.socket.request(scope.writer);
    } catch (error) {
      // Before Linux 6.2 a link that is up keeps its name.
      if (!(error instanceof NetlinkError) || error.code !== 'EBUSY') throw error;
      renameDown(scope, row, hand);
    }
  });
}

/** In one send: packets are lost for as long as the kernel takes for three messages. */
function renameDown(scope: Scope, { index }: LinkRow, hand: HandOver): void {
  const { writer, socket } = scope;
  writer.clear();
  putUp(writer, index, false);
  putName(writer, index, hand);
  putUp(writer, index, true);
  for (const refusal of socket.batch(writer).refusals.values()) throw new NetlinkError(refusal);
}

function putName(writer: MessageWriter, index: number, { from, to, ours }: HandOver): void {
  writer.begin(RTM_NEWLINK, 0);
  putHeader(writer, index, 0, 0);
  if (from !== to) writer.str(IFLA.name, to);
  writer.str(IFLA.alias, ours ? LINK_ALIAS : '');
  writer.end();
}

function putUp(writer: MessageWriter, index: number, up: boolean): void {
  writer.begin(RTM_NEWLINK, 0);
  putHeader(writer, index, up ? IFF.up : 0, IFF.up);
  writer.end();
}

function putHeader(writer: MessageWriter, index: number, flags: number, change: number): void {
  writer.put32(0);
  writer.put32(index);
  writer.put32(flags);
  writer.put32(change);
}

/** Missing ones are fine. */
export function dropRoutes(routes: readonly ProviderRoute[]): void {
  inScope(undefined, (scope) => {
    dumpLinks(scope);
    for (const route of routes) {
      try {
        scope.writer.clear();
        removeForeignRoute(scope.writer, route, scope.names);
        scope.socket.request(scope.writer);
      } catch (error) {
        if (!(error instanceof NetlinkError) || !GONE.has(error.code)) throw error;
      }
    }
  });
}

/** Our routes to other nodes, once more as nobody's and before ours: those stay when ours go. */
export function giveRoutes(): void {
  inScope(undefined, (scope) => {
    dumpLinks(scope);
    for (const item of ourPeerRoutes(scope)) {
      try {
        scope.writer.clear();
        putRoute(scope.writer, item, scope.names, 'give');
        scope.socket.request(scope.writer);
      } catch (error) {
        if (!(error instanceof NetlinkError) || error.code !== 'EEXIST') throw error;
      }
    }
  });
}

function ourPeerRoutes({ writer, socket, names }: Scope): RouteItem[] {
  return FAMILIES.flatMap((family) => {
    writer.clear();
    askRoutes(writer, NLM_F_DUMP, family);
    return socket.dump(writer, (message): RouteItem | undefined => {
      const row = isOurRoute(message) ? readRoute(message) : undefined;
      const link = row?.index === undefined ? undefined : names.name(row.index);
      if (row === undefined || link === undefined || row.item.table !== MAIN_TABLE) return undefined;
      const { prefix, metric, via, onlink = false } = row.item;
      if (via === undefined || metric !== METRIC.peer) return undefined;
      return { kind: 'route', type: 'unicast', prefix, table: MAIN_TABLE, metric: 0, link, via, onlink };
    });
  });
}

const GONE: ReadonlySet<string> = new Set(['ESRCH', 'ENODEV', 'ENOENT']);

function inScope<T>(netns: number | undefined, work: (scope: Scope) => T): T {
  const scope = openScope(netns === undefined ? (inner) => inner() : (inner) => inNetns(netns, inner));
  try {
    return work(scope);
  } finally {
    scope.wireguard[Symbol.dispose]();
    scope.fou[Symbol.dispose]();
    scope.socket[Symbol.dispose]();
  }
}

function linkOf(row: LinkRow, names: ReadonlyMap<number, string>): Omit<ProviderLink, 'addresses'> {
  const master = row.master === undefined ? undefined : names.get(row.master);
  const { name, index, mtu, mac, ours, link, linkNetns, vxlan, kind } = row;
  return {
    name,
    index,
    mtu,
    ours,
    ...(kind === undefined ? {} : { type: kind }),
    ...(mac === undefined ? {} : { mac }),
    ...(link === undefined ? {} : { peer: link }),
    ...(linkNetns === undefined ? {} : { peerNetns: linkNetns }),
    ...(master === undefined ? {} : { master }),
    ...(vxlan === undefined ? {} : { vxlan: { vni: vxlan.vni, port: vxlan.port } }),
  };
}
