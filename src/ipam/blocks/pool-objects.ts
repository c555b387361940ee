/**
 * Objects that say where addresses come from: our own Pool, and Calico's IPPool, IPReservation and IPAMConfiguration
 * (api/pkg/apis/projectcalico/v3). Understood to the last field, or answered with everything that is wrong.
 */
import { z } from 'zod';
import type { BlockPool } from '#model/block.ts';
import type { Problem } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import { type Say, understand } from '#model/manifest-schema.ts';
import { isFields, isThere, objectOf, wholeNumber } from '#model/manifest-shapes.ts';
import { EVERYTHING } from '#model/policy.ts';
import { poolBlockLength, poolPrefix, poolSchema, poolSelector } from '#model/pool-schema.ts';
import { type Prefix, prefixFamily, prefixLength } from '#net/prefix.ts';
import { blockLengths } from './block.ts';

/** What one object says; `isPool` also of one that is not in order. */
export type PoolObject = {
  readonly isPool: boolean;
  readonly pool?: BlockPool;
  readonly reserved?: readonly Prefix[];
  readonly rules?: { readonly strictAffinity?: boolean; readonly maxBlocksPerNode?: number };
  readonly problems: readonly Problem[];
};

const mode = z.enum(['Always', 'CrossSubnet', 'Never', '']).nullish();

const ipPool = z.strictObject({
  cidr: poolPrefix,
  blockSize: poolBlockLength,
  disabled: z.boolean().nullish(),
  assignmentMode: z.enum(['Automatic', 'Manual']).nullish(),
  nodeSelector: poolSelector.nullish(),
  namespaceSelector: poolSelector.nullish(),
  allowedUses: z.array(z.enum(['Workload', 'Tunnel', 'LoadBalancer', 'HostSecondaryInterface'])).nullish(),
  disableBGPExport: z.boolean().nullish(),
  // Which road it is, and masquerading, are settings of the node.
  ipipMode: mode,
  vxlanMode: mode,
  natOutgoing: z.boolean().nullish(),
});

const ipReservation = z.strictObject({ reservedCIDRs: z.array(poolPrefix).nullish() });

const ipamConfiguration = z.strictObject({
  strictAffinity: z.boolean().nullish(),
  maxBlocksPerHost: wholeNumber(0, 2 ** 31 - 1).nullish(),
  autoAllocateBlocks: z.literal(true).nullish(),
  kubeVirtVMAddressPersistence: z.enum(['Enabled', 'Disabled']).nullish(),
  ipCooldownSeconds: wholeNumber(0, 1200).nullish(),
});

type Told = Omit<PoolObject, 'isPool' | 'problems'>;
type Reader = { readonly isPool: boolean; readonly read: (manifest: Manifest) => Omit<PoolObject, 'isPool'> };

function reader<S extends z.ZodType>(
  head: { readonly apiVersion: string; readonly kind: string },
  spec: S,
  translate: (name: string, spec: z.output<S>, say: Say) => Told,
): [string, Reader] {
  const schema = objectOf({ ...head, namespaced: false }, spec);
  const read = (manifest: Manifest): Omit<PoolObject, 'isPool'> => {
    const definition = {
      schema,
      translate: (object: z.output<typeof schema>, say: Say) => {
        // The compiler does not see the fields of a shape that it does not know.
        const { metadata, spec } = object as unknown as { metadata: { name: string }; spec: z.output<S> };
        return translate(metadata.name, spec, say);
      },
    };
    const { found, problems } = understand(manifest, definition, (say) => say);
    return { ...found, problems };
  };
  return [`${head.apiVersion}/${head.kind}`, { isPool: head.kind.endsWith('Pool'), read }];
}

function calico<S extends z.ZodType>(
  kind: string,
  spec: S,
  translate: (name: string, spec: z.output<S>, say: Say) => Told,
): [string, Reader][] {
  return ['projectcalico.org/v3', 'crd.projectcalico.org/v1'].map((apiVersion) =>
    reader({ apiVersion, kind }, spec, translate),
  );
}

