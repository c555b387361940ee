/** What was learned, and why some of it is not used: what the daemon and the kernel have, in one sentence each. */
import type { SeenRoute, SeenSession } from '#model/routing.ts';
import { type Address } from '#net/address.ts';
import { contains, type Prefix } from '#net/prefix.ts';
import type { RoutingPlan } from './plan.ts';

/** A route of the kernel's main table, whoever wrote it. */
export type KernelRoute = { readonly prefix: Prefix; readonly metric: number };

export type LearnedInput = {
  readonly plan: RoutingPlan;
  /** Of the daemon, those that filters refused among them. */
  readonly routes: readonly SeenRoute[];
  /** Prefixes that the daemon has written to the kernel. */
  readonly installed: ReadonlySet<Prefix>;
  /** Of everybody else. */
  readonly others: readonly KernelRoute[];
};

export type LearnedRoute = {
  readonly prefix: Prefix;
  /** Name of the session or protocol. */
  readonly session: string;
  readonly via: readonly string[];
  readonly used: boolean;
  /** Why it is not used, or what else has to be said. */
  readonly why?: string;
  readonly asPath: readonly number[];
  readonly nextHop?: Address;
  readonly localPreference?: number;
  readonly communities: readonly string[];
};

/** What sessions and OSPF told, in the order of prefixes. */
export function explainRoutes(input: LearnedInput): LearnedRoute[] {
  const sources = sourcesOf(input.plan);
  return input.routes
    .filter(({ from }) => sources.has(from))
    .map((route) => describe(route, whyUnused(route, input, sources)))
    .sort((a, b) =>
      a.prefix === b.prefix ? (a.session < b.session ? -1 : 1) : a.prefix < b.prefix ? -1 : 1,
    );
}

/** Names of what tells routes, with what people call it. */
function sourcesOf({ sessions, ospf, families }: RoutingPlan): Map<string, string> {
  return new Map([
    ...sessions.map(({ name, title }) => [name, title] as const),
    ...(ospf === undefined ? [] : families.map((family) => [`ospf${family}`, 'OSPF'] as const)),
  ]);
}

function describe(route: SeenRoute, why: string | undefined): LearnedRoute {
  const { prefix, from, via, asPath, nextHop, localPreference, communities } = route;
  return {
    prefix,
    session: from,
    via: via.map(({ gateway, interface: link }) =>
      [gateway, link === undefined ? undefined : `dev ${link}`]
        .filter((part) => part !== undefined)
        .join(' '),
    ),
    used: why === undefined,
    ...(why === undefined ? {} : { why }),
    asPath,
    ...(nextHop === undefined ? {} : { nextHop }),
    ...(localPreference === undefined ? {} : { localPreference }),
    communities,
  };
}

function whyUnused(
  route: SeenRoute,
  { plan, routes, installed, others }: LearnedInput,
  sources: ReadonlyMap<string, string>,
): string | undefined {
  const { prefix } = route;
  if (route.filtered) return refusedBy(plan, route);
  if (route.kind === 'unreachable')
    return `its next hop ${route.nextHop ?? ''} is out of reach`.replace('  ', ' ');
  if (!route.chosen) {
    const best = routes.find((other) => other.prefix === prefix && other.chosen);
    return best === undefined
      ? 'BIRD has not chosen it'
      : `BIRD prefers the route of ${sources.get(best.from) ?? best.from}`;
  }
  if (plan.serviceRanges.some((range) => contains(range, prefix)))
    return 'it is of services: each node finds its own way to them';
  if (plan.pools.some((pool) => !pool.installed && contains(pool.prefix, prefix)))
    return 'another road leads to pods';
  return whyNotFirst(prefix, { plan, installed, others });
}

function refusedBy({ sessions }: RoutingPlan, { from }: SeenRoute): string {
  const filters = sessions.find(({ name }) => name === from)?.filters ?? [];
  return filters.length === 0
    ? 'BIRD refuses it'
    : `refused on import by ${filters.length === 1 ? 'filter' : 'filters'} ${filters.join(', ')}`;
}

/** The kernel takes the smallest metric of a prefix, and keeps one route of each. */
function whyNotFirst(
  prefix: Prefix,
  { plan, installed, others }: Pick<LearnedInput, 'plan' | 'installed' | 'others'>,
): string | undefined {
  const rivals = others.filter((route) => route.prefix === prefix);
  const better = rivals.find(({ metric }) => metric < plan.metric);
  if (better !== undefined) return `another route with metric ${better.metric} comes first`;
  if (installed.has(prefix)) return undefined;
  return rivals.some(({ metric }) => metric === plan.metric)
    ? `another program’s route has its place (metric ${plan.metric})`
    : 'the kernel does not have it (yet)';
}

/** A session, and why it is not up; what is not said by the daemon is what its state means. */
export function whyDown({ up, state, problem }: SeenSession): string | undefined {
  if (up) return undefined;
  return problem ?? MEANING[state];
}

const MEANING: Readonly<Record<string, string>> = {
  Idle: 'it begins again soon',
  Connect: 'no answer from the peer: its address, a firewall, or a password that differs',
  Active: 'no answer from the peer: its address, a firewall, or a password that differs',
  Passive: 'the peer has not connected yet',
  OpenSent: 'the peer has not answered the greeting',
  OpenConfirm: 'the peer has not confirmed the greeting',
};
