/** What scripts are made of, as short texts: equal exactly when it is the same. */
import type { RuleBook } from '#model/policy.ts';
import { policyName } from '../book.ts';
import type { Selected } from './lines.ts';

/** Numbers of objects: parts of books and worlds that have not changed are the same objects as before. */
export class Ids {
  readonly #known = new WeakMap<object, number>();
  #next = 1;

  /** 0 for what is not there. */
  of(thing: object | undefined): number {
    if (thing === undefined) return 0;
    const known = this.#known.get(thing);
    if (known !== undefined) return known;
    this.#known.set(thing, this.#next);
    return this.#next++;
  }

  ofTiers(tiers: readonly Selected[]): string {
    return tiers
      .map(({ tier, policies }) => [tier, ...policies].map((each) => this.of(each)).join())
      .join(';');
  }

  ofProfiles({ profiles }: RuleBook, names: readonly string[]): string {
    return names.map((name) => `${name} ${this.of(profiles.get(name))}`).join();
  }
}

/** The same for as long as they are the same by name, whatever they say. */
export function nameTiers(tiers: readonly Selected[]): string {
  return tiers.map(({ tier, policies }) => [tier.name, ...policies.map(policyName)].join()).join(';');
}
