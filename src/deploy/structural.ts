/**
 * Schemas of zod as structural schemas of Kubernetes (apiextensions.k8s.io/v1, JSONSchemaProps): types everywhere, no
 * references, no alternatives, and patterns that RE2 knows. What Kubernetes cannot say is left to those who read the
 * objects; a schema of which nothing would be left is refused when the code is made, not by an API server.
 */
import { z } from 'zod';

export type StructuralSchema = { readonly [key: string]: unknown };

/** Keywords that an API server takes as they are. */
const TAKEN = new Set([
  'type',
  'description',
  'required',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'nullable',
]);
/** Said by other means, or checked by readers: unknown fields are pruned, so that nothing need forbid them. */
const DROPPED = new Set(['additionalProperties', 'propertyNames', 'properties', 'items', 'enum', 'pattern']);

/** The schema of what is written. Throws TypeError for what has no structural form. */
export function structuralOf(schema: z.ZodType): StructuralSchema {
  return convert(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input', reused: 'inline' }), '');
}

function convert(schema: StructuralSchema, path: string): StructuralSchema {
  if ('anyOf' in schema) throw new TypeError(`${path}: a choice of types has no structural form`);
  if (typeof schema['type'] !== 'string') throw new TypeError(`${path}: has no type`);
  const unknown = Object.keys(schema).filter((key) => !TAKEN.has(key) && !DROPPED.has(key));
  if (unknown.length > 0) throw new TypeError(`${path}: nobody has thought of ${unknown.join(', ')}`);
  return {
    ...Object.fromEntries(Object.entries(schema).filter(([key]) => TAKEN.has(key))),
    ...enumOf(schema),
    ...patternOf(schema, path),
    ...propertiesOf(schema, path),
    ...itemsOf(schema, path),
  };
}

/** An API server wants null among the values, and kubectl does not take it there: a pattern says the same. */
function enumOf({ enum: values, nullable }: StructuralSchema): StructuralSchema {
  if (!Array.isArray(values)) return {};
  return nullable === true ? { pattern: `^(${values.join('|')})$` } : { enum: values };
}

function patternOf({ pattern }: StructuralSchema, path: string): StructuralSchema {
  if (typeof pattern !== 'string') return {};
  if (/\(\?[=!<]|\\[1-9]/.test(pattern)) throw new TypeError(`${path}: RE2 does not know ${pattern}`);
  return { pattern };
}

function propertiesOf(
  { properties, additionalProperties }: StructuralSchema,
  path: string,
): StructuralSchema {
  if (properties !== undefined) {
    const entries = Object.entries(properties as Record<string, StructuralSchema>);
    return {
      properties: Object.fromEntries(
        entries.map(([name, inner]) => [name, convert(inner, `${path}.${name}`)]),
      ),
    };
  }
  if (typeof additionalProperties !== 'object') return {};
  return { additionalProperties: convert(additionalProperties as StructuralSchema, `${path}.*`) };
}

function itemsOf({ items }: StructuralSchema, path: string): StructuralSchema {
  return items === undefined ? {} : { items: convert(items as StructuralSchema, `${path}[]`) };
}
