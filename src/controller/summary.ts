/** The state of the cluster, told in one object. A function of what the store says. */
import type { BlockIndex } from '#ipam/blocks/block-index.ts';
import { freeOf, lastNumber } from '#ipam/blocks/block.ts';
import { resolveClaims } from '#ipam/conflict.ts';
import type { BlockPool } from '#model/block.ts';
import type { ClusterStatus, PoolUse } from '#model/cluster-status.ts';
import type { SubnetSettings } from '#model/settings.ts';
import type { NodeAdvert, SubnetClaim } from '#model/world.ts';
import { addressBits } from '#net/address.ts';
import { familyValues, type PerFamily } from '#net/per-family.ts';
import { overlaps, prefixFamily, prefixLength, prefixSize } from '#net/prefix.ts';

export type ClusterScene = Pick<ClusterStatus, 'controller' | 'version'> & {
  readonly braked: string | undefined;
  /** Of how many nodes something would be removed at once. */
  readonly gone: number;
  readonly adverts: readonly NodeAdvert[];
  readonly claims: readonly SubnetClaim[];
  /** Of node subnets, in settings. */
  readonly subnets: PerFamily<SubnetSettings>;
  readonly index: BlockIndex;
  readonly pools: readonly BlockPool[];
  readonly leaving: ReadonlySet<string>;
};

/** Lists are for people; `kubectl get` and metrics have the whole. */
const LISTED = 50;

export function summarize(scene: ClusterScene): ClusterStatus {
  const { controller, version, adverts, leaving, index, pools, braked, gone } = scene;
  const waiting = adverts.filter(({ ready }) => !ready).map(({ name }) => name);
  return {
    controller,
    version,
    nodes: {
      total: adverts.length,
      ready: adverts.length - waiting.length,
      notReady: waiting.sort().slice(0, LISTED),
      leaving: [...leaving].sort().slice(0, LISTED),
    },
    versions: count(adverts.map((advert) => advert.version ?? 'unknown')),
    roads: count(adverts.map(({ road }) => road)),
    conflicts: conflictsOf(scene),
    subnets: subnetsOf(scene),
    pools: index.size === 0 ? [] : pools.map((pool) => useOf(pool, index)),
    ...(braked === undefined ? {} : { braked, gone }),
  };
}

function conflictsOf({ adverts, claims }: ClusterScene): string[] {
  // Blocks are apart by themselves, and not claimed.
  const claiming = adverts.filter(({ addressing }) => addressing !== 'blocks');
  const { conflicts } = resolveClaims(new Map(claiming.map((advert) => [advert.name, advert])), claims);
  return conflicts
    .map(({ why }) => why)
    .sort()
    .slice(0, LISTED);
}

function subnetsOf({ subnets, adverts, claims }: ClusterScene): ClusterStatus['subnets'] {
  const taken = new Set([
    ...claims.map(({ subnet }) => subnet),
    ...adverts
      .filter(({ addressing }) => addressing !== 'blocks')
      .flatMap((one) => familyValues(one.subnets)),
  ]);
  return familyValues(subnets).map(({ range, length }) => ({
    range,
    total: Math.min(2 ** (length - prefixLength(range)), Number.MAX_SAFE_INTEGER),
    taken: [...taken].filter((subnet) => overlaps(range, subnet)).length,
  }));
}

function useOf(pool: BlockPool, index: BlockIndex): PoolUse {
  const { name, prefix, blockLength } = pool;
  const blocks = index.within(prefix);
  const length = blocks[0] === undefined ? blockLength : prefixLength(blocks[0].prefix);
  const taken = blocks.reduce((sum, block) => sum + prefixSize(block.prefix), 0n);
  const free = blocks.reduce((sum, block) => sum + freeOf(block).length, 0);
  const all = blocks.reduce((sum, block) => sum + lastNumber(block.prefix), 0);
  const left = (prefixSize(prefix) - taken) / (1n << BigInt(addressBits(prefixFamily(prefix)) - length));
  const freeBlocks = Number(left < BigInt(Number.MAX_SAFE_INTEGER) ? left : Number.MAX_SAFE_INTEGER);
  return { name, prefix, blocks: blocks.length, freeBlocks, addresses: { held: all - free, free } };
}

function count(words: readonly string[]): Record<string, number> {
  const counted = new Map<string, number>();
  for (const word of words) counted.set(word, (counted.get(word) ?? 0) + 1);
  return Object.fromEntries([...counted].sort(([a], [b]) => (a < b ? -1 : 1)));
}
