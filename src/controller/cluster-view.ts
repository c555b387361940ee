/** What the store says of the cluster, as the controller's duties need it: followed, and never asked for twice. */
import { BlockIndex } from '#ipam/blocks/block-index.ts';
import { isOfPools, poolManifest, readPools } from '#ipam/blocks/pool-book.ts';
import { learnBlock, type SeenBlock } from '#ipam/blocks/seen.ts';
import type { Events } from '#lib/log.ts';
import type { BlockPool } from '#model/block.ts';
import type { Manifest } from '#model/manifest.ts';
import type { Settings } from '#model/settings.ts';
import type { NodeAdvert, SubnetClaim } from '#model/world.ts';
import { mapFamilies } from '#net/per-family.ts';
import type { Feed, Feeds } from '#stores/feed.ts';
import type { Stored, Version } from '#stores/store.ts';

export type ClusterViewOptions = {
  readonly feeds: Pick<Feeds, 'follow'>;
  readonly settings: Settings;
  readonly events: Pick<Events, 'add'>;
};

const NODE = /^v1\/Node\//;

/** Of Kubernetes' kinds these are read and no others, as a controller has no rights to them. */
const READ = [
  'v1/Node',
  ...['projectcalico.org/v3', 'crd.projectcalico.org/v1'].flatMap((version) =>
    ['IPPool', 'IPReservation', 'IPAMConfiguration'].map((kind) => `${version}/${kind}`),
  ),
];

/** Elsewhere one watch tells of all. */
function read({ store }: Settings): readonly (string | undefined)[] {
  return store.type === 'kubernetes' ? READ : [undefined];
}

export class ClusterView {
  readonly index = new BlockIndex<SeenBlock<Version>>();
  /** Names of the Node objects that Kubernetes has. */
  readonly nodeObjects = new Set<string>();
  readonly nodes: Feed;
  readonly claims: Feed;
  readonly workloads: Feed;
  readonly #settings: Settings;
  readonly #others: readonly Feed[];
  readonly #ofPools = new Map<string, Manifest>();

  constructor({ feeds, settings, events }: ClusterViewOptions) {
    this.#settings = settings;
    const nothing = { onChange: () => {} };
    this.nodes = feeds.follow('Node', nothing);
    this.claims = feeds.follow('SubnetClaim', nothing);
    this.workloads = feeds.follow('Workloads', nothing);
    const onBlock = (name: string, object: Stored | undefined): void => {
      const problem = learnBlock(this.index, name, object);
      if (problem !== undefined) events.add('warning', `Block ${name} is not used: ${problem}`);
    };
    const onPool = (name: string, object: Stored | undefined): void =>
      this.#setPools(`Pool/${name}`, object && poolManifest(name, object.origin, object.value));
    this.#others = [
      feeds.follow('Block', { onChange: onBlock }),
      feeds.follow('Pool', { onChange: onPool }),
      ...read(settings).map((only) =>
        feeds.follow('Manifest', { onChange: (name, object) => this.#onManifest(name, object) }, only),
      ),
    ];
  }

  #onManifest(name: string, object: Stored | undefined): void {
    if (isOfPools(name)) this.#setPools(name, object?.value as Manifest | undefined);
    if (!NODE.test(name)) return;
    if (object === undefined) this.nodeObjects.delete(name.replace(NODE, ''));
    else this.nodeObjects.add(name.replace(NODE, ''));
  }
  #setPools(name: string, manifest: Manifest | undefined): void {
    if (manifest === undefined) this.#ofPools.delete(name);
    else this.#ofPools.set(name, manifest);
  }

  /** Everything has been told once. */
  get synced(): boolean {
    return [this.nodes, this.claims, this.workloads, ...this.#others].every(({ synced }) => synced);
  }
  get adverts(): NodeAdvert[] {
    return [...this.nodes.objects.values()].map(({ value }) => value as NodeAdvert);
  }
  get subnetClaims(): SubnetClaim[] {
    return [...this.claims.objects.values()].map(({ value }) => value as SubnetClaim);
  }
  get pools(): readonly BlockPool[] {
    const { network, addresses } = this.#settings;
    const ranges = mapFamilies(network.subnets, ({ range }) => range);
    const blockLengths = { 4: addresses.blocks.ipv4Length, 6: addresses.blocks.ipv6Length };
    return readPools(this.#ofPools.values(), { ranges, blockLengths, exclude: addresses.exclude }).pools;
  }
}
