/** What BIRD has written to the kernel, looked at again whenever the kernel tells that something changed. */
import type { Kernel } from '#kernel/kernel.ts';
import type { RouteItem } from '#model/host.ts';
import type { Prefix } from '#net/prefix.ts';

export class Learned {
  readonly #kernel: Pick<Kernel, 'learnedRoutes'>;
  routes: ReadonlyMap<Prefix, RouteItem> = new Map();

  constructor(kernel: Pick<Kernel, 'learnedRoutes'>) {
    this.#kernel = kernel;
  }

  /** Answers whether other prefixes are learned now. */
  refresh(): boolean {
    const before = this.routes;
    this.routes = new Map(this.#kernel.learnedRoutes().map((route) => [route.prefix, route]));
    return before.size !== this.routes.size || this.routes.keys().some((prefix) => !before.has(prefix));
  }

  has(prefix: Prefix): boolean {
    return this.routes.has(prefix);
  }
}
