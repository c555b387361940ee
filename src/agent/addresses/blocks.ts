/**
 * Blocks of addresses as this agent sees them. Every agent follows them, as they say where the pods of other nodes are; one that
 * takes its addresses from blocks holds some itself, and looks for what nodes left that are gone.
 */
import type { AddressAllocator } from './allocator.ts';
import type { AddressLedger } from './resting.ts';
import { BlockAllocator } from './blocks-allocator.ts';
import { BlockHolder, type Seen } from './blocks-holder.ts';
import { BlockPlace } from './blocks-place.ts';
import { BlocksScene } from './blocks-scene.ts';
import type { AgentParts } from '../parts.ts';
import { startReconciler } from '#lib/reconciler.ts';
import type { BlockStatus, Status } from '#api/status.ts';
import type { Block, BlockPool } from '#model/block.ts';
import type { Manifest } from '#model/manifest.ts';
import type { PoolMode } from '#model/road.ts';
import type { SubnetClaim } from '#model/world.ts';
import type { Address } from '#net/address.ts';
import type { Prefix } from '#net/prefix.ts';
import { BlockReclaimer } from '#controller/blocks-reclaim.ts';
import { watchLead } from '#controller/led.ts';
import { freeOf, heldBy, holderOf, nodesOf } from '#ipam/blocks/block.ts';
import { BlockIndex } from '#ipam/blocks/block-index.ts';
import { learnBlock, prefixNamed } from '#ipam/blocks/seen.ts';
import type { Feed } from '#stores/feed.ts';
import type { Stored, StoreKind } from '#stores/store.ts';

export type BlocksOptions = {
  readonly parts: Pick<AgentParts, 'settings' | 'store' | 'feeds' | 'clock' | 'signal' | 'log' | 'events'> & {
    readonly ledger: AddressLedger;
  };
  readonly claims: () => readonly SubnetClaim[];
  /** Names of all nodes that the store has an advert of; undefined while that is not known. */
  readonly nodes: () => ReadonlySet<string> | undefined;
  /** What is routed to the node by the block has changed. */
  readonly onNode: (node: string, block: Prefix) => void;
  /** The node's own place wants a pass. */
  readonly nudge: () => void;
};

/** Holding addresses, for an agent that takes them from blocks. */
type Own = {
  readonly scene: BlocksScene;
  readonly holder: BlockHolder;
  readonly place: BlockPlace;
  readonly allocator: BlockAllocator;
  readonly reclaimer: BlockReclaimer;
};

const LOOK_MS = 15_000;

/** Agents do not all try at once: each waits so much longer than the one before it by name, up to the last. */
const TURNS = { stepMs: 5000, maxMs: 120_000 } as const;

export class Blocks {
  readonly #options: BlocksOptions;
  readonly #index = new BlockIndex<Seen>();
  readonly #own: Own | undefined;
  readonly #feeds: Feed[] = [];
  #manifests: Feed | undefined;
  /** Somebody writes pods into the store: one that is not known yet may be there. */
  #hasPods = false;
  #problems = '';

  constructor(options: BlocksOptions) {
    this.#options = options;
    this.#index.onChange = (before, after) => this.#onChange(before, after);
    this.#own = options.parts.settings.addresses.type === 'blocks' ? this.#openOwn() : undefined;
  }

