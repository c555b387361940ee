/**
 * Filters: what is told to a peer, believed of it, and written to the kernel. Nothing is told but announcements of this
 * node and, of what was learned, pods and services.
 */
import { POD_LINK_PREFIX, ROUTE_PROTOCOL } from '#model/numbers.ts';
import type { Direction, FilterOperation, FilterRule, RouteFilter } from '#model/routing.ts';
import { addressBits, addressFamily, type Family } from '#net/address.ts';
import { type Prefix, prefixFamily, prefixLength } from '#net/prefix.ts';
import { widest } from './announcements.ts';
import type { RoutingPlan, Tunnel } from './plan.ts';
import type { Session } from './session.ts';
import { addCommunity, block, hasCommunity, prepend, quote, symbol, within } from './text.ts';

export function renderFilters(plan: RoutingPlan): string[] {
  return plan.families.flatMap((family) => [
    ...renderAnnounce(plan, family),
    ...renderInstall(plan, family),
    ...plan.filters.flatMap((filter) => renderFilter(filter, family)),
    ...plan.sessions.flatMap((session) =>
      session.family === family ? [...renderTo(session), ...renderFrom(session)] : [],
    ),
  ]);
}

/** `if net ~ … then …`, or nothing where there is no prefix of the family. */
function whenWithin(prefixes: readonly Prefix[], family: Family, [before, then]: [string, string]): string[] {
  const chosen = widest(prefixes.filter((prefix) => prefixFamily(prefix) === family));
  return chosen.length === 0 ? [] : [`if ${before}net ~ ${within(chosen)} then ${then}`];
}

function renderAnnounce(plan: RoutingPlan, family: Family): string[] {
  const { pools, aggregates, serviceRanges, tags } = plan;
  const [told, kept] = [true, false].map((exported) =>
    pools.filter((pool) => pool.exported === exported).map(({ prefix }) => prefix),
  );
  return block(`function announce${family}(bool outside)`, [
    'if ! (source ~ [ RTS_STATIC, RTS_BGP ]) then reject;',
    `if proto = "gateways${family}" || proto = "held${family}" then reject;`,
    ...tags.flatMap(({ prefix, communities }) =>
      whenWithin([prefix], family, ['', `{ ${communities.map(addCommunity).join(' ')} }`]),
    ),
    `if proto = "aggregates${family}" then { if outside then accept; reject; }`,
    `if proto = "services${family}" then accept;`,
    ...whenWithin(aggregates, family, ['outside && ', 'reject;']),
    ...whenWithin(kept ?? [], family, ['', 'reject;']),
    ...whenWithin(told ?? [], family, ['', 'accept;']),
    ...whenWithin(serviceRanges, family, ['', 'accept;']),
    'reject;',
  ]);
}

/** What goes into the kernel, and what is taken from it to find next hops. */
function renderInstall(plan: RoutingPlan, family: Family): string[] {
  const { pools, serviceRanges } = plan;
  const others = pools.filter(({ installed }) => !installed).map(({ prefix }) => prefix);
  const tunnels = plan.tunnels.filter(({ nextHop }) => addressFamily(nextHop) === family);
  const pods = tunnels.length === 0 ? [] : pools.map(({ prefix }) => prefix);
  return [
    ...(tunnels.length === 0 ? [] : renderTunnels(tunnels, family)),
    ...block(`filter install${family}`, [
      `if proto = "held${family}" then accept;`,
      'if ! (source ~ [ RTS_BGP, RTS_OSPF, RTS_OSPF_IA, RTS_OSPF_EXT1, RTS_OSPF_EXT2 ]) then reject;',
      ...whenWithin(serviceRanges, family, ['', 'reject;']),
      ...whenWithin(others, family, ['', 'reject;']),
      ...whenWithin(pods, family, ['source = RTS_BGP && ', `through_tunnel${family}();`]),
      'accept;',
    ]),
    ...block(`filter learn${family}`, [
      `if krt_source = ${ROUTE_PROTOCOL} then reject;`,
      `if defined(ifname) && ifname ~ "${POD_LINK_PREFIX}*" then reject;`,
      'accept;',
    ]),
  ];
}

