/** All pools together: which count, and which may be used for whom. */
import type { BlockPool } from '#model/block.ts';
import type { Problem } from '#model/fault.ts';
import { formatOrigin, type Manifest, originOf } from '#model/manifest.ts';
import { EVERYTHING } from '#model/policy.ts';
import { matchesSelector } from '#model/selector-match.ts';
import type { Labels } from '#model/workload.ts';
import type { Family } from '#net/address.ts';
import { families, type PerFamily } from '#net/per-family.ts';
import { contains, overlaps, parsePrefix, type Prefix, prefixFamily, prefixLength } from '#net/prefix.ts';
import { type PoolObject, readPoolObject } from './pool-objects.ts';

export type PoolBook = {
  /** By name; no two overlap. */
  readonly pools: readonly BlockPool[];
  readonly reserved: readonly Prefix[];
  /** Of objects, in place of what settings say. */
  readonly rules: NonNullable<PoolObject['rules']>;
  /** What is wrong, at its place. What has problems is not used. */
  readonly problems: readonly Problem[];
};

export type PoolDefaults = {
  /** The cluster's ranges: pools lie in them, and where there is none the range is one. */
  readonly ranges: PerFamily<Prefix>;
  readonly blockLengths: Readonly<Record<Family, number>>;
  readonly exclude: readonly Prefix[];
};

/** Whether an object of this name (`apiVersion/kind/…`) may say something of pools. */
export function isOfPools(name: string): boolean {
  return /\/(?:IPPool|IPReservation|IPAMConfiguration)\//.test(name);
}

/** A Pool of our own, of which a store keeps the `spec`, as the object that an operator wrote. */
export function poolManifest(name: string, origin: string, spec: unknown): Manifest {
  return { source: origin, value: { apiVersion: 'tartan.dev/v1', kind: 'Pool', metadata: { name }, spec } };
}

type Read = { readonly object: PoolObject; readonly where: string };

/** Manifests in any order; those that are not about addresses are passed over. */
export function readPools(manifests: Iterable<Manifest>, defaults: PoolDefaults): PoolBook {
  const read = [...manifests].flatMap((manifest): Read[] => {
    const object = readPoolObject(manifest);
    return object === undefined ? [] : [{ object, where: formatOrigin(originOf(manifest, [])) }];
  });
  const problems = read.flatMap(({ object }) => object.problems);
  const { pools, refused } = choosePools(read, defaults);
  // An object that is not in order may have been of any family: nothing is used in its place.
  const hasPools = (family: Family): boolean =>
    read.some(({ object: { isPool, pool } }) => isPool && (!pool || prefixFamily(pool.prefix) === family));
  return {
    pools: [...pools, ...defaultPools(defaults).filter(({ prefix }) => !hasPools(prefixFamily(prefix)))],
    reserved: [...defaults.exclude, ...read.flatMap(({ object }) => object.reserved ?? [])],
    rules: Object.assign({}, ...read.map(({ object }) => object.rules ?? {})) as PoolBook['rules'],
    problems: [...problems, ...refused],
  };
}

function choosePools(
  read: readonly Read[],
  { ranges }: PoolDefaults,
): { pools: BlockPool[]; refused: Problem[] } {
  const pools: BlockPool[] = [];
  const refused: Problem[] = [];
  const named = read.flatMap(({ object: { pool }, where }) => (pool === undefined ? [] : [{ pool, where }]));
  for (const { pool, where } of named.sort((a, b) => (a.pool.name < b.pool.name ? -1 : 1))) {
    const range = ranges[prefixFamily(pool.prefix)];
    const other = pools.find(({ prefix, name }) => name === pool.name || overlaps(prefix, pool.prefix));
    if (range === undefined || !contains(range, pool.prefix)) {
      const family = prefixFamily(pool.prefix);
      const message = `${pool.prefix} is outside network.ipv${family}.range (${range ?? 'not set'})`;
      refused.push({ path: where, message });
    } else if (other === undefined) pools.push(pool);
    else
      refused.push({ path: where, message: `${pool.prefix} overlaps pool ${other.name} (${other.prefix})` });
  }
  return { pools, refused };
}

function defaultPools({ ranges, blockLengths }: PoolDefaults): BlockPool[] {
  return families(ranges).map((family) => {
    const prefix = ranges[family] as Prefix;
    return plainPool(`default-ipv${family}`, prefix, Math.max(blockLengths[family], prefixLength(prefix)));
  });
}

/** For all nodes and pods, and everything that addresses are used for. */
export function plainPool(name: string, prefix: Prefix, blockLength: number): BlockPool {
  return {
    name,
    prefix,
    blockLength,
    enabled: true,
    automatic: true,
    nodes: EVERYTHING,
    namespaces: EVERYTHING,
    uses: { pods: true, nodes: true },
    exported: true,
  };
}

export type PoolQuestion = {
  readonly family: Family;
  readonly node: Labels;
  /** Of the pod's namespace; absent: the address is the node's own. */
  readonly namespace?: Labels;
  /** Names or prefixes of pools: these and no others, whatever they select. Empty: not asked for. */
  readonly named?: readonly string[];
};

/** In the order in which they are asked; `problems` tells of named ones that cannot be used. */
export function selectPools(
  { pools }: Pick<PoolBook, 'pools'>,
  { family, node, namespace, named = [] }: PoolQuestion,
): { readonly pools: readonly BlockPool[]; readonly problems: readonly Problem[] } {
  const usable = pools
    .filter(({ prefix, enabled }) => enabled && prefixFamily(prefix) === family)
    .filter(({ uses }) => (namespace === undefined ? uses.nodes : uses.pods));
  if (named.length > 0) return selectNamed(usable, named);
  const has = (labels: Labels, { nodes }: { nodes: BlockPool['nodes'] }): boolean =>
    matchesSelector(nodes, (_, key) => (Object.hasOwn(labels, key) ? labels[key] : undefined));
  const chosen = usable.filter(
    (pool) =>
      pool.automatic &&
      has(node, pool) &&
      (namespace === undefined || has(namespace, { nodes: pool.namespaces })),
  );
  return { pools: chosen, problems: [] };
}

function selectNamed(usable: readonly BlockPool[], named: readonly string[]): ReturnType<typeof selectPools> {
  const found = named.map((text) => ({
    text,
    pool: usable.find(({ name, prefix }) => name === text || prefix === parsePrefix(text)),
  }));
  const problems = found
    .filter(({ pool }) => pool === undefined)
    .map(({ text }) => ({ path: text, message: 'is no enabled pool of this family for pods' }));
  return { pools: found.flatMap(({ pool }) => pool ?? []), problems };
}

type LengthIn = (pool: BlockPool) => number | undefined;

/** A block keeps its length for as long as it is there: pools whose blocks have another one go on with that. */
export function withPresentLengths(pools: readonly BlockPool[], lengthIn: LengthIn): BlockPool[] {
  return pools.map((pool) => {
    const present = lengthIn(pool);
    return present === undefined || present === pool.blockLength ? pool : { ...pool, blockLength: present };
  });
}

/** Pools that say another length than that. */
export function lengthProblems(pools: readonly BlockPool[], lengthIn: LengthIn): Problem[] {
  const changed = withPresentLengths(pools, lengthIn);
  return pools.flatMap(({ name, prefix, blockLength }, index): Problem[] => {
    const present = changed[index]?.blockLength;
    if (present === blockLength) return [];
    const message = `blocks of ${prefix} are /${present} since the first of them, not /${blockLength}`;
    return [{ path: `pool ${name}`, message }];
  });
}
