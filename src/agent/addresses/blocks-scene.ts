/** What a block-taking node goes by: pools, labels and wishes, as the store's objects and the settings say at this moment. */
import type { Scene } from './blocks-holder.ts';
import {
  isOfPools,
  lengthProblems,
  type PoolBook,
  type PoolDefaults,
  poolManifest,
  readPools,
  selectPools,
  withPresentLengths,
} from '#ipam/blocks/pool-book.ts';
import type { BlockIndex } from '#ipam/blocks/block-index.ts';
import { Fault, type Problem } from '#model/fault.ts';
import type { BlockPool } from '#model/block.ts';
import type { Manifest } from '#model/manifest.ts';
import { isFields } from '#model/manifest-shapes.ts';
import type { Settings } from '#model/settings.ts';
import type { Labels } from '#model/workload.ts';
import type { SubnetClaim } from '#model/world.ts';
import type { Family } from '#net/address.ts';
import { mapFamilies } from '#net/per-family.ts';
import { type Prefix, prefixFamily, prefixLength } from '#net/prefix.ts';

export type SceneOptions = {
  readonly settings: Settings;
  readonly index: BlockIndex;
  /** Subnets of nodes that have one. */
  readonly claims: () => readonly SubnetClaim[];
};

export class BlocksScene {
  readonly #options: SceneOptions;
  readonly #manifests = new Map<string, Manifest>();
  #nodeLabels: Labels = {};
  #book: PoolBook | undefined;

  constructor(options: SceneOptions) {
    this.#options = options;
  }

  /** An object of the operator's, whatever its kind; answers whether it says anything here. */
  setManifest(name: string, manifest: Manifest | undefined): boolean {
    const own = this.#options.settings.node.name;
    if (name === `v1/Node/${own}`) this.#nodeLabels = labelsOf(manifest?.value);
    else if (!isOfPools(name)) return false;
    else this.#set(name, manifest);
    return true;
  }
  /** Pool objects of our own; `spec` as the store has it. */
  setPool(name: string, pool: { readonly origin: string; readonly spec: unknown } | undefined): void {
    this.#set(`tartan.dev/v1/Pool/${name}`, pool && poolManifest(name, pool.origin, pool.spec));
  }
  #set(name: string, manifest: Manifest | undefined): void {
    if (manifest === undefined) this.#manifests.delete(name);
    else this.#manifests.set(name, manifest);
    this.#book = undefined;
  }

  get book(): PoolBook {
    return (this.#book ??= readPools(this.#manifests.values(), this.#defaults));
  }
  get #defaults(): PoolDefaults {
    const { network, addresses } = this.#options.settings;
    return {
      ranges: mapFamilies(network.subnets, ({ range }) => range),
      blockLengths: { 4: addresses.blocks.ipv4Length, 6: addresses.blocks.ipv6Length },
      exclude: addresses.exclude,
    };
  }

  /** `namespace`: labels of the pod's; absent: for the node itself. Throws Fault `cni-config` for named pools that are not to be had. */
  of(
    family: Family,
    want: { namespace?: Labels | undefined; named?: readonly string[] | undefined } = {},
  ): Scene {
    const { settings } = this.#options;
    const { namespace, named } = want;
    const node = { 'kubernetes.io/hostname': settings.node.name, ...this.#nodeLabels };
    const { pools, problems } = selectPools(this.book, {
      family,
      node,
      ...(namespace === undefined ? {} : { namespace }),
      ...(named === undefined ? {} : { named }),
    });
    if (problems.length > 0)
      throw new Fault('cni-config', 'the pod names pools that cannot be used', { problems });
    return this.#sceneOf(pools, family);
  }
  /** Pools out of which a pod may have an address that it asks for by itself, whatever they select. */
  any(family: Family): Scene {
    return this.#sceneOf(
      this.book.pools.filter(({ enabled, uses }) => enabled && uses.pods),
      family,
    );
  }
  /** Every pool and no rule, for addresses that are in use already. */
  whole(family: Family): Scene {
    const scene = this.#sceneOf(this.book.pools, family);
    return { ...scene, rules: { ...scene.rules, strictAffinity: false }, reserved: [] };
  }
  /** With the length that their blocks have. */
  get pools(): BlockPool[] {
    return withPresentLengths(this.book.pools, this.#presentLength);
  }
  /** What is wrong with pools, each at its place. */
  problems(): Problem[] {
    return [...this.book.problems, ...lengthProblems(this.book.pools, this.#presentLength)];
  }
  readonly #presentLength = ({ prefix }: { readonly prefix: Prefix }): number | undefined => {
    const first = this.#options.index.anyWithin(prefix);
    return first === undefined ? undefined : prefixLength(first.prefix);
  };

  get rules(): Scene['rules'] {
    const { strictAffinity, maxPerNode } = this.#options.settings.addresses.blocks;
    return { strictAffinity, maxBlocksPerNode: maxPerNode, ...this.book.rules };
  }

  #sceneOf(pools: Scene['pools'], family: Family): Scene {
    const { settings, claims } = this.#options;
    const isOf = (prefix: Prefix): boolean => prefixFamily(prefix) === family;
    const own = pools.filter(({ prefix }) => isOf(prefix));
    return {
      pools: withPresentLengths(own, this.#presentLength),
      rules: this.rules,
      reserved: this.book.reserved.filter(isOf),
      foreign: claims()
        .filter(({ node, subnet }) => node !== settings.node.name && isOf(subnet))
        .map(({ subnet }) => subnet),
    };
  }
}

export function labelsOf(value: unknown): Labels {
  const metadata = isFields(value) && isFields(value['metadata']) ? value['metadata'] : {};
  return isFields(metadata['labels']) ? (metadata['labels'] as Labels) : {};
}
