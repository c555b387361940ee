/**
 * Places at the host's end: classes of addresses between which a host endpoint's rules tell at that end. Each has a
 * script of its own; addresses that are in none of the sets asked about have the first one.
 */
import type { Classes, Combination } from './classes.ts';
import type { Atom, SetKey } from './condition.ts';
import { settleOwn, type OpenScript } from './host-lines.ts';
import type { HostScript } from './host-scripts.ts';
import type { Ledger } from './ledger.ts';
import type { Script } from './lines.ts';
import { addTo, type Multimap, removeFrom } from './multimap.ts';
import type { ScriptOf } from './scripts.ts';
import type { Subjects } from './subjects.ts';

type Place = { readonly key: string; readonly script: Script; users: number };

/** What became of an open script. `number`: of its subject, once that is known. */
type Settled = {
  readonly key: string;
  number: number | undefined;
  readonly open: OpenScript;
  readonly elsewhere: Script;
  readonly places: Map<string, Place>;
  readonly byCombination: Map<string, Place>;
  /** Combinations whose entries may be others than they are. */
  readonly touched: Set<string>;
};

export class Places {
  readonly #ledger: Ledger;
  readonly #classes: Classes;
  #byKey = new Map<string, Settled>();
  readonly #asking: Multimap<SetKey, Settled> = new Map();
  #open: readonly HostScript[] = [];
  #scripts: readonly ScriptOf[] = [];
  #isSame = true;

  constructor(ledger: Ledger, classes: Classes) {
    this.#ledger = ledger;
    this.#classes = classes;
  }

  /** The scripts of all places; the same value when nothing has changed. */
  update(
    open: readonly HostScript[],
    { come, gone }: { readonly come: readonly Combination[]; readonly gone: readonly Combination[] },
  ): readonly ScriptOf[] {
    this.#isSame = true;
    for (const combination of gone) {
      for (const settled of this.#askingAbout(combination)) this.#part(settled, combination.key);
    }
    if (open !== this.#open) this.#follow(open);
    for (const combination of come) {
      for (const settled of this.#askingAbout(combination)) this.#join(settled, combination);
    }
    if (!this.#isSame) this.#scripts = this.#list();
    return this.#scripts;
  }

  /** Leads addresses to their places, once the subjects are those of the last update. */
  write(subjects: Subjects): void {
    for (const settled of this.#byKey.values()) {
      const { key, byCombination, touched } = settled;
      settled.number = subjects.numberOf(key);
      for (const combination of touched) {
        const place = byCombination.get(combination);
        const entry = entryKey(settled.number, combination);
        if (place === undefined) this.#ledger.delete(entry);
        else this.#ledger.set(entry, String(subjects.numberOf(place.key)));
      }
      touched.clear();
    }
  }

  #follow(open: readonly HostScript[]): void {
    this.#open = open;
    this.#isSame = false;
    const before = this.#byKey;
    this.#byKey = new Map();
    for (const { key, script } of open) {
      if (this.#byKey.has(key)) continue;
      const known = before.get(key);
      this.#byKey.set(key, known?.open === script ? known : this.#settle(key, script, known));
    }
    for (const [key, settled] of before) if (this.#byKey.get(key) !== settled) this.#retire(settled);
  }

  /** `before`: of the same subject, whose entries may stand as they are. */
  #settle(key: string, open: OpenScript, before: Settled | undefined): Settled {
    const settled: Settled = {
      key,
      number: undefined,
      open,
      elsewhere: settleOwn(open, []),
      places: new Map(),
      byCombination: new Map(),
      touched: before === undefined ? new Set() : writtenBy(before),
    };
    for (const set of open.ownSets.keys()) addTo(this.#asking, set, settled);
    for (const combination of this.#classes.combinationsOf(open.ownSets.keys()))
      this.#join(settled, combination);
    return settled;
  }

  #retire(settled: Settled): void {
    const { key, number, open } = settled;
    for (const set of open.ownSets.keys()) removeFrom(this.#asking, set, settled);
    if (number === undefined || this.#byKey.has(key)) return;
    for (const combination of writtenBy(settled)) this.#ledger.delete(entryKey(number, combination));
  }

  #join(settled: Settled, combination: Combination): void {
    const { key, open, places, byCombination, touched } = settled;
    if (byCombination.has(combination.key)) return;
    const atoms = combination.atoms.filter(({ set }) => open.ownSets.has(set));
    const name = atoms.map(({ id }) => id).join();
    const place = places.get(name) ?? this.#makePlace(settled, `${key} at ${name}`, atoms);
    place.users += 1;
    places.set(name, place);
    byCombination.set(combination.key, place);
    touched.add(combination.key);
  }

  #makePlace({ open }: Settled, key: string, atoms: readonly Atom[]): Place {
    this.#isSame = false;
    return { key, script: settleOwn(open, atoms), users: 0 };
  }

  #part({ places, byCombination, touched }: Settled, combination: string): void {
    const place = byCombination.get(combination);
    if (place === undefined) return;
    byCombination.delete(combination);
    touched.add(combination);
    place.users -= 1;
    if (place.users > 0) return;
    this.#isSame = false;
    for (const [name, each] of places) if (each === place) places.delete(name);
  }

  #askingAbout({ atoms }: Combination): Set<Settled> {
    return new Set(atoms.flatMap(({ set }) => [...(this.#asking.get(set) ?? [])]));
  }

  #list(): ScriptOf[] {
    const own = this.#open.map(({ owner, key, content }) => {
      const script = this.#byKey.get(key)?.elsewhere;
      if (script === undefined) throw new Error(`no script ${key}`);
      return { owner, key, content, script };
    });
    const places = [...this.#byKey.values()].flatMap(({ places }) =>
      [...places.values()].map(({ key, script }) => ({ key, content: key, script })),
    );
    return [...own, ...places];
  }
}

/** Combinations that may have entries: those of now, and those that have gone since entries were written. */
function writtenBy({ byCombination, touched }: Settled): Set<string> {
  return new Set([...byCombination.keys(), ...touched]);
}

const entryKey = (subject: number, combination: string): string => `place ${subject} ${combination}`;
