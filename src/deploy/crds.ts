/**
 * The store's kinds as custom resources of Kubernetes. Their schemas are those of src/model: whatever an agent writes passes
 * them, and an API server refuses what no agent could read.
 */
import type { z } from 'zod';
import { fnv1a64 } from '#lib/hash.ts';
import {
  STATE_RESOURCES,
  type StateResource,
  TARTAN_GROUP,
  TARTAN_VERSION,
} from '#model/kubernetes-kinds.ts';
import { poolSchema } from '#model/pool-schema.ts';
import {
  blockLengthsSchema,
  blockSchema,
  claimSchema,
  clusterStatusSchema,
  nodeSchema,
  relaySchema,
  switchSchema,
  workloadsSchema,
} from '#model/state-schema.ts';
import { type StructuralSchema, structuralOf } from './structural.ts';

type Column = {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'boolean' | 'date';
  readonly jsonPath: string;
  /** Shown with `-o wide` only. */
  readonly priority?: 1;
};

/** An expression that an object must meet (CEL), and the sentence that says so. */
type Rule = { readonly rule: string; readonly message: string };

type Resource = {
  readonly description: string;
  readonly spec: z.ZodType;
  readonly columns: readonly Column[];
  /** Of the whole object: its name counts too. */
  readonly rules?: readonly Rule[];
};

const column = (name: string, path: string, type: Column['type'] = 'string'): Column => ({
  name,
  type,
  jsonPath: `.spec.${path}`,
});
const wide = (name: string, path: string, type: Column['type'] = 'string'): Column => ({
  ...column(name, path, type),
  priority: 1,
});

const RESOURCES: Readonly<Record<keyof typeof STATE_RESOURCES, Resource>> = {
  Node: {
    description: 'What a node’s agent tells the others of itself. Agents write it.',
    spec: nodeSchema,
    columns: [
      column('Road', 'road'),
      column('Address', 'addresses.4'),
      column('Subnet', 'subnets.4'),
      column('Ready', 'ready', 'boolean'),
      wide('Address6', 'addresses.6'),
      wide('Subnet6', 'subnets.6'),
      wide('MTU', 'mtu', 'integer'),
      wide('Switch', 'progress.phase'),
    ],
  },
  SubnetClaim: {
    description: 'Which node has which subnet. Agents write it; with reserved: true an operator does.',
    spec: claimSchema,
    columns: [column('Node', 'node'), column('Subnet', 'subnet'), column('Reserved', 'reserved', 'boolean')],
    rules: [
      {
        rule: "!self.spec.subnet.contains('.') || self.metadata.name == self.spec.subnet.replace('/', '-')",
        message: 'the name must be the subnet with / written as -',
      },
    ],
  },
  Workloads: {
    description: 'The pods of one node, with their addresses and labels. Its agent writes it.',
    spec: workloadsSchema,
    columns: [column('Node', 'node')],
  },
  Switch: {
    description: 'The change of the cluster from one road to another: one object, named road.',
    spec: switchSchema,
    columns: [
      column('From', 'from.type'),
      column('To', 'to.type'),
      column('Phase', 'phase'),
      wide('Generation', 'generation', 'integer'),
    ],
  },
  Block: {
    description: 'Who may hand out which addresses of a part of a pool. Agents write it.',
    spec: blockSchema,
    columns: [column('Prefix', 'prefix'), column('Node', 'node'), wide('Free', 'free')],
  },
  BlockLengths: {
    description:
      'How long the blocks of each pool are, since its first: one object, named cluster. Agents write it.',
    spec: blockLengthsSchema,
    columns: [],
  },
  Pool: {
    description: 'Addresses that blocks are cut from. An operator writes it.',
    spec: poolSchema,
    columns: [
      column('Prefix', 'prefix'),
      column('Block length', 'blockLength', 'integer'),
      column('Enabled', 'enabled', 'boolean'),
      column('Mode', 'mode'),
      wide('Nodes', 'nodes'),
      wide('Namespaces', 'namespaces'),
    ],
    rules: [
      {
        rule: "!has(self.spec.blockLength) || self.spec.blockLength >= int(self.spec.prefix.split('/')[1])",
        message: 'spec.blockLength must not be less than the length of the prefix',
      },
      {
        rule: "!has(self.spec.blockLength) || self.spec.prefix.contains(':') || self.spec.blockLength <= 30",
        message: 'spec.blockLength must be at most 30 for IPv4',
      },
    ],
  },
  ClusterStatus: {
    description:
      'The state of the whole cluster: one object, named cluster. The leading controller writes it.',
    spec: clusterStatusSchema,
    columns: [
      column('Nodes', 'nodes.total', 'integer'),
      column('Ready', 'nodes.ready', 'integer'),
      column('Braked', 'braked'),
      wide('Controller', 'controller'),
      wide('Version', 'version'),
    ],
  },
  Relay: {
    description: 'Where a relay is, and by what agents know it. Relays write it.',
    spec: relaySchema,
    columns: [column('Address', 'address'), column('Port', 'port', 'integer'), wide('Version', 'version')],
  },
};

