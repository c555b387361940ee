/**
 * Host endpoints on the way of a flow: what policies say where it crosses an interface of a node (semantics of Calico's
 * HostEndpoint). Per crossing, in this order, the first that decides:
 *
 *     untracked ─▶ pre-dnat ─▶ local: failsafe ports, tiers, profiles, then no
 *     └ failsafe ports skip ─▶ └▶ forwarded: tiers of policies for forwarded traffic, then yes
 *
 * The first two are asked with the destination before DNAT: what the node sends itself meets `untracked`, what comes in
 * meets both, and nothing else does, as it is decided before anybody knows whether the node hands the packet on. So
 * failsafe ports skip them, whoever the packet is for, and open the host itself; forwarded traffic they do not open.
 */
import type { Direction, HostScope, OrderedTier, RuleBook } from '#model/policy.ts';
import type { Check, Crossing, Flow, Step } from '#model/verdict.ts';
import { endpointName, type Failsafe, type HostEndpoint, type PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { contains } from '#net/prefix.ts';
import type { View } from './match.ts';
import { hasAddress, isOfNode } from './peers.ts';
import { askProfiles, askTiers, type Question } from './tiers.ts';

export function checkHosts(book: RuleBook, world: PolicyWorld, flow: Flow): Check[] {
  return crossingsOf(world, flow).flatMap((crossing) => {
    const endpoint = endpointOf(world, crossing);
    return endpoint === undefined ? [] : [checkHost(book, world, flow, { crossing, endpoint })];
  });
}

/** Those that the flow tells, or what can be said without routes: see deriveCrossings. */
export function crossingsOf(world: PolicyWorld, flow: Flow): readonly Crossing[] {
  return flow.crossings ?? deriveCrossings(world, flow);
}

/** The endpoint of the interface itself, the first by name where there are several, or the node's `*`. */
function endpointOf(world: PolicyWorld, crossing: Crossing): HostEndpoint | undefined {
  const found = hostEndpoints(world, crossing.node);
  return (
    found.find((endpoint) => endpoint.interface === crossing.interface) ??
    found.find((endpoint) => endpoint.interface === '*')
  );
}

function hostEndpoints(world: PolicyWorld, node: string): HostEndpoint[] {
  return world.endpoints
    .filter((each): each is HostEndpoint => each.kind === 'host' && each.node === node)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * A flow from or to a node's address crosses the interface that has the address, unless it stays on the node: what a
 * node and its own pods say to each other passes no interface of the host's own.
 */
function deriveCrossings(world: PolicyWorld, flow: Flow): Crossing[] {
  const ends = [
    ['egress', flow.source, flow.destination],
    ['ingress', flow.destination, flow.source],
  ] as const;
  return ends.flatMap(([direction, own, other]) =>
    [...world.nodes.keys()]
      .filter((node) => isOfNode(world, node, own) && !isWithin(world, node, other))
      .map((node) => {
        const named = hostEndpoints(world, node).filter((each) => each.interface !== '*');
        const endpoint = named.find((each) => each.addresses.includes(own));
        return { node, interface: endpoint?.interface ?? '*', direction, forwarded: false };
      }),
  );
}

/** Whether the address is the node's or that of a pod on it. */
function isWithin(world: PolicyWorld, node: string, address: Address): boolean {
  return (
    isOfNode(world, node, address) ||
    world.endpoints.some(
      (endpoint) => endpoint.kind === 'pod' && endpoint.node === node && hasAddress(endpoint, address),
    )
  );
}

type Place = { readonly crossing: Crossing; readonly endpoint: HostEndpoint };
type Opinion = {
  readonly action: 'allow' | 'deny';
  readonly trail: readonly Step[];
  readonly scope?: HostScope;
  readonly exempt?: 'failsafe';
};

function checkHost(book: RuleBook, world: PolicyWorld, flow: Flow, place: Place): Check {
  const { crossing, endpoint } = place;
  const about = { endpoint: endpointName(endpoint), direction: crossing.direction };
  const view = { world, flow, node: endpoint.node };
  const enforced = askHost(book.enforced, book, view, place);
  const pending = book.pending && askHost(book.pending, book, view, place);
  return {
    ...about,
    ...enforced,
    ...(pending === undefined || pending.action === enforced.action
      ? {}
      : { pending: { action: pending.action, trail: pending.trail } }),
  };
}

// eslint-disable-next-line max-params
function askHost(
  tiers: readonly OrderedTier[],
  book: RuleBook,
  view: Question['view'],
  place: Place,
): Opinion {
  const trail: Step[] = [];
  const { crossing, endpoint } = place;
  const { direction } = crossing;
  const original = { ...view, flow: { ...view.flow, ...view.flow.before } };
  for (const scope of earlyScopes(place, original)) {
    const question = { view: original, endpoint, direction, scopes: [scope], defaults: false };
    const decision = askTiers(tiers, question, trail);
    if (decision !== undefined) return { action: decision, trail, scope };
  }
  const question = (...scopes: HostScope[]): Question => ({
    view,
    endpoint,
    direction,
    scopes,
    defaults: true,
  });
  if (crossing.forwarded)
    return { action: askTiers(tiers, question('forward'), trail) ?? 'allow', trail, scope: 'forward' };
  if (isFailsafe(view, direction)) return { action: 'allow', trail, exempt: 'failsafe' };
  // Between a node and its own pods: only the scopes above, and the pods' own policies.
  if (crossing.toPod === true) return { action: 'allow', trail, scope: 'local' };
  const local = question('local', 'forward');
  const profiles = endpoint.profiles.map((name) => book.profiles.get(name));
  const action = askTiers(tiers, local, trail) ?? askProfiles(profiles, local, trail);
  return { action, trail, scope: 'local' };
}

/** Endpoints for all interfaces have no untracked policy. */
function earlyScopes({ crossing, endpoint }: Place, original: View): HostScope[] {
  const { direction, forwarded } = crossing;
  const sees: Readonly<Record<'untracked' | 'pre-dnat', boolean>> = {
    untracked:
      endpoint.interface !== '*' && !(direction === 'egress' && forwarded) && !isReply(original, direction),
    'pre-dnat': direction === 'ingress',
  };
  if (isFailsafe(original, direction)) return [];
  return (['untracked', 'pre-dnat'] as const).filter((scope) => sees[scope]);
}

function isFailsafe({ world, flow }: View, direction: Direction): boolean {
  return isOpen(world.failsafe[direction], flow, direction, flow.destinationPort);
}

/** An answer of a failsafe port: without connection tracking nobody else knows that it is one. */
function isReply({ world, flow }: View, direction: Direction): boolean {
  const asked = direction === 'ingress' ? 'egress' : 'ingress';
  return isOpen(world.failsafe[asked], flow, direction, flow.sourcePort);
}

// eslint-disable-next-line max-params
function isOpen(
  list: readonly Failsafe[],
  flow: Flow,
  direction: Direction,
  port: number | undefined,
): boolean {
  const remote = direction === 'ingress' ? flow.source : flow.destination;
  return list.some(
    ({ protocol, ports, prefix }) =>
      protocol === flow.protocol &&
      port !== undefined &&
      ports.from <= port &&
      port <= ports.to &&
      (prefix === undefined || contains(prefix, remote)),
  );
}
