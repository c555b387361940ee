/**
 * What a node's routing daemon has to do: settings, objects and the nodes of the cluster come in, sessions and announcements
 * go out, as plain data. #routing/render.ts writes it as BIRD's configuration.
 *
 *     node ── session ── node          pods: told to all        kernel ◀── what is learned, but no services
 *       └──── session ── router        aggregates: told outside
 */
import { fnv1a64 } from '#lib/hash.ts';
import type { Problem } from '#model/fault.ts';
import type { RouteItem } from '#model/host.ts';
import type {
  LogLevel,
  NodeOverride,
  Ospf,
  PeerRule,
  PrefixTag,
  RoutedPool,
  RouteFilter,
  RoutingNode,
  RoutingSettings,
  SecretRef,
  ServiceAddress,
} from '#model/routing.ts';
import { type Address, addressFrom, type Family } from '#net/address.ts';
import { families } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import { type Announcements, planAnnouncements, serviceRanges, sortPrefixes } from './announcements.ts';
import type { Session } from './session.ts';
import { planSessions, portOf } from './sessions.ts';

export type RoutingInput = {
  /** Name of the node that the plan is for. */
  readonly self: string;
  readonly settings: RoutingSettings;
  readonly overrides: ReadonlyMap<string, NodeOverride>;
  readonly peers: readonly PeerRule[];
  readonly filters: readonly RouteFilter[];
  readonly nodes: readonly RoutingNode[];
  readonly services: readonly ServiceAddress[];
  /** Absent: packets to pods of other nodes travel plain. */
  readonly tunnels?: readonly Tunnel[];
  /** Whether the password can be read now. */
  readonly hasSecret: (ref: SecretRef) => boolean;
};

/**
 * Packets to pods whose routes have this next hop leave by the link; absent: it is not there yet, and neither are these routes.
 * BIRD drops a route for good whose link it does not know when it looks.
 */
export type Tunnel = { readonly nextHop: Address; readonly link?: string };

/** A route that stays in the kernel while the session that told of it begins anew. Without `via` the link is the way. */
export type HeldRoute = Pick<RouteItem, 'prefix' | 'via' | 'link' | 'onlink'>;

export type Gateway = { readonly to: Address; readonly via: Address };

export type RoutingPlan = {
  readonly node: string;
  readonly routerId: Address;
  /** Of this node. */
  readonly as: number;
  readonly families: readonly Family[];
  readonly port: number;
  readonly bindToNode: boolean;
  readonly logLevel: LogLevel;
  readonly restartS: number;
  readonly metric: number;
  readonly ignoredInterfaces: readonly string[];
  readonly pools: readonly RoutedPool[];
  readonly announced: Announcements;
  /** Of all nodes: what lies in them is not told outside. */
  readonly aggregates: readonly Prefix[];
  readonly serviceRanges: readonly Prefix[];
  readonly tags: readonly PrefixTag[];
  readonly gateways: readonly Gateway[];
  readonly tunnels: readonly Tunnel[];
  /** Less than whatever is learned, and told to nobody. */
  readonly held: readonly HeldRoute[];
  readonly sessions: readonly Session[];
  /** Those that sessions name. */
  readonly filters: readonly RouteFilter[];
  readonly ospf?: Ospf;
};

/** A plan whatever the problems: what they are about is left out of it. Undefined while the node itself is not known. */
export function planRouting(input: RoutingInput): {
  readonly plan: RoutingPlan | undefined;
  readonly problems: readonly Problem[];
} {
  const { settings, overrides } = input;
  const self = input.nodes.find(({ name }) => name === input.self);
  if (self === undefined) {
    const problem = { path: input.self, message: 'is not among the nodes: nothing is announced' };
    return { plan: undefined, problems: [problem] };
  }
  const own = overrides.get(self.name);
  const { sessions, problems } = planSessions(input, self);
  const named = new Set(sessions.flatMap(({ filters }) => filters));
  const { bindToNode, restartS, metric, ignoredInterfaces, pools, ospf } = settings;
  const plan: RoutingPlan = {
    node: self.name,
    routerId: routerIdOf(self, settings),
    as: self.as ?? settings.as,
    families: families(self.addresses),
    port: portOf(input, self),
    bindToNode,
    logLevel: own?.logLevel ?? settings.logLevel,
    restartS,
    metric,
    ignoredInterfaces,
    pools,
    announced: planAnnouncements(input, self),
    aggregates: sortPrefixes(settings.aggregates.map(({ prefix }) => prefix)),
    serviceRanges: serviceRanges(input),
    tags: own?.tags ?? settings.tags,
    gateways: gatewaysOf(sessions),
    tunnels: input.tunnels ?? [],
    held: [],
    sessions,
    filters: input.filters.filter(({ name }) => named.has(name)),
    ...(ospf === undefined ? {} : { ospf }),
  };
  return { plan, problems };
}

function routerIdOf(node: RoutingNode, { routerId }: RoutingSettings): Address {
  if (node.routerId !== undefined) return node.routerId;
  const four = node.addresses[4];
  if (routerId === 'address' && four !== undefined) return four;
  // 0 is no router id (RFC 6286).
  return addressFrom(4, fnv1a64(node.name) & 0xffff_ffffn || 1n);
}

function gatewaysOf(sessions: readonly Session[]): Gateway[] {
  const found = sessions.flatMap(({ gateway, remote }) =>
    gateway === undefined ? [] : [[remote.address, { to: remote.address, via: gateway }] as const],
  );
  return [...new Map(found).values()];
}

/** Passwords that the plan's sessions and links need. */
export function secretsOf({ sessions, ospf }: RoutingPlan): SecretRef[] {
  const refs = [...sessions, ...(ospf?.links ?? [])].flatMap(({ password }) =>
    password === undefined ? [] : [password],
  );
  return [...new Map(refs.map((ref) => [JSON.stringify(ref), ref])).values()];
}
