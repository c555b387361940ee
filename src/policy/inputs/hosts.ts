/** Host endpoints and network sets as objects tell of them, with what these leave open put in: labels of profiles, interfaces. */
import type { RuleBook } from '#model/policy.ts';
import type { HostEndpoint, NetworkSet } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { findInterfaces, inheritLabels } from '../gather.ts';

export type LinkOf = (address: Address) => string | undefined;

export class Hosts {
  readonly #node: string;
  readonly #linkOf: LinkOf;
  readonly #tell: (key: string, endpoint: HostEndpoint | NetworkSet | undefined) => void;
  readonly #hosts = new Map<string, HostEndpoint>();

  constructor(
    { node, linkOf }: { readonly node: string; readonly linkOf: LinkOf },
    tell: (key: string, endpoint: HostEndpoint | NetworkSet | undefined) => void,
  ) {
    this.#node = node;
    this.#linkOf = linkOf;
    this.#tell = tell;
  }

  put(key: string, endpoint: HostEndpoint | NetworkSet | undefined): void {
    if (endpoint?.kind === 'host') this.#hosts.set(key, endpoint);
    else {
      this.#hosts.delete(key);
      this.#tell(key, endpoint);
    }
  }

  /** Each time all of them: there are few, and links come and go without a word. */
  update(profiles: RuleBook['profiles']): void {
    for (const [key, written] of this.#hosts) {
      const [endpoint] = findInterfaces([inheritLabels(written, profiles)], this.#node, this.#linkOf);
      this.#tell(key, endpoint);
    }
  }

  /** Addresses of this node's endpoints that name no interface. */
  *addressesWithoutLink(): Generator<Address> {
    for (const endpoint of this.#hosts.values())
      if (endpoint.node === this.#node && endpoint.interface === '') yield* endpoint.addresses;
  }
}
