/** Nodes: labels of their v1 Node, addresses of their agents' adverts and of their v1 Node. */
import type { Node } from '#model/workload.ts';
import type { Address } from '#net/address.ts';

export class Nodes {
  readonly #objects = new Map<string, Node>();
  readonly #adverts = new Map<string, readonly Address[]>();
  readonly #tell: (name: string, node: Node | undefined) => void;

  constructor(tell: (name: string, node: Node | undefined) => void) {
    this.#tell = tell;
  }

  putObject(name: string, object: Node | undefined): void {
    if (object === undefined) this.#objects.delete(name);
    else this.#objects.set(name, object);
    this.#update(name);
  }

  putAddresses(name: string, addresses: readonly Address[] | undefined): void {
    if (addresses === undefined) this.#adverts.delete(name);
    else this.#adverts.set(name, addresses);
    this.#update(name);
  }

  #update(name: string): void {
    const object = this.#objects.get(name);
    const advert = this.#adverts.get(name);
    if (object === undefined && advert === undefined) this.#tell(name, undefined);
    else
      this.#tell(name, {
        labels: object?.labels ?? {},
        addresses: [...new Set([...(advert ?? []), ...(object?.addresses ?? [])])].sort(),
      });
  }
}
