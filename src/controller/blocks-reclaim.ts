/**
 * Gives back what nodes hold of blocks that are gone: whose advert has not been in the store for the whole grace, and that gave
 * no sign of life in the block meanwhile. A node that starts writes to each of its blocks first, so either it sees that they
 * are lost, or whoever was about to reclaim them has its write refused. Where no controller leads, agents do it.
 */
import { Absences } from './absences.ts';
import type { FencedStore } from './fence.ts';
import { dropNode } from '#ipam/blocks/block.ts';
import type { BlockIndex } from '#ipam/blocks/block-index.ts';
import { readBlock, type SeenBlock } from '#ipam/blocks/seen.ts';
import { claimName } from '#ipam/subnet.ts';
import type { Clock } from '#lib/clock.ts';
import type { Events } from '#lib/log.ts';
import { toFault } from '#model/fault.ts';
import type { Prefix } from '#net/prefix.ts';
import type { Version } from '#stores/store.ts';

export type ReclaimOptions = {
  readonly store: FencedStore;
  readonly clock: Clock;
  readonly events: Pick<Events, 'add'>;
  readonly index: BlockIndex<SeenBlock<Version>>;
  /** Names of all nodes that the store has an advert of. */
  readonly nodes: () => ReadonlySet<string>;
  /** How long a node must have been away; asked at each look. */
  readonly graceMs: () => number;
  /** Asked before anything of these nodes is taken. */
  readonly mayTake: (gone: ReadonlySet<string>) => boolean | Promise<boolean>;
};

type Holding = { readonly prefix: Prefix; readonly node: string; readonly term: number };

export class BlockReclaimer {
  readonly #options: ReclaimOptions;
  readonly #absences = new Absences();

  constructor(options: ReclaimOptions) {
    this.#options = options;
  }

  /** From time to time, while the adverts of all nodes are known. */
  async look(): Promise<void> {
    const due = this.#due();
    const gone = new Set(due.map(({ node }) => node));
    if (gone.size === 0 || !(await this.#options.mayTake(gone))) return;
    for (const holding of due) await this.#reclaim(holding);
  }

  /** What has been nobody's for long enough. */
  #due(): Holding[] {
    const { index, nodes, clock, graceMs } = this.#options;
    const present = nodes();
    const now = clock.monotonicMs();
    const holdings = index
      .nodes()
      .filter((node) => !present.has(node))
      .flatMap((node) =>
        index.ofNode(node).map((block) => ({ prefix: block.prefix, node, term: termOf(block, node) })),
      );
    this.#absences.keep(new Set(holdings.map(keyOf)));
    return holdings.filter(
      (holding) => this.#absences.note(keyOf(holding), String(holding.term), now) >= graceMs(),
    );
  }

  /** The block is read before the advert is looked for: a node that writes its advert and then its block is seen by either. */
  async #reclaim({ prefix, node, term }: Holding): Promise<void> {
    const { store, events } = this.#options;
    const name = claimName(prefix);
    try {
      const stored = await store.get('Block', name);
      const block = stored === undefined ? undefined : readBlock(name, stored);
      if (block === undefined || typeof block === 'string' || termOf(block, node) !== term) return;
      const pods = await store.get('Workloads', node);
      if ((await store.get('Node', node)) !== undefined) return;
      // Whoever has these addresses next must not be taken for the pods of this node.
      if (pods !== undefined) await store.remove('Workloads', node, { expect: pods.version });
      const { version: expect, ...value } = block;
      const next = dropNode(value, node);
      if (next === undefined) await store.remove('Block', name, { expect });
      else await store.put('Block', name, next, { expect });
      events.add('warning', `node ${node} is gone: what it held of block ${prefix} is free again`, {
        aboutNode: node,
      });
    } catch (error) {
      // Somebody else did it, or will.
      if (toFault(error).code !== 'store-conflict') throw error;
    }
  }
}

function keyOf({ prefix, node }: Holding): string {
  return `${prefix} ${node}`;
}

function termOf({ holders }: SeenBlock<Version>, node: string): number {
  return holders[node]?.term ?? 0;
}
