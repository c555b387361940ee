/** Objects by their names in the store: what is in force of each, and what has to be told of it. */
import type { Problem } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import type { PolicySnapshot } from '#model/policy-snapshot.ts';
import type { Reading } from './reading.ts';
import { compareTexts } from './sorted.ts';

/** `good`: as much of the last object without problems as makes what is in force of it. */
type Held = Pick<Reading, 'problems' | 'warnings' | 'stranger'> & { readonly good?: Manifest };

export class HeldObjects {
  readonly #objects = new Map<string, Held>();
  /** Names of those that something has to be told of. */
  readonly #noted = new Set<string>();
  /** These in order, once somebody has asked; there may be thousands. */
  #notes: readonly (readonly [string, Held])[] | undefined;

  accept(name: string, { kept, warnings, stranger }: Reading): void {
    const about = stranger === undefined ? {} : { stranger };
    this.#set(name, { good: kept, problems: [], warnings, ...about });
  }

  refuse(name: string, problems: readonly Problem[]): void {
    this.#set(name, { warnings: [], ...this.#objects.get(name), problems });
  }

  remove(name: string): void {
    this.#objects.delete(name);
    if (this.#noted.delete(name)) this.#notes = undefined;
  }

  problems(): Problem[] {
    return this.#noteworthy().flatMap(([, { problems }]) => problems);
  }

  /** Of each kind that says nothing here there is one, for its first object. */
  warnings(): Problem[] {
    const told = new Set<string>();
    return this.#noteworthy().flatMap(([name, { warnings, stranger, good }]) => {
      if (stranger === undefined || told.has(stranger)) return warnings;
      told.add(stranger);
      return [
        { path: good?.source ?? name, message: `${stranger} is not read: it says nothing about traffic` },
      ];
    });
  }

  list(): PolicySnapshot['manifests'] {
    return [...this.#objects].map(([name, { good, problems }]) =>
      good === undefined ? { name, problems } : { name, manifest: good, problems },
    );
  }

  #set(name: string, held: Held): void {
    this.#objects.set(name, held);
    const isNoted = held.problems.length > 0 || held.warnings.length > 0 || held.stranger !== undefined;
    if (isNoted || this.#noted.has(name)) this.#notes = undefined;
    if (isNoted) this.#noted.add(name);
    else this.#noted.delete(name);
  }

  #noteworthy(): readonly (readonly [string, Held])[] {
    this.#notes ??= [...this.#noted].sort(compareTexts).flatMap((name) => {
      const held = this.#objects.get(name);
      return held === undefined ? [] : [[name, held] as const];
    });
    return this.#notes;
  }
}
