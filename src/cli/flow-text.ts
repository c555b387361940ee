/** A flow of the log as one line of text. */
import type { FlowEnd, FlowEvent } from '#model/flow-event.ts';
import { PROTOCOL } from '#model/policy.ts';

const PROTOCOL_NAMES = new Map<number, string>(
  Object.entries(PROTOCOL).map(([name, number]) => [number, name]),
);

/** `2026-11-21T19:10:23.123Z  denied egress  pod shop/a → pod shop/b:80 tcp  NetworkPolicy shop/web (web.yaml:3 spec)  ×3` */
export function renderFlow(event: FlowEvent): string {
  const { time, verdict, direction, count } = event;
  const columns = [
    time,
    [verdict, ...(direction === undefined ? [] : [direction])].join(' ').padEnd('staged ingress'.length),
    `${renderEnd(event.source)} → ${renderEnd(event.destination)} ${traffic(event)}${asked(event)}`,
    decision(event),
    count === 1 ? '' : `×${count}`,
  ];
  return columns.filter((column) => column !== '').join('  ');
}

function renderEnd({ kind, name, address, port }: FlowEnd): string {
  const who = kind === 'outside' ? '' : `${kind} ${name} `;
  if (port === undefined) return `${who}${address}`;
  return `${who}${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function traffic({ protocol, icmp }: FlowEvent): string {
  const name = PROTOCOL_NAMES.get(protocol) ?? `protocol ${protocol}`;
  return icmp === undefined ? name : `${name} type ${icmp.type} code ${icmp.code}`;
}

function asked({ before }: FlowEvent): string {
  return before === undefined ? '' : ` (asked for ${renderEnd({ kind: 'outside', ...before })})`;
}

function decision(event: FlowEvent): string {
  const { verdict, tier, policy, rule, origin, isolatedBy, staged } = event;
  const more = [
    ...(event.at === undefined ? [] : [`at interface ${event.at}`]),
    ...(verdict !== 'staged' && staged !== undefined ? [`staged policies: ${staged}`] : []),
  ];
  const where = origin === undefined ? [] : [`(${origin})`];
  if (policy !== undefined)
    return [policy, ...(rule === undefined ? [] : [`"${rule}"`]), ...where, ...more].join(' ');
  if (tier === undefined) return ['by policies that are others now', ...more].join(' ');
  const none = isolatedBy === undefined ? 'no rule' : `no rule of ${isolatedBy.join(', ')}`;
  return [`${none} allows it (tier ${tier})`, ...more].join(' ');
}
