/** A frontend translates one kind of object to what routing is planned from; understood to the last field, or refused. */
import type { z } from 'zod';
import type { Problem } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import { type Say, understand } from '#model/manifest-schema.ts';
import { objectOf } from '#model/manifest-shapes.ts';
import type { NodeOverride, PeerRule, RouteFilter, RoutingNode, RoutingSettings } from '#model/routing.ts';

/** What one node's object says of it. */
export type NodeFacts = Partial<Omit<RoutingNode, 'name'>> & { readonly name: string };

export type RoutingObjects = {
  /** In place of what the agent's settings say. */
  readonly settings: Partial<RoutingSettings>;
  readonly overrides: ReadonlyMap<string, NodeOverride>;
  readonly peers: readonly PeerRule[];
  readonly filters: readonly RouteFilter[];
  readonly nodes: readonly NodeFacts[];
};

export const NO_OBJECTS: RoutingObjects = {
  settings: {},
  overrides: new Map(),
  peers: [],
  filters: [],
  nodes: [],
};

export type Parsed = RoutingObjects & {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
};

export type Frontend = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly parse: (manifest: Manifest) => Parsed;
};

/** The same kind under both names of Calico's group: as its API server gives it out, and as it lies in Kubernetes. */
export function defineCalico<S extends z.ZodType>(
  kind: string,
  spec: S,
  translate: (name: string, spec: z.output<S>, say: Say) => Partial<RoutingObjects>,
): Frontend[] {
  return ['projectcalico.org/v3', 'crd.projectcalico.org/v1'].map((apiVersion) => {
    const schema = objectOf({ apiVersion, kind, namespaced: false }, spec);
    const parse = (manifest: Manifest): Parsed => {
      const definition = {
        schema,
        translate: (object: z.output<typeof schema>, say: Say) => {
          // The compiler does not see the fields of a shape that it does not know.
          const { metadata, spec } = object as unknown as { metadata: { name: string }; spec: z.output<S> };
          return translate(metadata.name, spec, say);
        },
      };
      const { found, problems, warnings } = understand(manifest, definition, (say) => say);
      return { ...NO_OBJECTS, ...found, problems, warnings };
    };
    return { apiVersion, kind, parse };
  });
}
