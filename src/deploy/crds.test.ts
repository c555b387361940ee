import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import type { Block, BlockLengths } from '#model/block.ts';
import type { ClusterStatus } from '#model/cluster-status.ts';
import type { RelayAdvert } from '#model/relay.ts';
import type { RoadSwitch } from '#model/road-switch.ts';
import type {
  blockLengthsSchema,
  blockSchema,
  claimSchema,
  clusterStatusSchema,
  nodeSchema,
  relaySchema,
  switchSchema,
  workloadsSchema,
} from '#model/state-schema.ts';
import type { NodeWorkloads } from '#model/workload.ts';
import type { NodeAdvert, SubnetClaim } from '#model/world.ts';
import { customResourceDefinitions } from './crds.ts';
import { type StructuralSchema, structuralOf } from './structural.ts';

/** Every field, also those within, stands on both sides; the compiler says which does not. */
type Names<T> = T extends string | number | boolean | undefined
  ? ''
  : T extends readonly (infer I)[]
    ? Names<I>
    : string extends keyof T
      ? Names<T[string & keyof T]>
      : { [K in keyof T & (string | number)]: `${K}` | `${K}.${Names<Exclude<T[K], undefined>>}` }[keyof T &
          (string | number)];
type Same<A, B> = [A] extends [B]
  ? [B] extends [A]
    ? true
    : { missing: Exclude<A, B> }
  : { extra: Exclude<A, B> };
const sameFields: [
  Same<Names<NodeAdvert>, Names<z.output<typeof nodeSchema>>>,
  Same<Names<SubnetClaim>, Names<z.output<typeof claimSchema>>>,
  Same<Names<NodeWorkloads>, Names<z.output<typeof workloadsSchema>>>,
  Same<Names<RoadSwitch>, Names<z.output<typeof switchSchema>>>,
  Same<Names<Block>, Names<z.output<typeof blockSchema>>>,
  Same<Names<BlockLengths>, Names<z.output<typeof blockLengthsSchema>>>,
  Same<Names<ClusterStatus>, Names<z.output<typeof clusterStatusSchema>>>,
  Same<Names<RelayAdvert>, Names<z.output<typeof relaySchema>>>,
] = [true, true, true, true, true, true, true, true];

test('the schemas have the fields of the types', () => {
  assert.equal(sameFields.length, 8);
});

/** What apiextensions.k8s.io/v1 forbids in a structural schema, and everything below one of them. */
function problemsOf(schema: StructuralSchema, path: string): string[] {
  const problems: string[] = [];
  if (typeof schema['type'] !== 'string') problems.push(`${path}: no type`);
  for (const word of ['$ref', 'anyOf', 'oneOf', 'allOf', 'not', 'definitions', 'const', 'format', 'default'])
    if (word in schema) problems.push(`${path}: ${word}`);
  const { properties, additionalProperties, items } = schema;
  if (properties !== undefined && additionalProperties !== undefined)
    problems.push(`${path}: properties and additionalProperties`);
  if (schema['type'] === 'array' && items === undefined) problems.push(`${path}: no items`);
  const below = [
    ...Object.entries((properties ?? {}) as Record<string, StructuralSchema>),
    ...(typeof additionalProperties === 'object' ? [['*', additionalProperties] as const] : []),
    ...(items === undefined ? [] : [['[]', items] as const]),
  ];
  return [
    ...problems,
    ...below.flatMap(([name, inner]) => problemsOf(inner as StructuralSchema, `${path}.${name}`)),
  ];
}

type Spec = {
  readonly names: { readonly kind: string; readonly plural: string; readonly shortNames: readonly string[] };
  readonly versions: readonly {
    readonly schema: { readonly openAPIV3Schema: StructuralSchema };
    readonly additionalPrinterColumns: readonly { readonly jsonPath: string; readonly type: string }[];
  }[];
};

/** The schema at a JSON path such as `.spec.from.type`. */
function schemaAt(schema: StructuralSchema, path: string): StructuralSchema | undefined {
  return path
    .split('.')
    .slice(1)
    .reduce<StructuralSchema | undefined>(
      (at, name) => (at?.['properties'] as Record<string, StructuralSchema> | undefined)?.[name],
      schema,
    );
}

test('definitions are structural, open nowhere, and their columns show fields that there are', () => {
  const definitions = customResourceDefinitions();
  assert.equal(definitions.length, 9);
  for (const { metadata, spec } of definitions) {
    const { names, versions } = spec as unknown as Spec;
    assert.equal(metadata.name, `${names.plural}.tartan.dev`);
    for (const { schema, additionalPrinterColumns } of versions) {
      assert.deepEqual(problemsOf(schema.openAPIV3Schema, names.kind), []);
      assert.doesNotMatch(JSON.stringify(schema), /preserve-unknown/);
      for (const { jsonPath, type } of additionalPrinterColumns) {
        if (jsonPath.startsWith('.metadata')) continue;
        assert.equal(schemaAt(schema.openAPIV3Schema, jsonPath)?.['type'], type, `${names.kind} ${jsonPath}`);
      }
    }
  }
  const short = definitions.flatMap(({ spec }) => (spec as unknown as Spec).names.shortNames);
  assert.equal(new Set(short).size, short.length);
});

test('expressions stand only where they are asked for', () => {
  const textOf = (expressions: boolean): string => JSON.stringify(customResourceDefinitions({ expressions }));
  assert.match(textOf(true), /x-kubernetes-validations/);
  assert.doesNotMatch(textOf(false), /x-kubernetes-validations/);
});

test('what has no structural form is refused', () => {
  assert.throws(
    () => structuralOf(z.strictObject({ a: z.union([z.string(), z.number()]) })),
    /\.a: a choice/,
  );
  assert.throws(() => structuralOf(z.string().regex(/^(?!x)/)), /RE2/);
  assert.throws(() => structuralOf(z.strictObject({ a: z.unknown() })), /\.a: has no type/);
  assert.deepEqual(structuralOf(z.strictObject({ a: z.enum(['x']).nullish() })), {
    type: 'object',
    properties: { a: { type: 'string', pattern: '^(x)$', nullable: true } },
  });
});
