/** The answer of `tartan routes`. */
import type { Routes, RouteSession } from '#api/routes.ts';
import type { Bird } from '#bird/bird.ts';
import { given } from '#lib/given.ts';
import type { Problem } from '#model/fault.ts';
import type { RouteItem } from '#model/host.ts';
import { MAIN_TABLE } from '#model/numbers.ts';
import type { SeenBfd, SeenRoute, SeenSession } from '#model/routing.ts';
import type { UnderlayRoute } from '#model/underlay.ts';
import type { Prefix } from '#net/prefix.ts';
import { ANNOUNCEMENT_KINDS } from '#routing/announcements.ts';
import { explainRoutes, whyDown } from '#routing/explain.ts';
import type { RoutingPlan } from '#routing/plan.ts';
import type { Session } from '#routing/session.ts';

export type View = {
  readonly up: boolean;
  readonly plan: RoutingPlan | undefined;
  readonly as: number | undefined;
  readonly sessions: readonly SeenSession[];
  readonly bfd: readonly SeenBfd[];
  readonly routes: readonly SeenRoute[];
  readonly installed: ReadonlySet<Prefix>;
  /** Of the kernel's main table, but for those that are installed. */
  readonly others: readonly (RouteItem | UnderlayRoute)[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly braked: string | undefined;
};

export const SILENT: Routes = {
  enabled: false,
  up: false,
  sessions: [],
  announced: [],
  learned: [],
  problems: [],
  warnings: [],
};

/** What the daemon tells; nothing while it is away. */
export async function lookAt(bird: Bird | undefined): Promise<Pick<View, 'sessions' | 'bfd' | 'routes'>> {
  const nothing = { sessions: [], bfd: [], routes: [] };
  if (bird === undefined) return nothing;
  const asked = Promise.all([bird.sessions(), bird.bfd(), bird.routes()]);
  return asked.then(
    ([sessions, bfd, routes]) => ({ sessions, bfd, routes }),
    () => nothing,
  );
}

export function describeRoutes(view: View): Routes {
  const { plan, up, as, problems, warnings, braked } = view;
  return {
    enabled: true,
    up,
    ...given('routerId', plan?.routerId),
    ...given('as', as),
    sessions: plan === undefined ? [] : describeSessions(plan, view),
    announced: plan === undefined ? [] : announcedOf(plan),
    learned: plan === undefined ? [] : learnedOf(plan, view),
    problems: [...problems],
    warnings: [...warnings],
    ...given('braked', braked),
  };
}

function describeSessions(plan: RoutingPlan, { sessions, bfd }: View): RouteSession[] {
  const byName = new Map(sessions.map((session) => [session.name, session]));
  const bgp = plan.sessions.map((session) => ({
    ...describeSession(session, byName.get(session.name)),
    ...given('bfd', bfdOf(session, bfd)),
  }));
  const ospf = sessions
    .filter(({ protocol }) => protocol === 'OSPF')
    .map((one) => ({ ...seenFields(one), peer: 'OSPF' }));
  return [...bgp, ...ospf];
}

function describeSession(session: Session, seen: SeenSession | undefined): RouteSession {
  const { name, title, remote, local } = session;
  const ends = { peer: title, address: remote.address, as: remote.as, localAs: local.as };
  if (seen !== undefined) return { ...seenFields(seen), ...ends };
  const nothing = { up: false, imported: 0, exported: 0, filtered: 0 };
  return {
    name,
    protocol: 'BGP',
    ...nothing,
    state: 'absent',
    why: 'BIRD does not know of it (yet)',
    ...ends,
  };
}

/** Two sessions with one address may have BFD of their own: over one hop and over several. */
function bfdOf({ bfd, remote, hops }: Session, seen: readonly SeenBfd[]): RouteSession['bfd'] {
  if (bfd === undefined) return undefined;
  const found = seen.find(
    (one) => one.neighbour === remote.address && (one.interface !== undefined) === (hops === 1),
  );
  if (found === undefined) return { state: 'absent' };
  const { state, since, intervalMs, timeoutMs } = found;
  return { state, since, intervalMs, timeoutMs };
}

function seenFields(seen: SeenSession): Omit<RouteSession, 'peer'> {
  const sum = (count: 'imported' | 'exported' | 'filtered'): number =>
    seen.channels.reduce((total, channel) => total + channel[count], 0);
  return {
    name: seen.name,
    protocol: seen.protocol,
    up: seen.up,
    state: seen.state,
    since: seen.since,
    ...given('why', whyDown(seen)),
    imported: sum('imported'),
    exported: sum('exported'),
    filtered: sum('filtered'),
  };
}

function announcedOf({ announced }: RoutingPlan): Routes['announced'] {
  return ANNOUNCEMENT_KINDS.flatMap((kind) =>
    announced[kind].map((prefix) => ({
      prefix,
      kind,
      to: kind === 'aggregates' ? ('peers outside' as const) : ('all peers' as const),
    })),
  );
}

function learnedOf(plan: RoutingPlan, { routes, installed, others }: View): Routes['learned'] {
  const titles = new Map(plan.sessions.map(({ name, title }) => [name, title]));
  const inMain = others.filter((route) => !('table' in route) || route.table === MAIN_TABLE);
  return explainRoutes({ plan, routes, installed, others: inMain }).map((route) => ({
    ...route,
    via: [...route.via],
    asPath: [...route.asPath],
    communities: [...route.communities],
    peer: titles.get(route.session) ?? route.session,
  }));
}
