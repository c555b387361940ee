/**
 * A program in one table of the kernel. What always holds: a change that does not fit, or that may have failed half-way
 * before, is followed by the whole program; a load that throws leaves what was there.
 */
import type { PolicyTable } from '#kernel/nftables/policy/policy.ts';
import type { PolicyDelta, PolicyProgram } from '#model/policy-program.ts';

export class Mirror {
  readonly #table: PolicyTable;
  readonly #onMisfit: (error: unknown) => void;
  #isLoaded = false;

  constructor(table: PolicyTable, onMisfit: (error: unknown) => void) {
    this.#table = table;
    this.#onMisfit = onMisfit;
  }

  /** The kernel holds what was put last, as far as is known. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** It is not known any more what the kernel holds. */
  forget(): void {
    this.#isLoaded = false;
  }

  /** Throws NetlinkError. `delta`: what has changed in the program since the last time; undefined: nothing. */
  put(program: PolicyProgram, delta: PolicyDelta | undefined): void {
    if (!this.#isLoaded) return this.replace(program);
    if (delta === undefined) return;
    this.#isLoaded = false;
    try {
      this.#table.loadPolicy(delta);
      this.#isLoaded = true;
    } catch (error) {
      this.#onMisfit(error);
      this.replace(program);
    }
  }

  /** Throws NetlinkError. */
  replace(program: PolicyProgram): void {
    this.#isLoaded = false;
    this.#table.replacePolicy(program);
    this.#isLoaded = true;
  }
}
