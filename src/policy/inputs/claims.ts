/** Things by their names. Where several objects tell of the same, the first of them by its own name counts. */
import type { Problem } from '#model/fault.ts';
import type { Pair } from './rules.ts';
import { compareTexts } from './sorted.ts';
import { stagedKey, type Thing, thingKey } from './things.ts';

/** `where`: file and line, as problems show them. */
type Claim = { readonly source: string; readonly thing: Thing; readonly where: () => string };

export class Claims {
  readonly #bySource = new Map<string, readonly Claim[]>();
  /** In the order of their sources. */
  readonly #byKey = new Map<string, readonly Claim[]>();
  /** Keys that have several. */
  readonly #contested = new Set<string>();

  /** What the source tells now, in place of all before. Answers what it told or tells, by key. */
  set(source: string, things: readonly Thing[], where: () => string): Map<string, Thing> {
    const before = this.#bySource.get(source) ?? [];
    const now = things.map((thing) => ({ source, thing, where }));
    if (now.length === 0) this.#bySource.delete(source);
    else this.#bySource.set(source, now);
    const touched = new Map([...before, ...now].map(({ thing }) => [thingKey(thing), thing]));
    for (const key of touched.keys()) {
      const others = (this.#byKey.get(key) ?? []).filter((claim) => claim.source !== source);
      const own = now.filter(({ thing }) => thingKey(thing) === key);
      this.#list(key, [...others, ...own]);
    }
    return touched;
  }

  get(key: string): Thing | undefined {
    return this.#byKey.get(key)?.[0]?.thing;
  }

  /** Of this kind and name. */
  policies(title: string): Pair {
    const [enforced, staged] = [this.get(title), this.get(stagedKey(title))];
    return {
      enforced: enforced?.kind === 'policy' ? enforced.value : undefined,
      staged: staged?.kind === 'policy' ? staged.value : undefined,
    };
  }

  /** Of all that are not the first. */
  problems(): Problem[] {
    return [...this.#contested].sort().flatMap((key) => {
      const [first, ...others] = this.#byKey.get(key) ?? [];
      return others.map(({ thing, where }) => ({
        path: where(),
        message: `${thing.title} is also in ${first?.where()}`,
      }));
    });
  }

  #list(key: string, claims: readonly Claim[]): void {
    const sorted = claims.toSorted((a, b) => compareTexts(a.source, b.source));
    if (claims.length === 0) this.#byKey.delete(key);
    else this.#byKey.set(key, sorted);
    if (claims.length > 1) this.#contested.add(key);
    else this.#contested.delete(key);
  }
}
