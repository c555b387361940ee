/** Who is subject to rules about names, and which names these are: whose answers are to be followed. */
import { matchesSelector } from '#model/selector-match.ts';
import type { Pod, PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { endpointLabels } from '../selector.ts';
import type { Naming } from './naming.ts';

export type Askers = {
  /** As rules have them. */
  readonly names: ReadonlySet<string>;
  /** Of the node's pods that some such rule may be asked for; none without names. */
  readonly addresses: ReadonlySet<Address>;
};

/** Keeps what it found of rules and of a world while these are the same. */
export class AskerFinder {
  readonly #node: string;
  #naming: Naming | undefined;
  #world: PolicyWorld | undefined;
  #found: Askers = { names: new Set(), addresses: new Set() };

  constructor(node: string) {
    this.#node = node;
  }

  /** The same object while neither names nor addresses have changed. */
  find(naming: Naming, world: PolicyWorld): Askers {
    const isSame = this.#naming === naming && this.#world !== undefined && isSameWorld(this.#world, world);
    [this.#naming, this.#world] = [naming, world];
    if (isSame) return this.#found;
    const { names } = naming;
    const addresses = names.size === 0 ? new Set<Address>() : addressesOf(naming, world, this.#node);
    if (!isEqual(names, this.#found.names) || !isEqual(addresses, this.#found.addresses))
      this.#found = { names, addresses };
    return this.#found;
  }
}

function addressesOf(naming: Naming, world: PolicyWorld, node: string): Set<Address> {
  const pods = world.endpoints.filter(
    (each): each is Pod => each.kind === 'pod' && each.node === node && !each.hostNetwork,
  );
  return new Set(pods.filter((pod) => isSubject(naming, pod, world)).flatMap(({ addresses }) => addresses));
}

function isSubject({ policies, profiles }: Naming, pod: Pod, world: PolicyWorld): boolean {
  if (pod.profiles?.some((name) => profiles.has(name)) === true) return true;
  const labels = endpointLabels(world, pod);
  return policies.some(({ subjects }) => matchesSelector(subjects, labels));
}

/** As far as it says whom a policy selects. */
function isSameWorld(a: PolicyWorld, b: PolicyWorld): boolean {
  return a.endpoints === b.endpoints && a.namespaces === b.namespaces && a.accounts === b.accounts;
}

const isEqual = <T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean => a.symmetricDifference(b).size === 0;
