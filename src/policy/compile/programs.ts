/** Programs and their chains in the ledger, for as long as somebody uses them. Equal decisions are one program. */
import type { Line } from './lines.ts';
import type { Grid } from './grid.ts';
import type { Ledger } from './ledger.ts';
import { asChain, type Chain, chainRules, reasonOf, type Table, tableOf, type Target } from './tables.ts';

type Held = { readonly key: string; readonly table: Table; users: number };
type HeldChain = { readonly name: string; readonly size: number; users: number };

export class Programs {
  readonly #ledger: Ledger;
  readonly #byKey = new Map<string, number>();
  readonly #held = new Map<number, Held>();
  readonly #chains = new Map<string, HeldChain>();
  readonly #prefixes = new Map<string, string>();
  #nextProgram = 1;
  #nextChain = 1;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** The number of the program that decides as the grids say; one user more. */
  use(grids: readonly Grid[]): number {
    const table = tableOf(grids);
    const key = [...table]
      .map(([entry, target]) => `${entry}=${target.key}`)
      .sort()
      .join('\n');
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      this.#explain(known, table);
      return this.again(known);
    }
    const number = this.#nextProgram++;
    this.#byKey.set(key, number);
    this.#held.set(number, { key, table, users: 1 });
    for (const [entry, target] of table) this.#write(entryKey(number, entry), target);
    return number;
  }

  again(number: number): number {
    const held = this.#held.get(number);
    if (held === undefined) throw new Error(`no program ${number}`);
    held.users += 1;
    return number;
  }

  release(number: number): void {
    const held = this.#held.get(number);
    if (held === undefined) throw new Error(`no program ${number}`);
    held.users -= 1;
    if (held.users > 0) return;
    for (const [entry, target] of held.table) this.#erase(entryKey(number, entry), target);
    this.#held.delete(number);
    this.#byKey.delete(held.key);
  }

  /** Anew, as the lines of files may be others although the decisions are the same. */
  #explain(number: number, table: Table): void {
    for (const [entry, target] of table) {
      const chain = asChain(target);
      if (chain !== undefined) {
        this.#useChain(chain);
        this.#releaseChain(chain);
      } else if (!('rules' in target)) this.#ledger.explain(entryKey(number, entry), reasonOf(target));
    }
  }

  #write(key: string, target: Target): void {
    const chain = asChain(target);
    if (chain !== undefined) this.#ledger.set(key, this.#useChain(chain));
    else if (!('rules' in target)) {
      this.#ledger.set(key, target.verdict);
      this.#ledger.explain(key, reasonOf(target));
    }
  }

  #erase(key: string, target: Target): void {
    this.#ledger.delete(key);
    const chain = asChain(target);
    if (chain !== undefined) this.#releaseChain(chain);
  }

  #useChain(chain: Chain): string {
    const held = this.#chains.get(chain.key);
    const name = held?.name ?? `c${this.#nextChain++}`;
    const rules = chainRules(chain, (line) => this.#prefix(line));
    for (const [index, [, decision]] of rules.entries()) {
      this.#ledger.explain(`${name} ${index}`, reasonOf(decision));
    }
    if (held === undefined) {
      this.#ledger.setChain(
        name,
        rules.map(([rule]) => rule),
      );
    }
    this.#chains.set(chain.key, { name, size: rules.length, users: (held?.users ?? 0) + 1 });
    return name;
  }

  #releaseChain(chain: Chain): void {
    const held = this.#chains.get(chain.key);
    if (held === undefined) throw new Error(`no chain ${chain.key}`);
    held.users -= 1;
    if (held.users > 0) return;
    this.#ledger.deleteChain(held.name);
    for (let index = 0; index < held.size; index += 1) this.#ledger.forgetReason(`${held.name} ${index}`);
    this.#chains.delete(chain.key);
  }

  /** Short, as rules have little room: `tartan 7`. A rule keeps its text for good. */
  #prefix(line: Line): string {
    const prefix = this.#prefixes.get(line.key) ?? `tartan ${this.#prefixes.size + 1}`;
    this.#prefixes.set(line.key, prefix);
    this.#ledger.explainLog(prefix, line.step);
    return prefix;
  }
}

/** `port 6 80` of program 12: `port 12 6 80`. */
function entryKey(program: number, entry: string): string {
  const [map = '', ...rest] = entry.split(' ');
  return [map, program, ...rest].join(' ');
}