  #openOwn(): Own {
    const { parts, claims, nodes, nudge } = this.#options;
    const { settings, store, clock, events, ledger } = parts;
    const node = settings.node.name;
    const scene = new BlocksScene({ settings, index: this.#index, claims });
    const holder = new BlockHolder({
      store,
      node,
      clock,
      index: this.#index,
      lastOf: (block) => allocator.lastOf(block),
      onLost: (addresses, block) => this.#onLost(addresses, block),
    });
    const isAdvertised = (): boolean => nodes()?.has(node) !== false;
    const place = new BlockPlace({ settings, clock, events, holder, scene, isAdvertised });
    const allocator = new BlockAllocator({
      settings,
      lookUp: (name) => this.#lookUp(name),
      clock,
      ledger,
      holder,
      scene,
      isKnown: () => place.isKnown,
      onChange: () => (place.isDue() ? nudge() : undefined),
    });
    return { scene, holder, place, allocator, reclaimer: this.#openReclaimer() };
  }

  #openReclaimer(): BlockReclaimer {
    const { parts, nodes } = this.#options;
    const { settings, store, clock, events } = parts;
    const present = (): ReadonlySet<string> => nodes() ?? new Set(this.#index.nodes());
    const isLed = watchLead(store, clock);
    return new BlockReclaimer({
      store,
      clock,
      events,
      index: this.#index,
      nodes: present,
      graceMs: () => {
        const rank = [...present()].filter((name) => name < settings.node.name).length;
        const turnMs = Math.min(rank * TURNS.stepMs, TURNS.maxMs);
        return settings.addresses.blocks.reclaimSeconds * 1000 + turnMs;
      },
      mayTake: async () => !(await isLed()),
    });
  }

  /** Begins to follow the store. */
  begin(): void {
    this.#follow('Block', (name, object) => this.#onBlock(name, object));
    if (this.#own === undefined) return;
    const { scene } = this.#own;
    const { nudge } = this.#options;
    this.#follow('Pool', (name, object) => {
      scene.setPool(name, object && { origin: object.origin, spec: object.value });
      nudge();
    });
    this.#manifests = this.#follow('Manifest', (name, object) => {
      this.#hasPods ||= name.startsWith('v1/Pod/');
      if (scene.setManifest(name, object?.value as Manifest | undefined)) nudge();
    });
    this.#startLooking(this.#own);
  }

  /** For nodes that are gone, and for what is wrong with pools. */
  #startLooking(own: Own): void {
    const { clock, signal, log, settings } = this.#options.parts;
    startReconciler({
      clock,
      signal,
      resyncMs: Math.min(LOOK_MS, (settings.addresses.blocks.reclaimSeconds * 1000) / 4),
      pass: () => this.#pass(own),
      onError: (error) =>
        log.warn({ error: String(error) }, 'blocks of nodes that are gone were not reclaimed'),
    });
  }

  get synced(): boolean {
    return this.#feeds.every(({ synced }) => synced);
  }
  /** Undefined: this node has a subnet instead. */
  get place(): BlockPlace | undefined {
    return this.#own?.place;
  }
  get allocator(): AddressAllocator | undefined {
    return this.#own?.allocator;
  }
  /** What plans of the node and its peers must know of blocks and pools. */
  get forPlans(): { blocksOf: (node: string) => Prefix[]; poolModes: () => PoolMode[] } {
    const pools = (): readonly BlockPool[] => this.#own?.scene.book.pools ?? [];
    return {
      blocksOf: (node) => this.prefixesOf(node),
      poolModes: () => pools().flatMap(({ prefix, mode }) => (mode === undefined ? [] : [{ prefix, mode }])),
    };
  }
  /** What is routed to the node: its blocks, and each address that it holds of others'. */
  prefixesOf(node: string): Prefix[] {
    return this.#index.prefixesOf(node);
  }
  /** The node that packets to the address are routed to; undefined: no block leads anywhere. */
  routedTo(address: Address): string | undefined {
    const block = this.#index.at(address);
    return block && (holderOf(block, address) ?? block.node);
  }
  list(): Block[] {
    return [...this.#index.values()];
  }

  /** That this node goes by; none where its addresses are from a subnet. */
  pools(): readonly BlockPool[] {
    return this.#own?.scene.book.pools ?? [];
  }

  /** For status: all blocks, and the pools that this node takes some from. */
  describe(): Pick<Status, 'blocks' | 'blockPools'> {
    const blocks = this.list().map(describeBlock);
    const pools = this.#own?.scene.pools.map((pool) => ({
      name: pool.name,
      prefix: pool.prefix,
      blockLength: pool.blockLength,
      enabled: pool.enabled,
      automatic: pool.automatic,
      blocks: this.#index.within(pool.prefix).length,
    }));
    return {
      ...(blocks.length === 0 ? {} : { blocks: blocks.sort((a, b) => (a.prefix < b.prefix ? -1 : 1)) }),
      ...(pools === undefined ? {} : { blockPools: pools }),
    };
  }

  async #pass({ scene, reclaimer }: Own): Promise<'ok'> {
    if (this.#options.nodes() === undefined || !this.synced) return 'ok';
    this.#tellProblems(scene);
    await reclaimer.look();
    return 'ok';
  }

  /** The node was taken for gone, or somebody wrote to its block by hand. */
  #onLost(addresses: readonly Address[], block: Block | undefined): void {
    const who = (ip: Address): string => (block === undefined ? undefined : holderOf(block, ip)) ?? 'nobody';
    const told = addresses.map((ip) => `${ip} (${who(ip)})`).join(', ');
    this.#options.parts.events.add('error', `addresses in use here are held by others now: ${told}`);
  }

  #tellProblems(scene: BlocksScene): void {
    const problems = scene.problems();
    const text = problems.map(({ path, message }) => `${path}: ${message}`).join('; ');
    if (text !== this.#problems && text !== '') this.#options.parts.events.add('warning', `pools: ${text}`);
    this.#problems = text;
  }

  #follow(kind: StoreKind, onChange: (name: string, object: Stored | undefined) => void): Feed {
    const { parts, nudge } = this.#options;
    const feed = parts.feeds.follow(kind, { onChange, onSynced: nudge });
    this.#feeds.push(feed);
    return feed;
  }

  /** Without asking the store, but for a pod that it has and has not told of yet. */
  async #lookUp(name: string): Promise<Manifest | undefined> {
    const mayBeNew = this.#hasPods && name.startsWith('v1/Pod/');
    const known = this.#manifests?.objects.get(name);
    const object = known ?? (mayBeNew ? await this.#options.parts.store.get('Manifest', name) : undefined);
    return object?.value as Manifest | undefined;
  }

  #onBlock(name: string, object: Stored | undefined): void {
    const problem = learnBlock(this.#index, name, object);
    if (problem !== undefined)
      this.#options.parts.events.add('warning', `Block ${name} is not used: ${problem}`);
    if (this.#own?.holder.isDoubtful(prefixNamed(name)) === true) this.#options.nudge();
  }

  /** Also by what this node writes and reads itself, before the watch tells of it. */
  #onChange(before: Block | undefined, after: Block | undefined): void {
    const [block] = [before, after].flatMap((one) => one?.prefix ?? []);
    if (block === undefined) return;
    const touched = new Set([before, after].flatMap((one) => (one === undefined ? [] : nodesOf(one))));
    for (const node of touched) if (isOther(before, after, node)) this.#options.onNode(node, block);
  }
}

function describeBlock(block: Block): BlockStatus {
  const { prefix, node } = block;
  return {
    prefix,
    ...(node === undefined ? {} : { node }),
    free: freeOf(block).length,
    holders: nodesOf(block).map((name) => ({ node: name, held: heldBy(block, name).length })),
  };
}

/** Whether something else of the block is routed to the node. */
function isOther(before: Block | undefined, after: Block | undefined, node: string): boolean {
  const isWhole = (block: Block | undefined): boolean => block?.node === node;
  if (isWhole(before) && isWhole(after)) return false;
  const single = (block: Block | undefined): string =>
    block === undefined || isWhole(block) ? String(isWhole(block)) : heldBy(block, node).join();
  return single(before) !== single(after);
}
