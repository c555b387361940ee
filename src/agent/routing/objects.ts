/** Objects of routing by their names: of one that becomes wrong, what was in force stays. */
import type { Problem } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import type { ServiceAddress } from '#model/routing.ts';
import { frontendOf, joinRouting, type Parsed, type RoutingObjects } from '#routing/frontends/index.ts';
import { readServiceObject, serviceAddresses, type ServiceObject } from '#routing/services.ts';

type Held = { readonly good?: Parsed; readonly problems: readonly Problem[] };

export class HeldObjects {
  readonly #held = new Map<string, Held>();
  readonly #ofServices = new Map<string, Exclude<ServiceObject, undefined>>();
  #services: readonly ServiceAddress[] | undefined;

  /** Answers whether the object is one of routing, or was. */
  set(name: string, manifest: Manifest | undefined): boolean {
    const wasOfService = this.#setService(name, manifest);
    return this.#setOwn(name, manifest) || wasOfService;
  }

  /** Addresses of services, with the nodes that have endpoints of theirs. */
  services(): readonly ServiceAddress[] {
    this.#services ??= serviceAddresses(this.#ofServices.values());
    return this.#services;
  }

  #setService(name: string, manifest: Manifest | undefined): boolean {
    const object = manifest === undefined ? undefined : readServiceObject(manifest);
    const isOne = object !== undefined || this.#ofServices.has(name);
    if (isOne) this.#services = undefined;
    if (object === undefined) this.#ofServices.delete(name);
    else this.#ofServices.set(name, object);
    return isOne;
  }

  #setOwn(name: string, manifest: Manifest | undefined): boolean {
    const frontend = manifest === undefined ? undefined : frontendOf(manifest);
    if (manifest === undefined || frontend === undefined) return this.#held.delete(name);
    const parsed = frontend.parse(manifest);
    const before = this.#held.get(name)?.good;
    const good = parsed.problems.length === 0 ? parsed : before;
    this.#held.set(name, { ...(good === undefined ? {} : { good }), problems: parsed.problems });
    return true;
  }

  /** In the order of their names, whatever order they came in. */
  all(): RoutingObjects & { readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] } {
    const held = [...this.#held].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
    const joined = joinRouting(held.flatMap(({ good }) => good ?? []));
    return { ...joined, problems: held.flatMap(({ problems }) => problems) };
  }

  /** Names of nodes that objects tell of. */
  nodes(): Set<string> {
    return new Set(this.#held.values().flatMap(({ good }) => good?.nodes.map(({ name }) => name) ?? []));
  }
}
