/**
 * Brings what policies and the world come to into the kernel's table, and knows whether it is there. What always holds:
 * - nothing is loaded before `begin`: what a predecessor left stands until everything is known;
 * - a load that fails leaves what was there, and the next one replaces the whole table;
 * - after a change, connections that are denied by now are cut (where the settings say so).
 */
import type { Logger } from '#lib/log.ts';
import { Mirror } from './mirror.ts';
import type { Kernel } from '#kernel/kernel.ts';
import type { PolicyTable } from '#kernel/nftables/policy/policy.ts';
import type { PolicyProgram } from '#model/policy-program.ts';
import type { Flow } from '#model/verdict.ts';
import { createCompiler, type PolicyCompiler } from '#policy/compile/compiler.ts';
import { diffProgram, isEmptyDelta } from '#policy/compile/diff.ts';
import { simulate } from '#policy/compile/simulate.ts';
import type { PolicyView } from '#policy/inputs/inputs.ts';

/**
 * From a load to the walk over all connections. The kernel's part of a walk keeps a processor for 5 ms (262,144 buckets), on
 * many kernels without letting go of it: whom the change has woken goes first, and loads of one storm share a walk.
 */
const BEFORE_WALK_MS = 20;

export type LoaderOptions = {
  readonly node: string;
  readonly kernel: Kernel;
  readonly table: PolicyTable;
  readonly log: Logger;
  /** Ends connections that a change denies. */
  readonly cuts: boolean;
};

export class Loader {
  readonly #options: LoaderOptions;
  readonly #compiler: PolicyCompiler;
  readonly #mirror: Mirror;
  #isSuspect = false;
  #cutting: Promise<void> | undefined;
  #cutAgain = false;

  constructor(options: LoaderOptions) {
    this.#options = options;
    this.#compiler = createCompiler(options.node);
    this.#mirror = new Mirror(options.table, (error) =>
      options.log.warn({ error: String(error) }, 'a change of policies did not fit; replacing all'),
    );
  }

  /** As it is meant to be in the kernel, at any time: no copy, as there are tens of thousands of entries. */
  get program(): PolicyProgram {
    return this.#compiler.living;
  }

  /** Somebody else wrote into the table: the next load compares. */
  suspect(): void {
    this.#isSuspect = true;
  }

  /** Throws NetlinkError, with the kernel as it was. Answers whether anything changed. */
  load({ book, world }: PolicyView): boolean {
    const { table } = this.#options;
    const delta = this.#compiler.update(book, world);
    if (this.#mirror.isLoaded && this.#isSuspect && !table.isOwned()) this.#compare();
    else if (this.#mirror.isLoaded && delta === undefined) return false;
    else this.#mirror.put(this.program, delta);
    return true;
  }

  /** What a table holds that is no longer owned, or never could be (Linux before 6.9). */
  #compare(): void {
    const { table, log } = this.#options;
    const { program, intact } = table.dumpPolicy();
    const delta = diffProgram(program, this.program);
    if (intact && delta !== undefined && isEmptyDelta(delta)) {
      this.#isSuspect = false;
      return;
    }
    log.warn({ entries: delta?.entries.size }, 'the policy table was changed by somebody else; replacing it');
    this.#mirror.replace(this.program);
    this.#isSuspect = false;
  }

  /** One walk at a time; what is asked for meanwhile is one more. Resolves when connections are as policies say. */
  cut(): Promise<void> {
    if (!this.#options.cuts) return Promise.resolve();
    this.#cutAgain = true;
    this.#cutting ??= this.#cutAll().finally(() => {
      this.#cutting = undefined;
    });
    return this.#cutting;
  }

  async #cutAll(): Promise<void> {
    const { kernel, log } = this.#options;
    while (this.#cutAgain) {
      await new Promise((resolve) => setTimeout(resolve, BEFORE_WALK_MS).unref());
      this.#cutAgain = false;
      try {
        const { cut, restored } = await kernel.cutConnections(
          (flow) => !isFromLoopback(flow) && simulate(this.program, flow).action === 'deny',
        );
        if (cut + restored > 0) log.info({ cut, restored }, 'connections follow the changed policies');
      } catch (error) {
        this.#cutAgain = true;
        log.warn({ error: String(error) }, 'connections were not cut; trying again');
        await new Promise((resolve) => setTimeout(resolve, 1000).unref());
      }
    }
  }
}

/** By 127.0.0.0/8 only the node itself reaches host ports of its pods, from whichever of these addresses: as it always may. */
function isFromLoopback({ source }: Flow): boolean {
  return source.startsWith('127.');
}
