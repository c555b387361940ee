/**
 * A frontend translates one kind of object to policies, or to what policies are about. What it is given is either understood to the last field or
 * answered with everything that is wrong, each at its path; nothing in between.
 */
import type { z } from 'zod';
import type { Problem } from '#model/fault.ts';
import type { Policy, Profile, Tier } from '#model/policy.ts';
import type { HostEndpoint, NetworkSet } from '#model/workload.ts';
import type { Manifest } from '#model/manifest.ts';
import { type Say, type Translation, understand } from '#model/manifest-schema.ts';

/** What manifests tell of. Pods, namespaces and the like come from elsewhere. */
export type Objects = {
  readonly policies: readonly Policy[];
  readonly tiers: readonly Tier[];
  readonly profiles: readonly Profile[];
  readonly endpoints: readonly (HostEndpoint | NetworkSet)[];
};

export const NO_OBJECTS: Objects = { policies: [], tiers: [], profiles: [], endpoints: [] };

/** Of an object with problems there is nothing but these. */
export type Parsed = Objects & {
  readonly problems: readonly Problem[];
  /** What is valid but probably not meant. */
  readonly warnings: readonly Problem[];
};

export type Frontend = {
  readonly apiVersion: string;
  readonly kind: string;
  /** What readers call the kind, as others may have the same. */
  readonly title: string;
  /** Of the whole object, for docs/policy-fields.md. */
  readonly schema: z.ZodType;
  readonly parse: (manifest: Manifest) => Parsed;
};

/** What a translation is given beside the object. */
export type Context = Say;

export type Definition<S extends z.ZodType> = Translation<S, Context, Partial<Objects>>;

export function defineFrontend<S extends z.ZodType>(
  head: { readonly apiVersion: string; readonly kind: string; readonly title?: string },
  definition: Definition<S>,
): Frontend {
  const parse: Frontend['parse'] = (manifest) => {
    const { found, problems, warnings } = understand(manifest, definition, (say) => say);
    return { ...NO_OBJECTS, ...found, problems, warnings };
  };
  const { apiVersion, kind, title = kind } = head;
  return { apiVersion, kind, title, schema: definition.schema, parse };
}
