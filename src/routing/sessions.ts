/**
 * Which sessions a node holds. A rule that selects it comes first, then the other end of somebody's rule, then the mesh:
 * with one peer there is one session.
 */
import type { Problem } from '#model/fault.ts';
import type { Selector } from '#model/policy.ts';
import type { PeerRule, RoutingNode, SessionTraits } from '#model/routing.ts';
import { matchesSelector } from '#model/selector-match.ts';
import { type Address, addressFamily, compareAddresses, FAMILIES } from '#net/address.ts';
import type { RoutingInput } from './plan.ts';
import { reflectsTo, type Session, type SessionKind, sessionName } from './session.ts';

export function selectsNode(selector: Selector, { name, labels }: RoutingNode): boolean {
  return matchesSelector(selector, (scope, key) => {
    if (scope === 'fact') return key === 'name' ? name : undefined;
    return scope === 'own' && Object.hasOwn(labels, key) ? labels[key] : undefined;
  });
}

type End = { readonly kind: SessionKind; readonly title: string; readonly traits: SessionTraits };
type Target = { readonly address: Address; readonly port?: number; readonly as: number };

export function planSessions(
  input: RoutingInput,
  self: RoutingNode,
): { readonly sessions: readonly Session[]; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const sessions = new Map<string, Session>();
  for (const [end, target] of [
    ...ownEnds(input, self),
    ...otherEnds(input, self),
    ...meshEnds(input, self),
  ]) {
    const session = makeSession(input, self, end, target);
    const key = `${target.address} ${target.port ?? ''}`;
    if (session === undefined || sessions.has(key)) continue;
    const found = problemsOf(input, session).map((message) => ({ path: end.title, message }));
    problems.push(...found.filter((problem) => !problems.some(({ path }) => path === problem.path)));
    if (found.length === 0) sessions.set(key, session);
  }
  const byName = [...sessions.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return { sessions: byName, problems };
}

function ownEnds(input: RoutingInput, self: RoutingNode): [End, Target][] {
  return sortedRules(input)
    .filter((rule) => selectsNode(rule.nodes, self))
    .flatMap((rule) => targetsOf(input, rule).map((target): [End, Target] => [endOf(rule), target]));
}

function otherEnds(input: RoutingInput, self: RoutingNode): [End, Target][] {
  return sortedRules(input)
    .filter(({ remote, reverse }) => reverse && remote.kind === 'nodes' && selectsNode(remote.selector, self))
    .flatMap((rule) => {
      const others = input.nodes.filter((node) => selectsNode(rule.nodes, node));
      return nodeTargets(input, others).map((target): [End, Target] => [endOf(rule), target]);
    });
}

const PLAIN: SessionTraits = { nextHop: 'auto', source: 'node', ttlSecurity: false, filters: [] };

function meshEnds(input: RoutingInput, self: RoutingNode): [End, Target][] {
  const { mesh, meshPassword, meshBfd, meshRestartS, as } = input.settings;
  if (mesh === 'none') return [];
  const others = input.nodes.filter(
    (node) => areMeshed(self, node) && (mesh === 'all' || (node.as ?? as) === (self.as ?? as)),
  );
  const traits: SessionTraits = {
    ...PLAIN,
    ...(meshPassword === undefined ? {} : { password: meshPassword }),
    ...(meshBfd === undefined ? {} : { bfd: meshBfd }),
    ...(meshRestartS === undefined ? {} : { restartS: meshRestartS }),
  };
  const end: End = { kind: 'mesh', title: 'mesh', traits };
  return nodeTargets(input, others).map((target): [End, Target] => [end, target]);
}

/** The same asked from both ends. */
function areMeshed(a: RoutingNode, b: RoutingNode): boolean {
  if ([a, b].some(({ reflector }) => reflector?.meshed === false)) return false;
  const roles = new Set([a, b].map(({ reflector }) => reflector?.role));
  if (!roles.has('client')) return true;
  return roles.has('server') && a.reflector?.clusterId === b.reflector?.clusterId;
}

function sortedRules({ peers }: RoutingInput): PeerRule[] {
  return peers.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function endOf(rule: PeerRule): End {
  return { kind: rule.remote.kind === 'nodes' ? 'node' : 'peer', title: rule.name, traits: rule };
}

function targetsOf(input: RoutingInput, { remote }: PeerRule): Target[] {
  if (remote.kind === 'nodes') {
    const nodes = input.nodes.filter((node) => selectsNode(remote.selector, node));
    return nodeTargets(input, nodes);
  }
  const { address, as, port } = remote;
  return [{ address, as, ...(port === undefined ? {} : { port }) }];
}

function nodeTargets({ settings }: RoutingInput, nodes: readonly RoutingNode[]): Target[] {
  return nodes.flatMap(({ addresses, as = settings.as }) =>
    FAMILIES.flatMap((family) => {
      const address = addresses[family];
      return address === undefined ? [] : [{ address, as }];
    }),
  );
}

/** Nothing with oneself, or without an address of the family. */
function makeSession(
  input: RoutingInput,
  self: RoutingNode,
  { kind, title, traits }: End,
  target: Target,
): Session | undefined {
  const family = addressFamily(target.address);
  const own = self.addresses[family];
  if (own === undefined || own === target.address) return undefined;
  const other = input.nodes.find(({ addresses }) => addresses[family] === target.address);
  const as = traits.localAs ?? self.as ?? input.settings.as;
  const external = as !== target.as;
  return {
    ...traitsOf(traits),
    name: sessionName(kind, target.address, target.port),
    title: other === undefined ? title : `${title}: ${other.name}`,
    family,
    local: { as, ...sourceOf(traits, own) },
    remote: { address: target.address, as: target.as, port: target.port ?? portOf(input, other) },
    external,
    ...reflecting(external ? undefined : reflectsTo(self, other)),
    ...(other === undefined ? outside(self) : inside(own, target.address)),
  };
}

/** BFD over several hops has to know its own address. */
function sourceOf({ source, bfd, hops }: SessionTraits, own: Address): { readonly address?: Address } {
  if (source === 'any' && (bfd === undefined || hops === 1)) return {};
  return { address: source === 'node' || source === 'any' ? own : source };
}

function reflecting(clusterId: Address | undefined): Pick<Session, 'clusterId'> {
  return clusterId === undefined ? {} : { clusterId };
}

type Place = Pick<Session, 'inside' | 'passive' | 'prepend' | 'communities'>;

function outside({ prepend, communities }: RoutingNode): Place {
  return { inside: false, passive: false, prepend, communities };
}

/** Of two nodes one connects, so that there are not two connections of which one is given up. */
function inside(own: Address, other: Address): Place {
  return { inside: true, passive: compareAddresses(own, other) < 0, prepend: [], communities: [] };
}

/** Without what a rule has beside them. */
function traitsOf(traits: SessionTraits): SessionTraits {
  const {
    name: _name,
    nodes: _nodes,
    remote: _remote,
    reverse: _reverse,
    ...rest
  } = {
    ...(traits as Partial<PeerRule> & SessionTraits),
  };
  return rest;
}

export const BGP_PORT = 179;

export function portOf({ settings, overrides }: RoutingInput, node: RoutingNode | undefined): number {
  if (node === undefined) return BGP_PORT;
  return overrides.get(node.name)?.port ?? settings.port;
}

/** A session is rather not held than held without a filter or a password that it was meant to have. */
function problemsOf({ filters, hasSecret }: RoutingInput, session: Session): string[] {
  const missing = session.filters.filter((name) => !filters.some((filter) => filter.name === name));
  const found = missing.map((name) => `there is no BGPFilter ${name}: the session is not held`);
  const { password } = session;
  if (password === undefined || hasSecret(password)) return found;
  const place = password.kind === 'file' ? password.path : `${password.name} ${password.key}`;
  return [...found, `its password cannot be read from ${password.kind} ${place}: the session is not held`];
}
