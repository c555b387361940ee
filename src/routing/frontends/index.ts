/** All kinds of objects that say something of routing, and what many of them come to. */
import type { Manifest } from '#model/manifest.ts';
import { isFields } from '#model/manifest-shapes.ts';
import { bgpConfigurations } from './bgp-configuration.ts';
import { bgpFilters } from './bgp-filter.ts';
import { bgpPeers } from './bgp-peer.ts';
import type { Frontend, Parsed } from './frontend.ts';
import { nodeFrontend } from './node.ts';

export type { NodeFacts, Parsed, RoutingObjects } from './frontend.ts';

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

/** By the name that stores give it: nobody but routing has to read the object. */
export function isOfRoutingAlone(name: string): boolean {
  return FRONTENDS.some(
    (frontend) => frontend !== nodeFrontend && name.startsWith(`${frontend.apiVersion}/${frontend.kind}/`),
  );
}

/** Of an object with problems nothing is taken; objects of other kinds are passed over. */
export function readRouting(manifests: readonly Manifest[]): Parsed {
  return joinRouting(manifests.flatMap((manifest) => frontendOf(manifest)?.parse(manifest) ?? []));
}

/** Of several that say the same, the last counts. */
export function joinRouting(parsed: readonly Parsed[]): Parsed {
  return {
    settings: Object.assign({}, ...parsed.map(({ settings }) => settings)),
    overrides: new Map(parsed.flatMap(({ overrides }) => [...overrides])),
    peers: parsed.flatMap(({ peers }) => peers),
    filters: parsed.flatMap(({ filters }) => filters),
    nodes: parsed.flatMap(({ nodes }) => nodes),
    problems: parsed.flatMap(({ problems }) => problems),
    warnings: parsed.flatMap(({ warnings }) => warnings),
  };
}
