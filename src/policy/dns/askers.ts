/** Who is subject to rules about names, and which names these are: whose answers are to be followed. */
import type { Policy, Profile, RuleBook } from '#model/policy.ts';
import { matchesSelector } from '#model/selector-match.ts';
import type { Pod, PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { endpointLabels } from '../selector.ts';

export type Askers = {
  /** As rules have them. */
  readonly names: ReadonlySet<string>;
  /** Of the node's pods that some such rule may be asked for; none without names. */
  readonly addresses: ReadonlySet<Address>;
};

type Naming = {
  readonly names: ReadonlySet<string>;
  readonly policies: readonly Policy[];
  readonly profiles: ReadonlySet<string>;
};

/** Keeps what it found of a rule book and of a world while these are the same. */
export class AskerFinder {
  readonly #node: string;
  #book: RuleBook | undefined;
  #naming: Naming = { names: new Set(), policies: [], profiles: new Set() };
  #world: PolicyWorld | undefined;
  #found: Askers = { names: new Set(), addresses: new Set() };

  constructor(node: string) {
    this.#node = node;
  }

  /** The same object while neither names nor addresses have changed. */
  find(book: RuleBook, world: PolicyWorld): Askers {
    const isSame = this.#book === book && this.#world !== undefined && isSameWorld(this.#world, world);
    if (this.#book !== book) this.#naming = namingOf(book);
    [this.#book, this.#world] = [book, world];
    if (isSame) return this.#found;
    const { names } = this.#naming;
    const addresses = names.size === 0 ? new Set<Address>() : this.#addresses(world);
    if (!isEqual(names, this.#found.names) || !isEqual(addresses, this.#found.addresses))
      this.#found = { names, addresses };
    return this.#found;
  }

  #addresses(world: PolicyWorld): Set<Address> {
    const pods = world.endpoints.filter(
      (each): each is Pod => each.kind === 'pod' && each.node === this.#node && !each.hostNetwork,
    );
    return new Set(
      pods.filter((pod) => isSubject(this.#naming, pod, world)).flatMap(({ addresses }) => addresses),
    );
  }
}

function isSubject({ policies, profiles }: Naming, pod: Pod, world: PolicyWorld): boolean {
  if (pod.profiles?.some((name) => profiles.has(name)) === true) return true;
  const labels = endpointLabels(world, pod);
  return policies.some(({ subjects }) => matchesSelector(subjects, labels));
}

/** Staged ones too: what they would allow is to be told truly. */
function namingOf({ enforced, pending = [], profiles }: RuleBook): Naming {
  const names = new Set<string>();
  const note = (each: Policy | Profile): boolean => {
    const found = namesOf(each);
    for (const name of found) names.add(name);
    return found.length > 0;
  };
  const policies = [...enforced, ...pending].flatMap((tier) => tier.policies);
  return {
    policies: [...new Set(policies)].filter(note),
    profiles: new Set([...profiles.values()].filter(note).map(({ name }) => name)),
    names,
  };
}

function namesOf({ egress }: Policy | Profile): readonly string[] {
  return egress.flatMap(({ destination }) =>
    destination.flatMap(({ anyOf }) => anyOf.flatMap((set) => (set.kind === 'names' ? set.names : []))),
  );
}

/** As far as it says whom a policy selects. */
function isSameWorld(a: PolicyWorld, b: PolicyWorld): boolean {
  return a.endpoints === b.endpoints && a.namespaces === b.namespaces && a.accounts === b.accounts;
}

const isEqual = <T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean => a.symmetricDifference(b).size === 0;
