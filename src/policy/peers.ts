/** Which addresses are in a set of peers: the meaning of every kind of PeerSet. */
import type { End, PeerSet } from '#model/policy.ts';
import type { Endpoint, PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { contains } from '#net/prefix.ts';
import type { View } from './match.ts';
import { matchesSelector } from '#model/selector-match.ts';
import { endpointLabels, nodeLabels } from './selector.ts';

type Meaning = {
  readonly [K in PeerSet['kind']]: (set: Extract<PeerSet, { kind: K }>, end: End, view: View) => boolean;
};

export function isPeer<K extends PeerSet['kind']>(
  set: Extract<PeerSet, { kind: K }>,
  end: End,
  view: View,
): boolean {
  return MEANING[set.kind](set, end, view);
}

const MEANING: Meaning = {
  endpoints: ({ selector }, end, { world, flow }) =>
    world.endpoints.some(
      (endpoint) =>
        hasAddress(endpoint, flow[end]) && matchesSelector(selector, endpointLabels(world, endpoint)),
    ),
  prefixes: ({ prefixes, except }, end, { flow }) =>
    prefixes.some((prefix) => contains(prefix, flow[end])) &&
    !except.some((prefix) => contains(prefix, flow[end])),
  nodes: ({ selector }, end, { world, flow }) =>
    world.nodes
      .values()
      .some((node) => node.addresses.includes(flow[end]) && matchesSelector(selector, nodeLabels(node))),
  entity: ({ entity }, end, { world, flow, node }) =>
    entity === 'own-node'
      ? isOfNode(world, node, flow[end])
      : isInCluster(world, flow[end]) === (entity === 'cluster'),
  service: ({ namespace, name }, end, { world, flow }) =>
    (world.services.get(`${namespace}/${name}`) ?? []).some(
      ({ address, protocol, port }) =>
        address === flow[end] &&
        (end === 'source' || (protocol === flow.protocol && port === flow.destinationPort)),
    ),
  names: ({ names }, end, { world, flow }) =>
    names.some((name) => world.names.get(name)?.has(flow[end]) ?? false),
};

/** As selectors see it: a host-network pod has no address of its own. */
export function hasAddress(endpoint: Endpoint, address: Address): boolean {
  if (endpoint.kind === 'network-set') return endpoint.prefixes.some((prefix) => contains(prefix, address));
  return !(endpoint.kind === 'pod' && endpoint.hostNetwork) && endpoint.addresses.includes(address);
}

export function isOfNode(world: PolicyWorld, name: string, address: Address): boolean {
  return world.nodes.get(name)?.addresses.includes(address) ?? false;
}

function isInCluster(world: PolicyWorld, address: Address): boolean {
  return (
    world.nodes.values().some((node) => node.addresses.includes(address)) ||
    world.endpoints.some((endpoint) => endpoint.kind === 'pod' && hasAddress(endpoint, address))
  );
}
