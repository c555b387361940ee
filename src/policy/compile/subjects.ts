/** Subjects, the program that each has alone, and the programs that it has for combinations of classes. */
import type { PeerSet } from '#model/policy.ts';
import type { Classes, Combination } from './classes.ts';
import type { SetKey } from './condition.ts';
import { paint } from './grid.ts';
import type { Ledger } from './ledger.ts';
import type { Script } from './lines.ts';
import { addTo, removeFrom } from './multimap.ts';
import type { Programs } from './programs.ts';
import type { ScriptOf } from './scripts.ts';

type Subject = {
  readonly number: number;
  readonly script: Script;
  readonly alone: number;
  /** What each combination comes to, where the script asks for any of its sets. */
  readonly pairs: Map<string, View>;
  readonly views: Map<string, View>;
};

/** A combination as far as a script asks: several look the same to it. */
type View = { readonly key: string; readonly program: number; users: number };

export class Subjects {
  readonly #ledger: Ledger;
  readonly #programs: Programs;
  readonly #classes: Classes;
  #byKey = new Map<string, Subject>();
  readonly #asking = new Map<SetKey, Set<Subject>>();
  #owners = new Set<string>();
  #nextNumber = 1;

  constructor(ledger: Ledger, programs: Programs, classes: Classes) {
    this.#ledger = ledger;
    this.#programs = programs;
    this.#classes = classes;
  }

  /** Combinations that are no more. */
  part(gone: readonly Combination[]): void {
    for (const combination of gone) {
      for (const subject of this.#askingAbout(combination)) {
        const view = subject.pairs.get(combination.key);
        if (view === undefined) continue;
        subject.pairs.delete(combination.key);
        this.#release(subject, view);
        this.#ledger.delete(pairKey(subject, combination.key));
      }
    }
  }

  /** Combinations that are new. */
  join(come: readonly Combination[]): void {
    for (const combination of come) {
      for (const subject of this.#askingAbout(combination)) this.#pair(subject, combination);
    }
  }

  /** Every address with its script: `part` was called before, `join` is called after with what is not known yet. */
  update(scripts: readonly ScriptOf[]): void {
    const before = this.#byKey;
    this.#byKey = new Map();
    for (const { key, script } of scripts) {
      if (this.#byKey.has(key)) continue;
      const known = before.get(key);
      this.#byKey.set(key, known?.script === script ? known : this.#make(known?.number, script));
    }
    // Only now, so that programs which both had stay as they are.
    for (const [key, subject] of before) {
      const successor = this.#byKey.get(key);
      if (successor !== subject) this.#retire(subject, successor);
    }
    this.#updateOwners(scripts);
  }

  /** Of a script that the last update had. */
  numberOf(key: string): number {
    const subject = this.#byKey.get(key);
    if (subject === undefined) throw new Error(`no subject ${key}`);
    return subject.number;
  }

  #make(number: number | undefined, script: Script): Subject {
    const alone = this.#programs.use(paint(script, []));
    const subject: Subject = {
      number: number ?? this.#nextNumber++,
      script,
      alone,
      pairs: new Map(),
      views: new Map(),
    };
    this.#ledger.set(`alone ${subject.number}`, String(alone));
    for (const set of script.sets.keys()) addTo(this.#asking, set, subject);
    for (const combination of this.#classes.combinationsOf(script.sets.keys()))
      this.#pair(subject, combination);
    return subject;
  }

  #retire(subject: Subject, successor: Subject | undefined): void {
    for (const set of subject.script.sets.keys()) removeFrom(this.#asking, set, subject);
    for (const [key, view] of subject.pairs) {
      if (successor?.pairs.has(key) !== true) this.#ledger.delete(pairKey(subject, key));
      this.#release(subject, view);
    }
    if (successor === undefined) this.#ledger.delete(`alone ${subject.number}`);
    this.#programs.release(subject.alone);
  }

  #pair(subject: Subject, combination: Combination): void {
    if (subject.pairs.has(combination.key)) return;
    const view = this.#view(subject, combination);
    subject.pairs.set(combination.key, view);
    const key = pairKey(subject, combination.key);
    if (view.program === subject.alone) this.#ledger.delete(key);
    else this.#ledger.set(key, String(view.program));
  }

  #view({ script, views }: Subject, combination: Combination): View {
    const atoms = combination.atoms.filter(({ set }) => script.sets.has(set));
    const key = atoms.map(({ id }) => id).join();
    const known = views.get(key);
    if (known !== undefined) {
      known.users += 1;
      return known;
    }
    const view: View = { key, program: this.#programs.use(paint(script, atoms)), users: 1 };
    views.set(key, view);
    return view;
  }

  #release({ views }: Subject, view: View): void {
    view.users -= 1;
    if (view.users > 0) return;
    views.delete(view.key);
    this.#programs.release(view.program);
  }

  #askingAbout({ atoms }: Combination): Set<Subject> {
    const found = new Set<Subject>();
    for (const { set } of atoms) for (const subject of this.#asking.get(set) ?? []) found.add(subject);
    return found;
  }

  #updateOwners(scripts: readonly ScriptOf[]): void {
    const before = this.#owners;
    this.#owners = new Set();
    for (const { owner, key } of scripts) {
      if (owner === undefined) continue;
      this.#owners.add(owner);
      this.#ledger.set(owner, String(this.#byKey.get(key)?.number));
    }
    for (const owner of before) if (!this.#owners.has(owner)) this.#ledger.delete(owner);
  }
}

const pairKey = ({ number }: Subject, combination: string): string => `pair ${number} ${combination}`;

type Asking = { readonly script: Script & { readonly ownSets?: Script['sets'] } };

/** All sets that any script asks about, at either end. */
export function setsOf(scripts: readonly Asking[]): Map<SetKey, PeerSet | undefined> {
  const found = new Map<SetKey, PeerSet | undefined>();
  const seen = new Set<Script>();
  for (const { script } of scripts) {
    if (seen.has(script)) continue;
    seen.add(script);
    for (const [key, set] of script.sets) found.set(key, set);
    for (const [key, set] of script.ownSets ?? []) found.set(key, set);
  }
  return found;
}
