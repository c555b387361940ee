/**
 * Deletes host ends of pods in the background. Deleting one link holds the kernel for some 20 ms, many at once no
 * longer (kernel.reapLinks); while one deletion runs, the next ones gather.
 */
import type { Logger } from '#lib/log.ts';
import type { Kernel } from '#kernel/kernel.ts';

export class Reaper {
  readonly #kernel: Kernel;
  readonly #log: Logger;
  readonly #gone = new Map<string, Promise<void>>();

  constructor(kernel: Kernel, log: Logger) {
    this.#kernel = kernel;
    this.#log = log;
  }

  /** Resolves when the links are gone. Rejects when the kernel refused; they may be asked for again. */
  async reap(names: readonly string[]): Promise<void> {
    const fresh = names.filter((name) => !this.#gone.has(name));
    if (fresh.length > 0) {
      const done = this.#kernel.reapLinks(fresh).finally(() => {
        for (const name of fresh) this.#gone.delete(name);
      });
      done.catch((error: unknown) =>
        this.#log.warn({ links: fresh, error: String(error) }, 'links cannot be deleted'),
      );
      for (const name of fresh) this.#gone.set(name, done);
    }
    await Promise.all(names.flatMap((name) => this.#gone.get(name) ?? []));
  }

  /** Resolves when no deletion of this link is under way. */
  async settled(name: string): Promise<void> {
    await this.#gone.get(name)?.catch(() => undefined);
  }
}