export type CustomResourceDefinition = {
  readonly apiVersion: 'apiextensions.k8s.io/v1';
  readonly kind: 'CustomResourceDefinition';
  readonly metadata: { readonly name: string; readonly annotations: Readonly<Record<string, string>> };
  readonly spec: Readonly<Record<string, unknown>>;
};

/** Annotations: by which release a definition was written, and a digest of its spec then, as an API server adds to it. */
export const WRITTEN_BY = 'tartan.dev/version';
export const DIGEST = 'tartan.dev/digest';

export type CrdOptions = {
  /** Of the program that writes them; absent: nobody is to know. */
  readonly version?: string;
  /** The API server knows CEL (Kubernetes 1.25 and later). Older ones would drop the rules, but kubectl refuses them there first. */
  readonly expressions?: boolean;
};

/** All of them, in the order of the store's kinds. */
export function customResourceDefinitions({
  expressions = true,
  version,
}: CrdOptions = {}): CustomResourceDefinition[] {
  const all = Object.entries(STATE_RESOURCES).map(([kind, names]) =>
    definitionOf(names, RESOURCES[kind as keyof typeof STATE_RESOURCES], expressions),
  );
  return version === undefined ? all : all.map((definition) => signed(definition, version));
}

function signed(definition: CustomResourceDefinition, version: string): CustomResourceDefinition {
  const digest = fnv1a64(JSON.stringify(definition.spec)).toString(16).padStart(16, '0');
  const annotations = { ...definition.metadata.annotations, [WRITTEN_BY]: version, [DIGEST]: digest };
  return { ...definition, metadata: { ...definition.metadata, annotations } };
}

function definitionOf(
  { kind, plural, singular, shortNames }: StateResource,
  resource: Resource,
  expressions: boolean,
): CustomResourceDefinition {
  const version = {
    name: TARTAN_VERSION,
    served: true,
    storage: true,
    schema: { openAPIV3Schema: schemaOf(resource, expressions) },
    additionalPrinterColumns: [...resource.columns, AGE],
  };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    // With the definitions go all objects: who has which address.
    metadata: { name: `${plural}.${TARTAN_GROUP}`, annotations: { 'helm.sh/resource-policy': 'keep' } },
    spec: {
      group: TARTAN_GROUP,
      scope: 'Cluster',
      names: { kind, listKind: `${kind}List`, plural, singular, shortNames, categories: ['tartan'] },
      versions: [version],
    },
  };
}

const AGE: Column = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };

function schemaOf({ description, spec, rules }: Resource, expressions: boolean): StructuralSchema {
  const isRuled = expressions && rules !== undefined;
  return {
    type: 'object',
    description,
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object' },
      spec: structuralOf(spec),
    },
    ...(isRuled ? { 'x-kubernetes-validations': rules } : {}),
  };
}
