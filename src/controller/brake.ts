/**
 * Stops a pass that would take too much at once: a source that lies, a settings file of another cluster, names of nodes that
 * changed. What is stopped stays so until fewer are gone, or an operator says that they are.
 */
import type { Events } from '#lib/log.ts';

export type BrakeOptions = {
  /** 0–1 of all nodes. */
  readonly share: number;
  /** So many nodes are never too many. */
  readonly minimum: number;
  readonly events: Pick<Events, 'add'>;
};

export class Brake {
  readonly #options: BrakeOptions;
  /** What would take too much, with the number of nodes. */
  readonly #large = new Map<string, number>();
  readonly #stopped = new Map<string, string>();
  #believed = 0;

  constructor(options: BrakeOptions) {
    this.#options = options;
  }

  /** Why nothing is removed at the moment, by what would be. */
  get reason(): string | undefined {
    return this.#stopped.size === 0 ? undefined : [...this.#stopped.values()].join('; ');
  }

  /** Of how many nodes something would be removed, at most. */
  get gone(): number {
    return Math.max(0, ...this.#large.values());
  }

  /** An operator says that so many are gone. It counts until no more are than are never too many. */
  believe(gone: number): void {
    if (gone <= this.#believed) return;
    this.#believed = gone;
    this.#options.events.add(
      'warning',
      `an operator says that ${gone} nodes are gone: what they had is taken back`,
    );
  }

  /** `what` names a pass, and reads well after the number of nodes. */
  allows(what: string, gone: number, all: number): boolean {
    const { share, minimum, events } = this.#options;
    if (gone > Math.max(minimum, share * all)) this.#large.set(what, gone);
    else this.#large.delete(what);
    if (this.#large.size === 0) this.#believed = 0;
    if (!this.#large.has(what) || gone <= this.#believed) {
      this.#stopped.delete(what);
      return true;
    }
    const why = `${gone} of ${all} nodes ${what}: that many at once are not believed (tartan resume --cluster)`;
    if (!this.#stopped.has(what)) events.add('error', why);
    this.#stopped.set(what, why);
    return false;
  }
}
