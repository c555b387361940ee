/** Classes of peers: equal exactly when the same sets hold them. Addresses and prefixes are classed apart, then combined. */
import { type Address, addressFamily, addressValue, FAMILIES, type Family } from '#net/address.ts';
import type { Atom, SetKey } from './condition.ts';
import type { Ledger } from './ledger.ts';
import type { Changes, Members } from './members.ts';
import { addTo, removeFrom } from './multimap.ts';
import { intervalAt, type Interval, intervalsOf, intervalText } from './nets.ts';

/** A class of addresses with a class of prefixes, as some address has them both; 0 is the class in no set. */
export type Combination = { readonly key: string; readonly atoms: readonly Atom[] };
type Class = {
  readonly number: number;
  readonly key: string;
  readonly atoms: readonly Atom[];
  users: number;
};
type Held = { readonly combination: Combination; users: number };
type Place = { readonly value: bigint; readonly peer: Class | undefined; combination: string };
type Net = { readonly interval: Interval; readonly class: Class };

export class Classes {
  readonly #ledger: Ledger;
  readonly #classes = { peer: new Map<string, Class>(), net: new Map<string, Class>() };
  readonly #next = { peer: 1, net: 1 };
  readonly #places = new Map<Address, Place>();
  readonly #nets: Record<Family, readonly Net[]> = { 4: [], 6: [] };
  readonly #combinations = new Map<string, Held>();
  readonly #bySet = new Map<SetKey, Set<Combination>>();
  readonly #come = new Set<Combination>();
  readonly #gone = new Set<Combination>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Combinations that occur now and did not before, and the other way round. */
  update(members: Members, changes: Changes): { readonly come: Combination[]; readonly gone: Combination[] } {
    this.#come.clear();
    this.#gone.clear();
    if (changes.prefixes) for (const family of FAMILIES) this.#updateNets(members, family);
    for (const address of changes.addresses) this.#updatePlace(address, members.atomsOf(address));
    return { come: [...this.#come], gone: [...this.#gone] };
  }

  /** Those with members of any of the sets. */
  combinationsOf(sets: Iterable<SetKey>): Set<Combination> {
    const found = new Set<Combination>();
    for (const set of sets) for (const each of this.#bySet.get(set) ?? []) found.add(each);
    return found;
  }

  #updatePlace(address: Address, atoms: readonly Atom[]): void {
    const before = this.#places.get(address);
    const key = classKey(atoms);
    if ((before?.peer?.key ?? '') === key) return;
    const family = addressFamily(address);
    const entry = `peer${family} ${address}`;
    if (key === '') {
      this.#places.delete(address);
      this.#ledger.delete(entry);
    } else {
      const value = before?.value ?? addressValue(address);
      const peer = this.#hold('peer', key, atoms);
      const combination = this.#combine(peer, this.#netAt(family, value));
      this.#places.set(address, { value, peer, combination });
      this.#ledger.set(entry, String(peer.number));
    }
    if (before === undefined) return;
    this.#part(before.combination);
    if (before.peer !== undefined) this.#release('peer', before.peer);
  }

  #updateNets(members: Members, family: Family): void {
    const before = this.#nets[family];
    const intervals = intervalsOf(members.prefixes(), family);
    const nets = intervals.map((interval) => ({
      interval,
      class: this.#hold('net', classKey(interval.atoms), interval.atoms),
    }));
    this.#nets[family] = nets;
    const wanted = new Set<string>();
    for (const net of nets) {
      const entry = `net${family} ${intervalText(net.interval, family)}`;
      wanted.add(entry);
      this.#ledger.set(entry, String(net.class.number));
      this.#combine(undefined, net.class);
    }
    for (const { interval, class: held } of before) {
      const entry = `net${family} ${intervalText(interval, family)}`;
      if (!wanted.has(entry)) this.#ledger.delete(entry);
      this.#part(combinationKey(undefined, held));
      this.#release('net', held);
    }
    for (const [address, place] of this.#places) {
      if (addressFamily(address) !== family) continue;
      const was = place.combination;
      place.combination = this.#combine(place.peer, this.#netAt(family, place.value));
      this.#part(was);
    }
  }

  #netAt(family: Family, value: bigint): Class | undefined {
    return intervalAt(this.#nets[family], value)?.class;
  }

  #hold(kind: 'peer' | 'net', key: string, atoms: readonly Atom[]): Class {
    const known = this.#classes[kind].get(key);
    if (known !== undefined) {
      known.users += 1;
      return known;
    }
    const made: Class = { number: this.#next[kind]++, key, atoms, users: 1 };
    this.#classes[kind].set(key, made);
    return made;
  }

  #release(kind: 'peer' | 'net', held: Class): void {
    held.users -= 1;
    if (held.users === 0) this.#classes[kind].delete(held.key);
  }

  #combine(peer: Class | undefined, net: Class | undefined): string {
    const key = combinationKey(peer, net);
    const held = this.#combinations.get(key);
    if (held !== undefined) {
      held.users += 1;
      return key;
    }
    const atoms = [...new Set([...(peer?.atoms ?? []), ...(net?.atoms ?? [])])].sort((a, b) => a.id - b.id);
    const combination = { key, atoms };
    this.#combinations.set(key, { combination, users: 1 });
    this.#come.add(combination);
    for (const { set } of atoms) addTo(this.#bySet, set, combination);
    return key;
  }

  #part(key: string): void {
    const held = this.#combinations.get(key);
    if (held === undefined) throw new Error(`no combination ${key}`);
    held.users -= 1;
    if (held.users > 0) return;
    const { combination } = held;
    this.#combinations.delete(key);
    if (!this.#come.delete(combination)) this.#gone.add(combination);
    for (const { set } of combination.atoms) removeFrom(this.#bySet, set, combination);
  }
}

function classKey(atoms: readonly Atom[]): string {
  return atoms.map(({ id }) => id).join();
}

function combinationKey(peer: Class | undefined, net: Class | undefined): string {
  return `${peer?.number ?? 0} ${net?.number ?? 0}`;
}