/** `default`: 26 of IPv4 and 122 of IPv6, as Calico has it. */
export function usualLength(prefix: Prefix): number {
  return prefixFamily(prefix) === 4 ? 26 : 122;
}

type Shape = Omit<BlockPool, 'name' | 'blockLength'> & { readonly blockLength: number | null | undefined };

function poolOf(name: string, shape: Shape, field: string, say: Say): Told {
  const { prefix } = shape;
  const blockLength = shape.blockLength ?? Math.max(usualLength(prefix), prefixLength(prefix));
  const { min, max } = blockLengths(prefixFamily(prefix));
  const least = Math.max(min, prefixLength(prefix));
  if (blockLength < least || blockLength > max)
    say.refuse(['spec', field], `must be ${least} to ${max} for ${prefix}, not ${blockLength}`);
  return { pool: { ...shape, name, blockLength } };
}

const READERS: ReadonlyMap<string, Reader> = new Map([
  reader({ apiVersion: 'tartan.dev/v1', kind: 'Pool' }, poolSchema, (name, spec, say) => {
    const { prefix, blockLength, reserved } = spec;
    const uses = spec.uses ?? ['pods', 'nodes'];
    const shape: Shape = {
      prefix,
      blockLength,
      enabled: spec.enabled ?? true,
      automatic: spec.automatic ?? true,
      nodes: spec.nodes ?? EVERYTHING,
      namespaces: spec.namespaces ?? EVERYTHING,
      uses: { pods: uses.includes('pods'), nodes: uses.includes('nodes') },
      exported: spec.exported ?? true,
      ...(isThere(spec.mode) ? { mode: spec.mode as NonNullable<BlockPool['mode']> } : {}),
    };
    return { ...poolOf(name, shape, 'blockLength', say), reserved: reserved ?? [] };
  }),
  ...calico('IPPool', ipPool, (name, spec, say) => {
    const uses = spec.allowedUses ?? ['Workload', 'Tunnel'];
    const shape: Shape = {
      prefix: spec.cidr,
      blockLength: spec.blockSize,
      enabled: spec.disabled !== true,
      automatic: spec.assignmentMode !== 'Manual',
      nodes: spec.nodeSelector ?? EVERYTHING,
      namespaces: spec.namespaceSelector ?? EVERYTHING,
      uses: { pods: uses.includes('Workload'), nodes: uses.includes('Tunnel') },
      exported: spec.disableBGPExport !== true,
      ...modeOf(spec),
    };
    return poolOf(name, shape, 'blockSize', say);
  }),
  ...calico('IPReservation', ipReservation, (_, spec) => ({ reserved: spec.reservedCIDRs ?? [] })),
  ...calico('IPAMConfiguration', ipamConfiguration, (_, spec) => ({ rules: rulesOf(spec) })),
]);

/** Calico names the road beside its mode, and has one of the two at most; where neither is named the settings decide. */
function modeOf({ ipipMode, vxlanMode }: z.output<typeof ipPool>): Pick<BlockPool, 'mode'> {
  const named = [vxlanMode, ipipMode].filter((each) => isThere(each) && each !== '');
  const mode = named.find((each) => each !== 'Never') ?? named[0];
  return mode === undefined ? {} : { mode: mode as NonNullable<BlockPool['mode']> };
}

function rulesOf({
  strictAffinity,
  maxBlocksPerHost,
}: z.output<typeof ipamConfiguration>): NonNullable<Told['rules']> {
  return {
    ...(typeof strictAffinity === 'boolean' ? { strictAffinity } : {}),
    // 0 is Calico's way to say nothing.
    ...(isThere(maxBlocksPerHost) && maxBlocksPerHost !== 0
      ? { maxBlocksPerNode: maxBlocksPerHost as number }
      : {}),
  };
}

/** Undefined: the object says nothing of addresses. */
export function readPoolObject(manifest: Manifest): PoolObject | undefined {
  if (!isFields(manifest.value)) return undefined;
  const { apiVersion, kind } = manifest.value;
  const found = READERS.get(`${String(apiVersion)}/${String(kind)}`);
  return found === undefined ? undefined : { isPool: found.isPool, ...found.read(manifest) };
}
