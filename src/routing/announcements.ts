/** What a node announces by itself: prefixes of its pods, services, aggregates. */
import type { RoutingNode, ServiceAddress, ServiceAnnouncements, ServiceKind } from '#model/routing.ts';
import { addressBits } from '#net/address.ts';
import { contains, hostPrefix, overlaps, type Prefix, prefixFamily, prefixLength } from '#net/prefix.ts';
import type { RoutingInput } from './plan.ts';
import { selectsNode } from './sessions.ts';

export type AnnouncementKind = 'pods' | 'services' | 'aggregates';
export const ANNOUNCEMENT_KINDS: readonly AnnouncementKind[] = ['pods', 'services', 'aggregates'];

export type Announcements = Readonly<Record<AnnouncementKind, readonly Prefix[]>>;

export function planAnnouncements(input: RoutingInput, self: RoutingNode): Announcements {
  const { aggregates, pools } = input.settings;
  const told = self.prefixes.filter((prefix) => pools.some((pool) => contains(pool.prefix, prefix)));
  const services = self.withoutServices ? [] : planServices(input, self.name);
  const chosen = aggregates.filter(({ nodes }) => selectsNode(nodes, self));
  return {
    pods: sortPrefixes(told),
    services: sortPrefixes(services),
    aggregates: sortPrefixes(chosen.map(({ prefix }) => prefix)),
  };
}

export const SERVICE_KINDS: readonly ServiceKind[] = ['cluster', 'external', 'load-balancer'];

/** Where services have their addresses: never learned into the kernel, for each node has its own way to them. */
export function serviceRanges({ settings, services }: RoutingInput): Prefix[] {
  const { ranges, single } = settings.services;
  const alone = services
    .filter(({ kind, alone = single.includes(kind) }) => alone)
    .map(({ address }) => hostPrefix(address));
  return sortPrefixes([...SERVICE_KINDS.flatMap((kind) => ranges[kind]), ...alone]);
}

function planServices({ settings, services }: RoutingInput, self: string): Prefix[] {
  const { ranges, single } = settings.services;
  const whole = SERVICE_KINDS.filter((kind) => !single.includes(kind)).flatMap((kind) =>
    ranges[kind].filter((range) => !isSingle(range) || isUsed(range, kind, services)),
  );
  const alone = services.filter((service) => isTold(service, settings.services, self));
  return [...whole, ...alone.map(({ address }) => hostPrefix(address))];
}

function isUsed(range: Prefix, kind: ServiceKind, services: readonly ServiceAddress[]): boolean {
  return services.some(
    (service) => service.kind === kind && !service.local && contains(range, service.address),
  );
}

/** Whether the address is announced by itself. */
function isTold(service: ServiceAddress, { ranges, single }: ServiceAnnouncements, self: string): boolean {
  const range = ranges[service.kind].find((each) => contains(each, service.address));
  const isAlone = service.alone ?? single.includes(service.kind);
  const isMeant = service.alone === true || (isAlone && ranges[service.kind].length === 0);
  if (range === undefined && !isMeant) return false;
  if (service.local) return service.ready.includes(self);
  return isAlone && service.ready.length > 0;
}

function isSingle(prefix: Prefix): boolean {
  return prefixLength(prefix) === addressBits(prefixFamily(prefix));
}

export function sortPrefixes(prefixes: readonly Prefix[]): Prefix[] {
  return [...new Set(prefixes)].sort();
}

/** Ranges within others say nothing more; BIRD takes them, readers have less to read. */
export function widest(prefixes: readonly Prefix[]): Prefix[] {
  return sortPrefixes(prefixes).filter(
    (prefix, _, all) =>
      !all.some((other) => other !== prefix && overlaps(other, prefix) && contains(other, prefix)),
  );
}
