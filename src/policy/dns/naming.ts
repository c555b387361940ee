/** Policies and profiles whose rules name DNS names, picked out as they come and go: there may be ten thousand of others. */
import type { Policy, Profile } from '#model/policy.ts';

export type Naming = {
  /** As rules have them. */
  readonly names: ReadonlySet<string>;
  readonly policies: readonly Policy[];
  /** By name. */
  readonly profiles: ReadonlySet<string>;
};

type Ruled = Policy | Profile;

export class NamingRules {
  readonly #ruled = new Map<string, readonly Ruled[]>();
  #value: Naming | undefined;

  /** What there is under this key now. */
  put(key: string, all: readonly Ruled[]): void {
    const naming = all.filter((each) => namesOf(each).length > 0);
    if (naming.length === 0 && !this.#ruled.has(key)) return;
    this.#value = undefined;
    if (naming.length === 0) this.#ruled.delete(key);
    else this.#ruled.set(key, naming);
  }

  /** The same object while nothing has changed. */
  value(): Naming {
    if (this.#value !== undefined) return this.#value;
    const all = [...this.#ruled.values()].flat();
    this.#value = {
      names: new Set(all.flatMap(namesOf)),
      policies: all.filter((each) => 'subjects' in each),
      profiles: new Set(all.filter((each) => !('subjects' in each)).map(({ name }) => name)),
    };
    return this.#value;
  }
}

function namesOf({ egress }: Ruled): readonly string[] {
  return egress.flatMap(({ destination }) =>
    destination.flatMap(({ anyOf }) => anyOf.flatMap((set) => (set.kind === 'names' ? set.names : []))),
  );
}
