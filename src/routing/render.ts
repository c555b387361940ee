/**
 * The plan as BIRD's configuration (2.0.12, as Debian 12 has it). No password stands in the text: passwords are constants that
 * whoever writes the file defines (passwordSymbol).
 */
import { IFB_PREFIX, POD_LINK_PREFIX } from '#model/numbers.ts';
import type { LogLevel, Ospf, OspfLink } from '#model/routing.ts';
import type { Family } from '#net/address.ts';
import { hostPrefix, type Prefix, prefixFamily } from '#net/prefix.ts';
import { ANNOUNCEMENT_KINDS } from './announcements.ts';
import type { HeldRoute, RoutingPlan } from './plan.ts';
import { renderFilters } from './render-filters.ts';
import type { Session } from './session.ts';
import { block, innerBlock, passwordSymbol, quote } from './text.ts';

export { passwordSymbol } from './text.ts';

/** `logFile`: grows to 1 MiB, then becomes FILE.old. */
export function renderBird(plan: RoutingPlan, { logFile }: { readonly logFile?: string } = {}): string {
  const parts = [
    ['# Written by tartan: changes are overwritten.'],
    renderGlobals(plan, logFile),
    renderFilters(plan),
    renderInterfaces(plan),
    ...plan.families.map((family) => renderFamily(plan, family)),
    plan.sessions.some(({ bfd }) => bfd !== undefined) ? renderBfd() : [],
    ...plan.sessions.map((session) => renderSession(session, plan)),
    ...(plan.ospf === undefined ? [] : renderOspf(plan.ospf, plan.families)),
  ];
  const lines = parts.flatMap((part) => (part.length === 0 ? [] : [...part, '']));
  return lines.join('\n');
}

const CLASSES: Readonly<Record<LogLevel, string>> = {
  debug: 'all',
  info: '{ info, remote, warning, error, auth, fatal, bug }',
  warning: '{ remote, warning, error, auth, fatal, bug }',
  error: '{ error, auth, fatal, bug }',
  fatal: '{ fatal, bug }',
};

function renderGlobals({ routerId, logLevel, restartS, sessions }: RoutingPlan, logFile?: string): string[] {
  const wait = Math.max(restartS, ...sessions.map((session) => session.restartS ?? 0));
  return [
    ...(logFile === undefined
      ? []
      : [`log ${quote(logFile)} ${1 << 20} ${quote(`${logFile}.old`)} ${CLASSES[logLevel]};`]),
    ...['base', 'protocol', 'route', 'log'].map((what) => `timeformat ${what} iso long;`),
    `debug protocols ${logLevel === 'debug' ? 'all' : 'off'};`,
    `router id ${routerId};`,
    ...(wait === 0 ? [] : [`graceful restart wait ${wait};`]),
  ];
}

function renderInterfaces({ ignoredInterfaces, families }: RoutingPlan): string[] {
  const none = [`${POD_LINK_PREFIX}*`, `${IFB_PREFIX}*`, 'kube-ipvs*', ...ignoredInterfaces];
  return [
    ...block('protocol device', ['scan time 10;']),
    ...block('protocol direct connected', [
      ...families.map((family) => `ipv${family};`),
      `interface ${none.map((name) => `-${quote(name)}`).join(', ')}, "*";`,
    ]),
  ];
}

/** The kernel's table of a family, and what this node announces in it. */
function renderFamily({ metric, announced, gateways, held }: RoutingPlan, family: Family): string[] {
  const ways = gateways.map(({ to, via }): HeldRoute => ({ prefix: hostPrefix(to), via }));
  return [
    ...block(`protocol kernel kernel${family}`, [
      ...innerBlock(`ipv${family}`, [`import filter learn${family};`, `export filter install${family};`]),
      'learn;',
      'persist;',
      // Not where routes are held: what is learned after a restart would wait for the last peer.
      ...(held.length === 0 ? ['graceful restart;'] : []),
      'scan time 10;',
      'merge paths on;',
      `metric ${metric};`,
    ]),
    ...ANNOUNCEMENT_KINDS.flatMap((kind) =>
      renderStatic(`${kind}${family}`, family, blackholes(announced[kind], family)),
    ),
    ...renderStatic(`gateways${family}`, family, staticRoutes(ways, family)),
    ...renderStatic(`held${family}`, family, staticRoutes(held, family), LEAST),
  ];
}

/** They stay inside BIRD: blocks' blackholes in the kernel are the agent's. */
function blackholes(prefixes: readonly Prefix[], family: Family): string[] {
  return prefixes
    .filter((prefix) => prefixFamily(prefix) === family)
    .map((prefix) => `route ${prefix} blackhole;`);
}

