/**
 * What the judgements of several books and worlds have in common, made once: numbers for equal contents, scripts, and
 * what scripts come to. Equal contents are the same objects, so that what has not changed is known by identity.
 */
import type { Grid } from '../compile/grid.ts';
import type { Script } from '../compile/lines.ts';

export class Library {
  readonly #ids = new Map<string, number>();
  readonly #contents = new WeakMap<object, number>();
  /** By content. */
  readonly scripts = new Map<string, Script>();
  readonly grids = new Map<string, readonly Grid[]>();

  /** The same number for the same text. */
  id(text: string): number {
    const known = this.#ids.get(text) ?? this.#ids.size + 1;
    this.#ids.set(text, known);
    return known;
  }

  /** Of what the thing says, wherever it was written. Things are taken to stay as they are. */
  contentId(thing: object): number {
    const known = this.#contents.get(thing);
    if (known !== undefined) return known;
    const id = this.id(
      JSON.stringify(thing, (key, value: unknown) => (key === 'origin' ? undefined : value)),
    );
    this.#contents.set(thing, id);
    return id;
  }

  /** A number that nothing else has. */
  unique(): number {
    return this.id(`unique ${this.#ids.size}`);
  }

  once<T>(map: Map<string, T>, key: string, make: () => T): T {
    const known = map.get(key);
    if (known !== undefined || map.has(key)) return known as T;
    const made = make();
    map.set(key, made);
    return made;
  }
}
