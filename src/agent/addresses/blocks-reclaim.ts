/**
 * Gives back what nodes hold that are gone: whose advert has not been in the store for the whole grace, and that gave no sign of
 * life in the block meanwhile. A node that starts writes to each of its blocks first, so either it sees that they are
 * lost, or whoever was about to reclaim them has its write refused.
 */
import type { Seen } from './blocks-holder.ts';
import { readBlock } from './blocks-holder.ts';
import type { Events } from '#lib/log.ts';
import { dropNode } from '#ipam/blocks/block.ts';
import type { BlockIndex } from '#ipam/blocks/block-index.ts';
import { claimName } from '#ipam/subnet.ts';
import type { Clock } from '#lib/clock.ts';
import { toFault } from '#model/fault.ts';
import type { Prefix } from '#net/prefix.ts';
import type { Store } from '#stores/store.ts';

export type ReclaimOptions = {
  readonly store: Omit<Store, 'watch'>;
  readonly clock: Clock;
  readonly events: Events;
  readonly index: BlockIndex<Seen>;
  readonly node: string;
  /** Names of all nodes that the store has an advert of. */
  readonly nodes: () => ReadonlySet<string>;
  readonly graceMs: number;
};

type Absence = { readonly term: number; readonly sinceMs: number };

/** Agents do not all try at once: each waits so much longer than the one before it by name, up to the last. */
const STAGGER = { stepMs: 5000, maxMs: 120_000 } as const;

export class BlockReclaimer {
  readonly #options: ReclaimOptions;
  readonly #absent = new Map<string, Absence>();

  constructor(options: ReclaimOptions) {
    this.#options = options;
  }

  /** From time to time, while the adverts of all nodes are known. */
  async look(): Promise<void> {
    const { index, nodes, clock } = this.#options;
    const present = nodes();
    const now = clock.monotonicMs();
    const missing = new Set<string>();
    for (const node of index.nodes()) {
      if (present.has(node)) continue;
      for (const block of index.ofNode(node)) {
        const key = `${block.prefix} ${node}`;
        missing.add(key);
        if (this.#isOver(key, termOf(block, node), now)) await this.#reclaim(block.prefix, node);
      }
    }
    for (const key of this.#absent.keys()) if (!missing.has(key)) this.#absent.delete(key);
  }

  #isOver(key: string, term: number, now: number): boolean {
    const before = this.#absent.get(key);
    if (before?.term !== term) this.#absent.set(key, { term, sinceMs: now });
    const sinceMs = before?.term === term ? before.sinceMs : now;
    return now - sinceMs >= this.#options.graceMs + this.#staggerMs();
  }
  #staggerMs(): number {
    const { nodes, node } = this.#options;
    const rank = [...nodes()].filter((name) => name < node).length;
    return Math.min(rank * STAGGER.stepMs, STAGGER.maxMs);
  }

  /** The block is read before the advert is looked for: a node that writes its advert and then its block is seen by either. */
  async #reclaim(prefix: Prefix, node: string): Promise<void> {
    const { store, events } = this.#options;
    const name = claimName(prefix);
    try {
      const stored = await store.get('Block', name);
      const block = stored === undefined ? undefined : readBlock(name, stored);
      if (block === undefined || typeof block === 'string') return;
      if (termOf(block, node) !== this.#absent.get(`${prefix} ${node}`)?.term) return;
      if ((await store.get('Node', node)) !== undefined) return;
      // Whoever has these addresses next must not be taken for the pods of this node.
      await store.remove('Workloads', node);
      const { version: expect, ...value } = block;
      const next = dropNode(value, node);
      if (next === undefined) await store.remove('Block', name, { expect });
      else await store.put('Block', name, next, { expect });
      events.add('warning', `node ${node} is gone: what it held of block ${prefix} is free again`);
    } catch (error) {
      // Another agent did it, or will.
      if (toFault(error).code !== 'store-conflict') throw error;
    }
  }
}

function termOf({ holders }: Seen, node: string): number {
  return holders[node]?.term ?? 0;
}
