/** A look into the schema: groups, their keys, and what is said of each setting. */
import { z } from 'zod';

/** A schema without its wrappers (default, optional, nullable), and the default met on the way. */
export function unwrap(schema: z.core.$ZodType): { schema: z.core.$ZodType; value?: unknown } {
  let current = schema;
  let found: { value?: unknown } = {};
  for (;;) {
    if (current instanceof z.ZodDefault || current instanceof z.ZodPrefault)
      found = { value: current.def.defaultValue };
    const inner = innerOf(current);
    if (inner === undefined) return { schema: current, ...found };
    current = inner;
  }
}

/** Names in a group, in the order of the schema; none where the path leads to no group. */
export function keysAt(schema: z.core.$ZodType, path: readonly (string | number)[]): string[] {
  let current = unwrap(schema).schema;
  for (const step of path) {
    const next: z.core.$ZodType | undefined =
      current instanceof z.ZodObject ? (current.shape as z.ZodRawShape)[step] : undefined;
    if (next === undefined) return [];
    current = unwrap(next).schema;
  }
  return current instanceof z.ZodObject ? Object.keys(current.shape) : [];
}

/** What a wrapper wraps; undefined for anything else. */
function innerOf(schema: z.core.$ZodType): z.core.$ZodType | undefined {
  const wraps =
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable;
  return wraps ? schema.def.innerType : undefined;
}

/** `type` and `description`, wherever among the wrappers they were said; empty where nothing was. */
export function metaOf(schema: z.core.$ZodType): { type: string; description: string } {
  const inner = innerOf(schema);
  const below = inner === undefined ? { type: '', description: '' } : metaOf(inner);
  const own = z.globalRegistry.get(schema) ?? {};
  const type = typeof own['type'] === 'string' ? own['type'] : below.type;
  return { type, description: own.description ?? below.description };
}
