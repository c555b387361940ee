/**
 * Stops a pass that would take too much at once: a source that lies, a settings file of another cluster, names of nodes that
 * changed. What is stopped stays so until fewer are gone, or the operator raises the share.
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
  readonly #stopped = new Map<string, string>();

  constructor(options: BrakeOptions) {
    this.#options = options;
  }

  /** Why nothing is removed at the moment, by what would be. */
  get reason(): string | undefined {
    return this.#stopped.size === 0 ? undefined : [...this.#stopped.values()].join('; ');
  }

  /** `what` names a pass, and reads well after the number of nodes. */
  allows(what: string, gone: number, all: number): boolean {
    const { share, minimum, events } = this.#options;
    if (gone <= Math.max(minimum, share * all)) {
      this.#stopped.delete(what);
      return true;
    }
    const why = `${gone} of ${all} nodes ${what}: that many at once are not believed (controller.brake)`;
    if (!this.#stopped.has(what)) events.add('error', why);
    this.#stopped.set(what, why);
    return false;
  }
}
