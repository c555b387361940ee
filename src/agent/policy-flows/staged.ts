/**
 * What policies would be with the staged ones in force, in a table that only tells. It is there only while something is
 * staged. Nothing here ever fails a load: what is enforced does not depend on it.
 */
import type { Logger } from '../log.ts';
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
  #program: PolicyProgram | undefined;
  #isLoaded = false;
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
  }

  /** Undefined: nothing is staged. A copy, made at most once per load. */
  program(): PolicyProgram | undefined {
    this.#program ??= this.#compiler?.program();
    return this.#program;
  }

  /** Each time when what is enforced has been loaded. */
  load({ book, world }: Pick<PolicyView, 'book' | 'world'>): void {
    try {
      if (book.pending === undefined) this.remove();
      else this.#update({ ...book, enforced: book.pending }, world);
    } catch (error) {
      this.#isLoaded = false;
      this.#options.log.warn(
        { error: String(error) },
        'staged policies cannot be loaded; nothing is told of them',
      );
    }
  }

  #update(book: RuleBook, world: PolicyView['world']): void {
    this.#compiler ??= createCompiler(this.#options.node);
    const delta = this.#compiler.update(book, world);
    // The same entries may have other reasons: lines of files move.
    this.#program = undefined;
    if (this.#options.logPerSecond === 0 || !this.#table.canLog()) return;
    if (this.#isLoaded && delta === undefined) return;
    this.#mayBeThere = true;
    if (!this.#isLoaded || delta === undefined) this.#replace();
    else {
      try {
        this.#table.loadPolicy(delta);
      } catch {
        this.#replace();
      }
    }
  }

  #replace(): void {
    this.#isLoaded = false;
    this.#table.replacePolicy(this.program() ?? EMPTY);
    this.#isLoaded = true;
  }

  /** Throws NetlinkError. */
  remove(): void {
    this.#compiler = undefined;
    this.#program = undefined;
    this.#isLoaded = false;
    if (!this.#mayBeThere) return;
    this.#table.removePolicy();
    this.#mayBeThere = false;
  }
}

const EMPTY: PolicyProgram = { entries: new Map(), chains: new Map(), reasons: new Map(), logs: new Map() };
