/**
 * What is known of the names that rules ask for: addresses, each until its time is over. What always holds:
 * - only names that some rule asks for are kept, and of each rule's name (`*.` stands for many) only so many addresses: the
 *   one whose time is over first goes for one that comes;
 * - what rules see (`view`) is the same value while the addresses are the same, whatever has become of their times.
 *
 * Time is given, in milliseconds since 1970, so that what is known can be kept over a restart.
 */
import type { PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import type { Answer } from './answer.ts';
import { isReachable } from './reachable.ts';

/** Of one name as rules write it: the specification asks for 100 of each name that a wildcard stands for. */
export const MAX_ADDRESSES = 4096;

/** `untilMs`: of each address. */
export type KnownName = {
  readonly name: string;
  readonly addresses: readonly (readonly [Address, number])[];
};

export type NamesOptions = {
  /** An address is believed at least so long. */
  readonly minimumMs: number;
  readonly maxAddresses?: number;
};

type Names = PolicyWorld['names'];

export class LearnedNames {
  readonly #options: Required<NamesOptions>;
  #wanted: ReadonlySet<string> = new Set();
  /** By name as DNS has it; its addresses with their end. */
  readonly #known = new Map<string, Map<Address, number>>();
  /** Names by the name of rules that they go by. */
  readonly #byPattern = new Map<string, Set<string>>();
  #view: Names = new Map();
  readonly #stale = new Set<string>();
  /** So many addresses were given up for others before their time. */
  displaced = 0;

  constructor({ minimumMs, maxAddresses = MAX_ADDRESSES }: NamesOptions) {
    this.#options = { minimumMs, maxAddresses };
  }

  /** Names as rules have them, of all rules. */
  want(names: ReadonlySet<string>): void {
    if (names.symmetricDifference(this.#wanted).size === 0) return;
    this.#wanted = names;
    this.#byPattern.clear();
    for (const name of this.#known.keys()) if (!this.#file(name)) this.#known.delete(name);
    for (const pattern of new Set([...this.#view.keys(), ...this.#byPattern.keys()]))
      this.#stale.add(pattern);
  }

  /** Answers whether any address is new: then rules see others than before. */
  learn({ name, addresses }: Answer, nowMs: number): boolean {
    const { minimumMs } = this.#options;
    return this.#add({
      name,
      addresses: addresses.map(({ address, ttlSeconds }) => [
        address,
        nowMs + Math.max(ttlSeconds * 1000, minimumMs),
      ]),
    });
  }

  /** What another has known; only of names that are wanted. */
  restore(known: Iterable<KnownName>): void {
    for (const each of known) this.#add(each);
  }

  /** Addresses whose time is over. */
  due(nowMs: number): Set<Address> {
    const found = new Set<Address>();
    for (const addresses of this.#known.values())
      for (const [address, untilMs] of addresses) if (untilMs <= nowMs) found.add(address);
    return found;
  }

  /** Forgets what is due, but for addresses to which connections live. Answers whether anything is forgotten. */
  expire(nowMs: number, inUse: ReadonlySet<Address>): boolean {
    let isChanged = false;
    for (const [name, addresses] of this.#known) {
      for (const [address, untilMs] of addresses) {
        if (untilMs > nowMs || inUse.has(address)) continue;
        this.#drop(name, address);
        isChanged = true;
      }
    }
    return isChanged;
  }

  /** Addresses by name as rules have it; of names of which nothing is known there is none. */
  view(): Names {
    if (this.#stale.size === 0) return this.#view;
    const view = new Map(this.#view);
    for (const pattern of this.#stale) {
      const addresses = this.#addressesOf(pattern);
      if (addresses.size === 0) view.delete(pattern);
      else view.set(pattern, addresses);
    }
    this.#stale.clear();
    this.#view = view;
    return view;
  }

  *list(): Generator<KnownName> {
    for (const [name, addresses] of this.#known) yield { name, addresses: [...addresses] };
  }

  count(): { readonly names: number; readonly addresses: number } {
    const all = [...this.#known.values()];
    return { names: all.length, addresses: all.reduce((sum, { size }) => sum + size, 0) };
  }

  #add({ name, addresses }: KnownName): boolean {
    const known = this.#known.get(name) ?? new Map<Address, number>();
    if (!this.#known.has(name) && !this.#file(name)) return false;
    this.#known.set(name, known);
    let isNew = false;
    for (const [address, untilMs] of addresses) {
      if (!isReachable(address)) continue;
      const before = known.get(address);
      known.set(address, Math.max(before ?? 0, untilMs));
      if (before !== undefined) continue;
      isNew = true;
      for (const pattern of this.#patternsOf(name)) this.#keepWithin(pattern, address);
    }
    if (known.size === 0) this.#forget(name);
    return isNew;
  }

  /** Under the names of rules that it goes by; answers whether there are any. */
  #file(name: string): boolean {
    const patterns = this.#patternsOf(name);
    for (const pattern of patterns) {
      const names = this.#byPattern.get(pattern) ?? new Set();
      this.#byPattern.set(pattern, names.add(name));
    }
    return patterns.length > 0;
  }

  #patternsOf(name: string): string[] {
    return patternsFor(name).filter((pattern) => this.#wanted.has(pattern));
  }

  #keepWithin(pattern: string, come: Address): void {
    this.#stale.add(pattern);
    const names = [...(this.#byPattern.get(pattern) ?? [])];
    const total = names.reduce((sum, name) => sum + (this.#known.get(name)?.size ?? 0), 0);
    if (total <= this.#options.maxAddresses) return;
    const [first] = names
      .flatMap((name) => this.#endsOf(name))
      .filter(({ address }) => address !== come)
      .sort((a, b) => a.untilMs - b.untilMs);
    if (first === undefined) return;
    this.#drop(first.name, first.address);
    this.displaced += 1;
  }

  #endsOf(name: string): { name: string; address: Address; untilMs: number }[] {
    return Array.from(this.#known.get(name) ?? [], ([address, untilMs]) => ({ name, address, untilMs }));
  }

  #drop(name: string, address: Address): void {
    const addresses = this.#known.get(name);
    addresses?.delete(address);
    for (const pattern of this.#patternsOf(name)) this.#stale.add(pattern);
    if (addresses?.size === 0) this.#forget(name);
  }

  #forget(name: string): void {
    this.#known.delete(name);
    for (const pattern of this.#patternsOf(name)) {
      const names = this.#byPattern.get(pattern);
      names?.delete(name);
      if (names?.size === 0) this.#byPattern.delete(pattern);
    }
  }

  #addressesOf(pattern: string): Set<Address> {
    const found = new Set<Address>();
    for (const name of this.#byPattern.get(pattern) ?? [])
      for (const address of this.#known.get(name)?.keys() ?? []) found.add(address);
    return found;
  }
}

/** The name itself, and with `*.` for one or more of its first labels. */
export function patternsFor(name: string): string[] {
  const patterns = [name];
  for (let at = name.indexOf('.'); at >= 0; at = name.indexOf('.', at + 1))
    patterns.push(`*${name.slice(at)}`);
  return patterns;
}