function staticRoutes(routes: readonly HeldRoute[], family: Family): string[] {
  return routes
    .filter(({ prefix }) => prefixFamily(prefix) === family)
    .map(({ prefix, via, link, onlink }) => {
      if (via === undefined) return `route ${prefix} via ${quote(link ?? '')};`;
      const scope = /^[\w.:-]+$/.test(link ?? '') ? `%'${link}'` : '';
      return `route ${prefix} via ${via}${scope}${onlink === true ? ' onlink' : ''};`;
    });
}

/** Preferred to a bridge's connected subnet, which is 240. */
const MOST = 250;
const LEAST = 1;

/** Also without a route, so that the first one is no new protocol. */
function renderStatic(name: string, family: Family, routes: readonly string[], preference = MOST): string[] {
  return block(`protocol static ${name}`, [
    ...innerBlock(`ipv${family}`, [`preference ${preference};`]),
    ...routes,
  ]);
}

/** Times are the sessions' own. */
function renderBfd(): string[] {
  return block('protocol bfd', []);
}

function renderSession(session: Session, plan: RoutingPlan): string[] {
  const { name, title, family, local, remote, nextHop } = session;
  const address = local.address === undefined ? '' : ` ${local.address}`;
  const hop = { auto: [], self: ['next hop self;'], keep: ['next hop keep;'] }[nextHop];
  return block(`protocol bgp ${name}`, [
    `description ${quote(title)};`,
    `local${address} port ${plan.port} as ${local.as};`,
    `neighbor ${remote.address} port ${remote.port} as ${remote.as};`,
    ...(plan.bindToNode && local.address !== undefined ? ['strict bind;'] : []),
    ...renderDistance(session),
    ...renderTimes(session, plan.restartS),
    ...renderTrust(session),
    ...innerBlock(`ipv${family}`, [
      `import filter from_${name};`,
      `export filter to_${name};`,
      'import keep filtered;',
      'gateway recursive;',
      'add paths on;',
      ...hop,
    ]),
  ]);
}

/** Straight to the neighbour only with 1 hop: then its link going down ends the session. */
function renderDistance({ hops, ttlSecurity, passive }: Session): string[] {
  return [
    hops === undefined ? 'multihop;' : hops === 1 ? 'direct;' : `multihop ${hops};`,
    ...(ttlSecurity ? ['ttl security on;'] : []),
    ...(passive ? ['passive;'] : []),
  ];
}

/** Sessions come back fast: 1–5 s after a failure, not BIRD's 60–300 s. */
function renderTimes({ restartS, keepaliveS, holdS }: Session, usualS: number): string[] {
  const restart = restartS ?? usualS;
  const hold = holdS ?? (keepaliveS === undefined ? undefined : Math.max(3 * keepaliveS, 3));
  return [
    'connect delay time 1;',
    'connect retry time 5;',
    'error wait time 1, 5;',
    ...(hold === undefined ? [] : [`hold time ${hold};`]),
    ...(keepaliveS === undefined ? [] : [`keepalive time ${keepaliveS};`]),
    ...(restart === 0
      ? ['graceful restart off;']
      : ['graceful restart on;', `graceful restart time ${restart};`]),
  ];
}

function renderTrust({ password, clusterId, allowLocalAs, bfd, external }: Session): string[] {
  return [
    ...(password === undefined ? [] : [`password ${passwordSymbol(password)};`]),
    ...(clusterId === undefined || external ? [] : ['rr client;', `rr cluster id ${clusterId};`]),
    ...(allowLocalAs === undefined ? [] : [`allow local as ${allowLocalAs};`]),
    ...(bfd?.graceful === true ? ['bfd graceful;'] : []),
    ...(bfd === undefined
      ? []
      : innerBlock('bfd', [`interval ${bfd.intervalMs} ms;`, `multiplier ${bfd.multiplier};`])),
  ];
}

function renderOspf({ area, links }: Ospf, families: readonly Family[]): string[][] {
  return families.map((family) => [
    ...block(`filter to_ospf${family}`, [
      'if source != RTS_STATIC then reject;',
      `announce${family}(true);`,
      'reject;',
    ]),
    ...block(`protocol ospf ${family === 4 ? 'v2' : 'v3'} ospf${family}`, [
      ...innerBlock(`ipv${family}`, ['import all;', `export filter to_ospf${family};`]),
      'graceful restart on;',
      ...innerBlock(
        `area ${area}`,
        links.flatMap((link) => innerBlock(`interface ${quote(link.name)}`, renderLink(link))),
      ),
    ]),
  ]);
}

function renderLink({ cost, helloS, deadS, passive, password }: OspfLink): string[] {
  return [
    ...(cost === undefined ? [] : [`cost ${cost};`]),
    ...(helloS === undefined ? [] : [`hello ${helloS};`]),
    ...(deadS === undefined ? [] : [`dead ${deadS};`]),
    ...(passive === true ? ['stub yes;'] : []),
    ...(password === undefined
      ? []
      : [
          'authentication cryptographic;',
          ...innerBlock(`password ${passwordSymbol(password)}`, ['algorithm hmac sha256;']),
        ]),
  ];
}
