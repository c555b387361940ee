/**
 * Host endpoints on the way of a flow: what policies say where it crosses an interface of a node (semantics of Calico's
 * HostEndpoint). Per crossing, in this order, the first that decides:
 *
 *     untracked ─▶ pre-dnat (ingress) ─▶ local: tiers, then profiles, then no
 *                                     └▶ forwarded: tiers of policies for forwarded traffic, then yes
 *
 * Failsafe ports of the host are open before all of these, but not for forwarded traffic.
 */
import type { Direction, HostScope, OrderedTier, RuleBook } from '#model/policy.ts';
import type { Check, Crossing, Flow, Step } from '#model/verdict.ts';
import { endpointName, type HostEndpoint, type PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { contains } from '#net/prefix.ts';
import { hasAddress, isOfNode } from './peers.ts';
import { askProfiles, askTiers, type Question } from './tiers.ts';

export function checkHosts(book: RuleBook, world: PolicyWorld, flow: Flow): Check[] {
  const crossings = flow.crossings ?? deriveCrossings(world, flow);
  return crossings.flatMap((crossing) => {
    const endpoint = endpointOf(world, crossing);
    return endpoint === undefined ? [] : [checkHost(book, world, flow, { crossing, endpoint })];
  });
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
};

function checkHost(book: RuleBook, world: PolicyWorld, flow: Flow, place: Place): Check {
  const { crossing, endpoint } = place;
  const about = { endpoint: endpointName(endpoint), direction: crossing.direction };
  if (!crossing.forwarded && isFailsafe(world, flow, crossing.direction)) {
    return { ...about, action: 'allow', exempt: 'failsafe', trail: [] };
  }
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

function askHost(
  tiers: readonly OrderedTier[],
  book: RuleBook,
  view: Question['view'],
  { crossing, endpoint }: Place,
): Opinion {
  const trail: Step[] = [];
  const { direction, forwarded } = crossing;
  const original = { ...view, flow: { ...view.flow, ...view.flow.before } };
  const ask = (scopes: readonly HostScope[], early: boolean): Question => ({
    view: early ? original : view,
    endpoint,
    direction,
    scopes,
    defaults: !early,
  });
  for (const scope of isFailsafe(view.world, original.flow, direction)
    ? []
    : earlyScopes(crossing, endpoint)) {
    const decision = askTiers(tiers, ask([scope], true), trail);
    if (decision !== undefined) return { action: decision, trail, scope };
  }
  if (forwarded) {
    return { action: askTiers(tiers, ask(['forward'], false), trail) ?? 'allow', trail, scope: 'forward' };
  }
  // Packets between a node and its own pods: `*` means the host's other interfaces.
  if (crossing.toPod === true && endpoint.interface === '*')
    return { action: 'allow', trail, scope: 'local' };
  const question = ask(['local', 'forward'], false);
  const profiles = endpoint.profiles.map((name) => book.profiles.get(name));
  const action = askTiers(tiers, question, trail) ?? askProfiles(profiles, question, trail);
  return { action, trail, scope: 'local' };
}

/** Endpoints for all interfaces have no untracked policy. */
function earlyScopes(crossing: Crossing, endpoint: HostEndpoint): HostScope[] {
  return [
    ...(endpoint.interface === '*' ? [] : (['untracked'] as const)),
    ...(crossing.direction === 'ingress' ? (['pre-dnat'] as const) : []),
  ];
}

function isFailsafe(world: PolicyWorld, flow: Flow, direction: Direction): boolean {
  const port = flow.destinationPort;
  const remote = direction === 'ingress' ? flow.source : flow.destination;
  return world.failsafe[direction].some(
    ({ protocol, ports, prefix }) =>
      protocol === flow.protocol &&
      port !== undefined &&
      ports.from <= port &&
      port <= ports.to &&
      (prefix === undefined || contains(prefix, remote)),
  );
}
