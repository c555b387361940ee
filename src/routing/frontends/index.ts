/** All kinds of objects that say something of routing, and what many of them come to. */
import type { Problem } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import { isFields } from '#model/manifest-shapes.ts';
import { bgpConfigurations } from './bgp-configuration.ts';
import { bgpFilters } from './bgp-filter.ts';
import { bgpPeers } from './bgp-peer.ts';
import { type Frontend, NO_OBJECTS, type RoutingObjects } from './frontend.ts';
import { nodeFrontend } from './node.ts';

export type { NodeFacts, RoutingObjects } from './frontend.ts';

export const FRONTENDS: readonly Frontend[] = [
  ...bgpConfigurations,
  ...bgpPeers,
  ...bgpFilters,
  nodeFrontend,
];

/** Undefined: the object says nothing of routing. */
export function frontendOf({ value }: Manifest): Frontend | undefined {
  if (!isFields(value)) return undefined;
  return FRONTENDS.find(
    ({ apiVersion, kind }) => apiVersion === value['apiVersion'] && kind === value['kind'],
  );
}

/** Of an object with problems nothing is taken; objects of other kinds are passed over. */
export function readRouting(manifests: readonly Manifest[]): RoutingObjects & {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
} {
  const parsed = manifests.flatMap((manifest) => frontendOf(manifest)?.parse(manifest) ?? []);
  return parsed.reduce(
    (all, one) => ({
      settings: { ...all.settings, ...one.settings },
      overrides: new Map([...all.overrides, ...one.overrides]),
      peers: all.peers.concat(one.peers),
      filters: all.filters.concat(one.filters),
      nodes: all.nodes.concat(one.nodes),
      problems: all.problems.concat(one.problems),
      warnings: all.warnings.concat(one.warnings),
    }),
    { ...NO_OBJECTS, problems: [], warnings: [] },
  );
}
