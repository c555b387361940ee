/**
 * Which link carries traffic between nodes. The order is flannel's (pkg/ipmatch): names or addresses, then regular
 * expressions, then the road to a given address; only when none of these is set, the public address's link or the
 * default route's. Something that was asked for and is not there is an error, never a silent fallback.
 */
import { Fault, type Problem } from '#model/fault.ts';
import type { UnderlaySettings } from '#model/settings.ts';
import type { Underlay, UnderlayAddress, UnderlayChoice, UnderlayLink } from '#model/underlay.ts';
import { type Address, addressFamily, type Family, parseAddress } from '#net/address.ts';
import { familyValues, perFamily } from '#net/per-family.ts';
import { contains, type Prefix, prefixAddress, prefixFamily, prefixLength } from '#net/prefix.ts';
import { subtract } from './connected.ts';

/** A link, why it was taken, and the address of it that was named, if one was. */
type Found = { readonly link: UnderlayLink; readonly why: string; readonly named?: Address };
type Search = {
  readonly settings: UnderlaySettings;
  readonly underlay: Underlay;
  readonly links: readonly UnderlayLink[];
  readonly required: readonly Family[];
};

/**
 * The link and its addresses. `required` families must be there; at least one family must be in any case.
 * Throws Fault `interface-not-found` with every reason found.
 */
export function selectInterface(
  settings: UnderlaySettings,
  underlay: Underlay,
  required: readonly Family[],
): UnderlayChoice {
  const problems: Problem[] = [];
  const links = underlay.links.filter((link) => !link.ours);
  const found = search({ settings, underlay, links, required }, problems);
  if (found === undefined) throw notFound(problems);
  const local = perFamily((family) => ownAddress(found, family));
  const choice: UnderlayChoice = {
    link: found.link.name,
    mtu: settings.mtu ?? found.link.mtu,
    local,
    announced: perFamily((family) => settings.publicAddress[family] ?? local[family]),
    connected: connectedPrefixes(found.link, underlay),
    why: found.why,
  };
  problems.push(...linkProblems(found.link, choice, required));
  if (problems.length > 0) throw notFound(problems);
  return choice;
}

function notFound(problems: readonly Problem[]): Fault {
  const summary = problems.map((problem) => problem.message).join('; ');
  return new Fault('interface-not-found', `no link can carry traffic between nodes: ${summary}`, {
    problems,
  });
}

function search(scene: Search, problems: Problem[]): Found | undefined {
  const { interfaces, interfaceRegexes, canReach } = scene.settings;
  const found = byName(scene, problems) ?? byRegex(scene, problems) ?? byReach(scene, problems);
  if (found !== undefined) problems.length = 0;
  if (found !== undefined || interfaces.length + interfaceRegexes.length > 0 || canReach !== undefined) {
    return found;
  }
  return familyValues(scene.settings.publicAddress).length > 0
    ? byPublicAddress(scene, problems)
    : byDefaultRoute(scene, problems);
}

function byName({ settings, links }: Search, problems: Problem[]): Found | undefined {
  for (const [index, wanted] of settings.interfaces.entries()) {
    const named = parseAddress(wanted);
    const link = links.find((each) => (named === undefined ? each.name === wanted : hasAddress(each, named)));
    if (link !== undefined) {
      return { link, why: `underlay.interfaces names ${wanted}`, ...(named === undefined ? {} : { named }) };
    }
    problems.push({ path: `underlay.interfaces[${index}]`, message: `no link is or has ${wanted}` });
  }
  return undefined;
}

/** Addresses of all links first, then names; with required families one link must match in each of them. */
function byRegex({ settings, links, required }: Search, problems: Problem[]): Found | undefined {
  for (const [index, source] of settings.interfaceRegexes.entries()) {
    const regex = new RegExp(source);
    const candidates = links.filter((link) => !link.loopback);
    const link =
      candidates.find((each) => matchesAddresses(each, regex, required)) ??
      candidates.find((each) => regex.test(each.name));
    if (link !== undefined) return { link, why: `${link.name} matches underlay.interfaceRegexes ${source}` };
    problems.push({ path: `underlay.interfaceRegexes[${index}]`, message: `nothing matches ${source}` });
  }
  return undefined;
}

function matchesAddresses(link: UnderlayLink, regex: RegExp, required: readonly Family[]): boolean {
  const matching = usable(link).filter((each) => regex.test(prefixAddress(each.address)));
  if (required.length === 0) return matching.length > 0;
  return required.every((family) => matching.some((each) => prefixFamily(each.address) === family));
}

function byReach({ settings, underlay, links }: Search, problems: Problem[]): Found | undefined {
  const target = settings.canReach;
  if (target === undefined) return undefined;
  const name = routeTo(underlay, target);
  const link = links.find((each) => each.name === name);
  if (link !== undefined) return { link, why: `the route to ${target} leaves by ${link.name}` };
  problems.push({ path: 'underlay.canReach', message: `no route leads to ${target}` });
  return undefined;
}

/** The link of the longest matching prefix, then of the smallest metric, as the kernel looks it up. */
function routeTo(underlay: Underlay, target: Address): string | undefined {
  return underlay.routes
    .filter((route) => contains(route.prefix, target))
    .sort((a, b) => prefixLength(b.prefix) - prefixLength(a.prefix) || a.metric - b.metric)[0]?.link;
}

