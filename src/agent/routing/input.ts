/** What routing is planned from: settings, this node's place, what nodes tell of themselves, and objects of the store. */
import type { Self } from '#backends/backend.ts';
import { given } from '#lib/given.ts';
import type { Problem } from '#model/fault.ts';
import type { Leg } from '#model/leg.ts';
import { type Manifest, manifestOf } from '#model/manifest.ts';
import { METRIC } from '#model/numbers.ts';
import type { RoutedPool, RoutingNode, SecretRef } from '#model/routing.ts';
import type { NodeAdvert } from '#model/world.ts';
import { familyValues } from '#net/per-family.ts';
import { type Prefix, prefixFamily } from '#net/prefix.ts';
import { joinRouting, readRouting } from '#routing/frontends/index.ts';
import { withObjects } from '#routing/objects.ts';
import type { RoutingInput, Tunnel } from '#routing/plan.ts';
import type { HeldObjects } from './objects.ts';

export type Situation = {
  readonly self: Self;
  /** Of this node's pods; subnets that another node holds are not among them. */
  readonly prefixes: readonly Prefix[];
  /** Pods of other nodes are reached by what BIRD learns. */
  readonly installs: boolean;
  readonly tunnels: readonly Tunnel[];
  /** Pools of which peers are not told. */
  readonly silent: readonly Prefix[];
  readonly adverts: Iterable<NodeAdvert>;
  readonly objects: HeldObjects;
  readonly hasSecret: (ref: SecretRef) => boolean;
};

export type Gathered = {
  readonly input: RoutingInput;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
};

/** Nodes that do not speak BGP are not among those that are planned with. */
export function gatherInput(situation: Situation): Gathered {
  const { self, adverts, objects, hasSecret } = situation;
  const { routing } = self.settings;
  const speakers = [...adverts].filter(({ name, routing }) => routing !== undefined && name !== self.name);
  const told = readRouting(annotatedNodes(self, speakers, objects.nodes()));
  const written = objects.all();
  const input = withObjects(
    {
      self: self.name,
      settings: { ...routing.speaker, pools: poolsOf(situation), metric: METRIC.learned },
      overrides: new Map(),
      peers: routing.peers,
      filters: [],
      nodes: [ownNode(situation), ...speakers.map(nodeOf)],
      services: objects.services(),
      tunnels: situation.tunnels,
      hasSecret,
    },
    joinRouting([told, written]),
  );
  return {
    input,
    problems: [...told.problems, ...written.problems],
    warnings: [...told.warnings, ...written.warnings],
  };
}

/** What is routed to a peer's address of the family leaves by its tunnel, once that is there. */
export function tunnelsTo(
  legs: readonly Leg[],
  adverts: ReadonlyMap<string, NodeAdvert>,
  isUp: (link: string) => boolean,
): Tunnel[] {
  return legs.flatMap(({ peer, prefix, link }): Tunnel[] => {
    const nextHop = adverts.get(peer)?.addresses[prefixFamily(prefix)];
    if (link === undefined || nextHop === undefined) return [];
    return [isUp(link) ? { nextHop, link } : { nextHop }];
  });
}

function poolsOf({ self, silent, installs }: Situation): RoutedPool[] {
  const ranges = familyValues(self.settings.network.subnets).map(({ range }) => range);
  const poolOf = (exported: boolean) => (prefix: Prefix) => ({ prefix, exported, installed: installs });
  return [...ranges.map(poolOf(true)), ...silent.map(poolOf(false))];
}

const PLAIN = { withoutServices: false, prepend: [], communities: [] } as const;

/** The addresses are those that the host has: behind NAT an announced one is nothing to listen on. */
function ownNode({ self, prefixes }: Situation): RoutingNode {
  const { node, routing } = self.settings;
  return {
    ...PLAIN,
    ...routing.node,
    name: self.name,
    labels: labelsOf(self.name, node.labels),
    addresses: self.underlay.local,
    prefixes,
  };
}

function nodeOf({ name, addresses, labels, routing }: NodeAdvert): RoutingNode {
  return { ...PLAIN, ...routing, name, labels: labelsOf(name, labels), addresses, prefixes: [] };
}

type Texts = Readonly<Record<string, string>>;

/** As Kubernetes labels every node. */
function labelsOf(name: string, labels: Texts = {}): Texts {
  return { 'kubernetes.io/hostname': name, ...labels };
}

/** What nodes tell of themselves, as objects. An object of the operator's stands for its node alone. */
function annotatedNodes(
  self: Self,
  speakers: readonly NodeAdvert[],
  written: ReadonlySet<string>,
): Manifest[] {
  return [self.settings.node, ...speakers].flatMap(({ name, labels, annotations }) => {
    if (annotations === undefined || written.has(name)) return [];
    const metadata = { name, annotations, ...given('labels', labels) };
    return [manifestOf(`annotations of node ${name}`, { apiVersion: 'v1', kind: 'Node', metadata })];
  });
}
