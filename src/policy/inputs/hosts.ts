/**
 * Host endpoints and network sets as objects tell of them, with what these leave open put in: labels of profiles, and the
 * interface of an endpoint of this node that has only addresses.
 */
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
  readonly #dirty = new Set<string>();
  /** Those that this node has to find the interface of. */
  readonly #unlinked = new Set<string>();
  #profiles: RuleBook['profiles'] | undefined;

  constructor(
    { node, linkOf }: { readonly node: string; readonly linkOf: LinkOf },
    tell: (key: string, endpoint: HostEndpoint | NetworkSet | undefined) => void,
  ) {
    this.#node = node;
    this.#linkOf = linkOf;
    this.#tell = tell;
  }

  put(key: string, endpoint: HostEndpoint | NetworkSet | undefined): void {
    this.#hosts.delete(key);
    this.#unlinked.delete(key);
    this.#dirty.delete(key);
    if (endpoint?.kind !== 'host') {
      this.#tell(key, endpoint);
      return;
    }
    this.#hosts.set(key, endpoint);
    this.#dirty.add(key);
    if (endpoint.node === this.#node && endpoint.interface === '') this.#unlinked.add(key);
  }

  /** Asks for interfaces each time: links come and go without a word. */
  update(profiles: RuleBook['profiles']): void {
    const isNew = profiles !== this.#profiles;
    this.#profiles = profiles;
    const keys = isNew ? this.#hosts.keys() : this.#dirty.union(this.#unlinked);
    for (const key of keys) {
      const written = this.#hosts.get(key);
      if (written === undefined) continue;
      const [endpoint] = findInterfaces([inheritLabels(written, profiles)], this.#node, this.#linkOf);
      this.#tell(key, endpoint);
    }
    this.#dirty.clear();
  }

  /** What it knows of interfaces now. */
  links(): { readonly address: Address; readonly link: string }[] {
    const asked = [...this.#unlinked].flatMap((key) => this.#hosts.get(key)?.addresses ?? []);
    return [...new Set(asked)].flatMap((address) => {
      const link = this.#linkOf(address);
      return link === undefined ? [] : [{ address, link }];
    });
  }
}
