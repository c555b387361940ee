/** `tartan routes`: BGP and OSPF as BIRD and the kernel have them. Exit code 1 when something of it is not in order. */
import type { Command } from 'commander';
import type { Routes } from '#api/routes.ts';
import { clientOf, formatOf, withAgent, withOutput } from './options.ts';
import { EXIT, print, section } from './output.ts';
import type { Make } from './program.ts';

export function routesCommand(make: Make): Command {
  const command = make('routes', async (options) => {
    const routes = await clientOf(options).call('routes');
    print(formatOf(options), routes, renderRoutes);
    return isHealthy(routes) ? EXIT.ok : EXIT.found;
  });
  return withOutput(withAgent(command)).description(
    'sessions of BGP and OSPF, what is announced, what is learned, and why some of that is not used',
  );
}

/** Routes that are not used are no fault: filters and preferences are there to leave some out. */
function isHealthy({ enabled, up, sessions, problems, braked }: Routes): boolean {
  if (!enabled) return true;
  return up && braked === undefined && problems.length === 0 && sessions.every((session) => session.up);
}

export function renderRoutes(routes: Routes): string {
  if (!routes.enabled)
    return 'no routing protocol is spoken here: routing.enabled is off, and the road is another';
  return [
    headOf(routes),
    section(
      'sessions',
      ['PEER', 'ADDRESS', 'AS', 'STATE', 'SINCE', 'BFD', 'IN', 'OUT', 'REFUSED', 'WHY'],
      sessionRows(routes),
    ),
    section(
      'announced',
      ['PREFIX', 'WHAT', 'TO'],
      routes.announced.map(({ prefix, kind, to }) => [prefix, kind, to]),
    ),
    section('learned', ['PREFIX', 'VIA', 'FROM', 'AS PATH', 'USED'], learnedRows(routes)),
    ...troubles('problems', routes.problems),
    ...troubles('warnings', routes.warnings),
  ]
    .filter((text) => text !== '')
    .join('\n');
}

function headOf({ up, routerId, as, braked }: Routes): string {
  const about = routerId === undefined ? 'BIRD is not configured yet' : `router ${routerId}, AS ${as}`;
  return [
    up ? about : `${about}; BIRD is away`,
    ...(braked === undefined ? [] : [`held back: ${braked}`]),
    '',
  ].join('\n');
}

function sessionRows({ sessions }: Routes): string[][] {
  return sessions.map((session) => [
    session.peer,
    session.address ?? '',
    session.as === undefined ? '' : String(session.as),
    session.state,
    session.since ?? '',
    bfdText(session),
    ...[session.imported, session.exported, session.filtered].map(String),
    session.why ?? '',
  ]);
}

/** With the time after which a silent peer is gone. */
function bfdText({ bfd }: Routes['sessions'][number]): string {
  if (bfd?.state !== 'Up') return bfd?.state ?? '';
  return `Up, ${bfd.timeoutMs} ms`;
}

function learnedRows({ learned }: Routes): string[][] {
  return learned.map(({ prefix, via, peer, asPath, used, why }) => [
    prefix,
    via.join(', '),
    peer,
    asPath.join(' '),
    used ? 'yes' : `no: ${why ?? ''}`,
  ]);
}

function troubles(title: string, list: Routes['problems']): string[] {
  if (list.length === 0) return [];
  return [`${title}\n${list.map(({ path, message }) => `  ${path}: ${message}`).join('\n')}\n`];
}
