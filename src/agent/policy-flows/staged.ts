/**
 * What policies would be with the staged ones in force, in a table that only tells. It is there only while something is
 * staged. Nothing here ever fails a load: what is enforced does not depend on it.
 */
import type { Logger } from '#lib/log.ts';
import { Mirror } from '../policy/mirror.ts';
import type { Kernel } from '#kernel/kernel.ts';
import type { PolicyTable } from '#kernel/nftables/policy/policy.ts';
import type { PolicyProgram } from '#model/policy-program.ts';
import type { RuleBook } from '#model/policy.ts';
import { createCompiler, type PolicyCompiler } from '#policy/compile/compiler.ts';
import type { PolicyView } from '#policy/inputs/inputs.ts';

export type StagedOptions = {
  readonly node: string;
  readonly kernel: Pick<Kernel, 'openPolicy'>;
  readonly log: Logger;
  /** The bridge that pods hang on, where they do. */
  readonly bridge?: string;
  /** 0: nothing is told, so there is no table either. */
  readonly logPerSecond: number;
};

export class Staged {
  readonly #options: StagedOptions;
  readonly #table: PolicyTable;
  #compiler: PolicyCompiler | undefined;
  readonly #mirror: Mirror;
  /** What a predecessor left is still to be removed. */
  #mayBeThere = true;

  constructor(options: StagedOptions) {
    this.#options = options;
    const { kernel, logPerSecond, bridge } = options;
    this.#table = kernel.openPolicy({
      table: 'staged',
      denial: { logPerSecond, audit: true },
      ...(bridge === undefined ? {} : { bridge }),
    });
    this.#mirror = new Mirror(this.#table, () => {});
  }

  /** Undefined: nothing is staged. No copy. */
  program(): PolicyProgram | undefined {
    return this.#compiler?.living;
  }

  /** Each time when what is enforced has been loaded. */
  load({ book, world }: Pick<PolicyView, 'book' | 'world'>): void {
    try {
      if (book.pending === undefined) this.remove();
      else this.#update({ ...book, enforced: book.pending }, world);
    } catch (error) {
      this.#mirror.forget();
      this.#options.log.warn(
        { error: String(error) },
        'staged policies cannot be loaded; nothing is told of them',
      );
    }
  }

  #update(book: RuleBook, world: PolicyView['world']): void {
    this.#compiler ??= createCompiler(this.#options.node);
    const delta = this.#compiler.update(book, world);
    if (this.#options.logPerSecond === 0 || !this.#table.canLog()) return;
    this.#mayBeThere = true;
    this.#mirror.put(this.#compiler.living, delta);
  }

  /** Throws NetlinkError. */
  remove(): void {
    this.#compiler = undefined;
    this.#mirror.forget();
    if (!this.#mayBeThere) return;
    this.#table.removePolicy();
    this.#mayBeThere = false;
  }
}