function renderTunnels(tunnels: readonly Tunnel[], family: Family): string[] {
  return block(
    `function through_tunnel${family}()`,
    tunnels.map(({ nextHop, link }) => {
      const then = link === undefined ? 'reject;' : `{ ifname = ${quote(link)}; accept; }`;
      return `if bgp_next_hop = ${nextHop} then ${then}`;
    }),
  );
}

function renderTo({ name, family, inside, ...session }: Session): string[] {
  return block(`filter to_${name}`, [
    ...prepend(session.prepend),
    ...session.communities.map(addCommunity),
    ...callsOf({ family, ...session }, 'export'),
    `announce${family}(${!inside});`,
    'reject;',
  ]);
}

function renderFrom({ name, localPreference, ...session }: Session): string[] {
  return block(`filter from_${name}`, [
    ...(localPreference === undefined ? [] : [`bgp_local_pref = ${localPreference};`]),
    ...callsOf(session, 'import'),
    'accept;',
  ]);
}

type Called = Pick<Session, 'filters' | 'external' | 'family'>;

function callsOf({ filters, external, family }: Called, direction: Direction): string[] {
  const peer = external ? 'external' : 'internal';
  return filters.map((name) => `${functionName({ name, direction, family, peer })}();`);
}

type FunctionHead = {
  readonly name: string;
  readonly direction: Direction;
  readonly family: Family;
  readonly peer: 'external' | 'internal';
};

function functionName({ name, direction, family, peer }: FunctionHead): string {
  return symbol(`${direction}${family}_${peer}`, name);
}

/** Each for both kinds of peers, which a rule may tell apart. */
function renderFilter({ name, rules }: RouteFilter, family: Family): string[] {
  const kinds = (['import', 'export'] as const).flatMap((direction) =>
    (['external', 'internal'] as const).map((peer): FunctionHead => ({ name, direction, family, peer })),
  );
  return kinds.flatMap((head) => {
    const chosen = rules[head.direction][family].filter(({ peer = head.peer }) => peer === head.peer);
    return block(`function ${functionName(head)}()`, chosen.flatMap(renderRule));
  });
}

function renderRule(rule: FilterRule): string[] {
  const conditions = conditionsOf(rule);
  const then = [...rule.operations.flatMap(renderOperation), `${rule.action};`].join(' ');
  return [conditions.length === 0 ? then : `if ${conditions.join(' && ')} then { ${then} }`];
}

function conditionsOf(rule: FilterRule): string[] {
  const { prefix, learned, community, pathBegins, priority } = rule;
  return [
    ...(prefix === undefined ? [] : [prefixCondition(prefix)]),
    ...(learned === undefined ? [] : ['(source = RTS_BGP)']),
    ...(rule.interface === undefined ? [] : [`(defined(ifname) && ifname ~ ${quote(rule.interface)})`]),
    ...(community === undefined ? [] : [hasCommunity(community)]),
    ...(pathBegins === undefined ? [] : [`(bgp_path ~ [= ${pathBegins.join(' ')} * =])`]),
    ...(priority === undefined
      ? []
      : [`(defined(bgp_local_pref) && bgp_local_pref = ${preferenceOf(priority)})`]),
  ];
}

function prefixCondition({ within, operator, min, max }: NonNullable<FilterRule['prefix']>): string {
  if (operator === 'equal' || operator === 'not-equal')
    return `(net ${operator === 'equal' ? '=' : '!='} ${within})`;
  const parts = [
    `net ~ ${within}`,
    ...(min === undefined || min <= prefixLength(within) ? [] : [`net.len >= ${min}`]),
    ...(max === undefined || max >= addressBits(prefixFamily(within)) ? [] : [`net.len <= ${max}`]),
  ];
  return `${operator === 'in' ? '' : '! '}(${parts.join(' && ')})`;
}

function renderOperation(operation: FilterOperation): string[] {
  if ('add' in operation) return [addCommunity(operation.add)];
  if ('prepend' in operation) return prepend(operation.prepend);
  return [`bgp_local_pref = ${preferenceOf(operation.priority)};`];
}

/** More is better of the one, less of the other. */
function preferenceOf(priority: number): number {
  return 0x7fff_ffff - priority;
}