function byPublicAddress({ settings, links }: Search, problems: Problem[]): Found | undefined {
  for (const named of familyValues(settings.publicAddress)) {
    const link = links.find((each) => hasAddress(each, named));
    if (link !== undefined) return { link, why: `${link.name} has the public address ${named}`, named };
    problems.push({
      path: 'underlay.publicAddress',
      message: `no link has ${named}; when it is a NAT address, name the link in underlay.interfaces`,
    });
  }
  return undefined;
}

function byDefaultRoute({ underlay, links, required }: Search, problems: Problem[]): Found | undefined {
  const byFamily = perFamily((family) => defaultLink(underlay, links, family));
  for (const family of required.filter((each) => byFamily[each] === undefined)) {
    problems.push({ path: 'underlay', message: `there is no IPv${family} default route` });
  }
  if (required.length === 2 && byFamily[4] !== undefined && byFamily[6] !== undefined) {
    if (byFamily[4] !== byFamily[6]) {
      const message = `the IPv4 default route leaves by ${byFamily[4].name}, the IPv6 one by ${byFamily[6].name}`;
      problems.push({ path: 'underlay', message });
    }
  }
  const link = byFamily[required[0] ?? 4] ?? byFamily[6];
  if (problems.length > 0) return undefined;
  if (link !== undefined) return { link, why: `${link.name} carries the default route` };
  problems.push({ path: 'underlay', message: 'there is no default route' });
  return undefined;
}

function defaultLink(
  underlay: Underlay,
  links: readonly UnderlayLink[],
  family: Family,
): UnderlayLink | undefined {
  const usableRoutes = underlay.routes
    .filter((route) => prefixLength(route.prefix) === 0 && prefixFamily(route.prefix) === family)
    .filter((route) => links.some((link) => link.name === route.link))
    .sort((a, b) => a.metric - b.metric);
  return links.find((link) => link.name === usableRoutes[0]?.link);
}

function hasAddress(link: UnderlayLink, address: Address): boolean {
  return link.addresses.some((each) => prefixAddress(each.address) === address);
}

/** Addresses that may stand in packets to other nodes. IPv6 link-local ones mean nothing without their link. */
function usable(link: UnderlayLink): UnderlayAddress[] {
  return link.addresses.filter(
    (each) =>
      each.scope !== 'host' &&
      !each.deprecated &&
      !each.tentative &&
      (each.scope === 'global' || prefixFamily(each.address) === 4),
  );
}

/** Global before link scope, permanent before dynamic, stable before temporary; otherwise the kernel's order. */
function ownAddress({ link, named }: Found, family: Family): Address | undefined {
  if (named !== undefined && addressFamily(named) === family) return named;
  const cost = (each: UnderlayAddress): number =>
    (each.scope === 'global' ? 0 : 4) + (each.dynamic ? 2 : 0) + (each.temporary ? 1 : 0);
  const best = usable(link)
    .filter((each) => prefixFamily(each.address) === family)
    .sort((a, b) => cost(a) - cost(b))[0];
  return best === undefined ? undefined : prefixAddress(best.address);
}

function linkProblems(link: UnderlayLink, choice: UnderlayChoice, required: readonly Family[]): Problem[] {
  const problems: Problem[] = [];
  const say = (message: string): number => problems.push({ path: link.name, message });
  if (!link.up) say(`link ${link.name} is down`);
  if (choice.mtu === 0) say(`link ${link.name} has MTU 0`);
  for (const family of required) {
    if (choice.local[family] === undefined) say(`link ${link.name} has no usable IPv${family} address`);
  }
  if (familyValues(choice.local).length === 0) say(`link ${link.name} has no usable address`);
  return problems;
}

/**
 * On-link prefixes of the link, less what a more specific route sends to a router or another link. A point-to-point
 * link or an on-link default route says nothing about who is adjacent.
 */
function connectedPrefixes(link: UnderlayLink, underlay: Underlay): Prefix[] {
  if (link.pointToPoint) return [];
  const onLink = underlay.routes.filter(
    (route) => route.link === link.name && route.via === undefined && isAdjacency(route.prefix),
  );
  const elsewhere = underlay.routes.filter((route) => route.link !== link.name || route.via !== undefined);
  return [...new Set(onLink.map((route) => route.prefix))].flatMap((prefix) =>
    elsewhere
      .filter((route) => prefixLength(route.prefix) > prefixLength(prefix) && contains(prefix, route.prefix))
      .reduce<Prefix[]>((rest, route) => rest.flatMap((each) => subtract(each, route.prefix)), [prefix]),
  );
}

function isAdjacency(prefix: Prefix): boolean {
  return prefixLength(prefix) > 0 && !/^(?:fe80:|ff|22[4-9]\.|23\d\.)/.test(prefix);
}

/** The prefix that holds the address, if the link reaches it without a router. */
export function connectedPrefix(
  { connected = [] }: { readonly connected?: readonly Prefix[] },
  address: Address,
): Prefix | undefined {
  return connected.find((prefix) => contains(prefix, address));
}
