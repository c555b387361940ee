/** The entries and chains of a program while it is changed, and what has changed since it was last asked. */
import type { ChainRule, PolicyDelta, PolicyProgram, Reason } from '#model/policy-program.ts';
import type { Step } from '#model/verdict.ts';
import { change, isEmptyDelta } from './diff.ts';
import { type Ranges, rangesOf } from './ranges.ts';

export class Ledger {
  readonly #entries = new Map<string, string>();
  /** Follows the entries: whoever looks at the living program searches it. */
  readonly #ranges: Ranges = rangesOf(this.#entries);
  readonly #chains = new Map<string, readonly ChainRule[]>();
  readonly #reasons = new Map<string, Reason>();
  readonly #logs = new Map<string, Step>();
  readonly #touched = new Map<string, string | undefined>();
  readonly #touchedChains = new Map<string, boolean>();
  /** As it is, at any time. */
  readonly program: PolicyProgram = {
    entries: this.#entries,
    chains: this.#chains,
    reasons: this.#reasons,
    logs: this.#logs,
  };

  set(key: string, value: string): void {
    const was = this.#entries.get(key);
    if (was === value) return;
    if (!this.#touched.has(key)) this.#touched.set(key, was);
    if (was === undefined) this.#ranges.add(key);
    this.#entries.set(key, value);
  }
  delete(key: string): void {
    const was = this.#entries.get(key);
    if (was === undefined) return;
    if (!this.#touched.has(key)) this.#touched.set(key, was);
    this.#ranges.remove(key);
    this.#entries.delete(key);
    this.#reasons.delete(key);
  }
  get(key: string): string | undefined {
    return this.#entries.get(key);
  }
  setChain(name: string, rules: readonly ChainRule[]): void {
    if (!this.#touchedChains.has(name)) this.#touchedChains.set(name, this.#chains.has(name));
    this.#chains.set(name, rules);
  }
  deleteChain(name: string): void {
    if (!this.#touchedChains.has(name)) this.#touchedChains.set(name, this.#chains.has(name));
    this.#chains.delete(name);
  }
  explain(key: string, reason: Reason): void {
    this.#reasons.set(key, reason);
  }
  explainLog(prefix: string, step: Step): void {
    this.#logs.set(prefix, step);
  }
  forgetReason(key: string): void {
    this.#reasons.delete(key);
  }

  /** What has changed since the last time; undefined when nothing has. */
  takeDelta(): PolicyDelta | undefined {
    const delta = { entries: this.#changedEntries(), ...this.#changedChains() };
    this.#touched.clear();
    this.#touchedChains.clear();
    return isEmptyDelta(delta) ? undefined : delta;
  }

  #changedEntries(): PolicyDelta['entries'] {
    const entries = new Map<string, { was?: string; value?: string }>();
    for (const [key, was] of this.#touched) {
      const value = this.#entries.get(key);
      if (was !== value) entries.set(key, change(was, value));
    }
    return entries;
  }

  #changedChains(): Pick<PolicyDelta, 'addChains' | 'removeChains'> {
    const addChains = new Map<string, readonly ChainRule[]>();
    const removeChains: string[] = [];
    for (const [name, was] of this.#touchedChains) {
      const rules = this.#chains.get(name);
      if (rules === undefined && was) removeChains.push(name);
      if (rules !== undefined && !was) addChains.set(name, rules);
    }
    return { addChains, removeChains };
  }

  snapshot(): PolicyProgram {
    return {
      entries: new Map(this.#entries),
      chains: new Map(this.#chains),
      reasons: new Map(this.#reasons),
      logs: new Map(this.#logs),
    };
  }
}
