/** Sets whose members the world names one by one. */
import type { PeerSet } from '#model/policy.ts';
import type { Node, PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { matchesSelector } from '#model/selector-match.ts';
import { nodeLabels } from '../selector.ts';
import type { Atom } from './condition.ts';

type Listed = Exclude<PeerSet, { kind: 'endpoints' | 'prefixes' }>;
type Member = readonly [Address, Atom['port']?];

type Lists = {
  readonly [K in Listed['kind']]: (
    set: Extract<Listed, { kind: K }>,
    world: PolicyWorld,
    node: string,
  ) => Member[];
};

const LISTS: Lists = {
  nodes: ({ selector }, world) =>
    membersOf([...world.nodes.values()].filter((node) => matchesSelector(selector, nodeLabels(node)))),
  entity: ({ entity }, world, node) => {
    const own = world.nodes.get(node);
    if (entity === 'own-node') return membersOf(own === undefined ? [] : [own]);
    return membersOf([...world.nodes.values()]);
  },
  service: ({ namespace, name }, world) =>
    (world.services.get(`${namespace}/${name}`) ?? []).map(({ address, protocol, port }): Member => [
      address,
      { protocol, port },
    ]),
  names: ({ names }, world) =>
    names.flatMap((name) => [...(world.names.get(name) ?? [])].map((address): Member => [address])),
};

/** `node`: where the rules are asked. Pods of the cluster are not here: they come one by one. */
export function listAddresses<K extends Listed['kind']>(
  set: Extract<Listed, { kind: K }>,
  world: PolicyWorld,
  node: string,
): Member[] {
  return LISTS[set.kind](set, world, node);
}

function membersOf(nodes: readonly Node[]): Member[] {
  return nodes.flatMap(({ addresses }) => addresses.map((address): Member => [address]));
}
