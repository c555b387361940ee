/**
 * Which peer an inner address belongs to: longest prefix first. Built anew when peers change; a lookup reads the address out
 * of a packet and costs a Map per length of prefix in use, or nothing when it is the address of the packet before.
 */
import { addressBits, addressBytes, type Family } from '#net/address.ts';
import { type Prefix, prefixAddress, prefixFamily, prefixLength } from '#net/prefix.ts';

type Level = { readonly masks: readonly number[]; readonly owners: Map<string | number, number> };

const mask = (bits: number): number => (bits <= 0 ? 0 : bits >= 32 ? 0xffff_ffff : (-1 << (32 - bits)) >>> 0);

/** The address's words in network order; an IPv4 address is one word, and its key a number. */
class FamilyRoutes {
  readonly #words: 1 | 4;
  readonly #levels: readonly Level[];
  readonly #last = [-1, -1, -1, -1];
  #lastOwner = -1;

  constructor(family: Family, routes: readonly (readonly [Prefix, number])[]) {
    this.#words = family === 4 ? 1 : 4;
    const lengths = new Set(routes.map(([prefix]) => prefixLength(prefix)));
    this.#levels = [...lengths]
      .toSorted((a, b) => b - a)
      .map((length) => {
        const masks = Array.from({ length: addressBits(family) / 32 }, (_, word) => mask(length - 32 * word));
        const same = routes.filter(([prefix]) => prefixLength(prefix) === length);
        const owners = new Map(
          same.map(([prefix, owner]) => {
            const bytes = addressBytes(prefixAddress(prefix));
            return [this.#key(new DataView(bytes.buffer), 0, masks), owner];
          }),
        );
        return { masks, owners };
      });
  }
  #key(view: DataView, at: number, masks: readonly number[]): string | number {
    const first = (view.getUint32(at) & (masks[0] ?? 0)) >>> 0;
    if (this.#words === 1) return first;
    let key = `${first}`;
    for (let word = 1; word < 4; word += 1)
      key += `,${(view.getUint32(at + 4 * word) & (masks[word] ?? 0)) >>> 0}`;
    return key;
  }
  #isLast(view: DataView, at: number): boolean {
    for (let word = 0; word < this.#words; word += 1)
      if (view.getUint32(at + 4 * word) !== this.#last[word]) return false;
    return true;
  }
  ownerOf(view: DataView, at: number): number {
    if (this.#isLast(view, at)) return this.#lastOwner;
    let owner = -1;
    for (const { masks, owners } of this.#levels) {
      owner = owners.get(this.#key(view, at, masks)) ?? -1;
      if (owner >= 0) break;
    }
    for (let word = 0; word < this.#words; word += 1) this.#last[word] = view.getUint32(at + 4 * word);
    this.#lastOwner = owner;
    return owner;
  }
}

export class Routes {
  readonly #four: FamilyRoutes;
  readonly #six: FamilyRoutes;

  /** Prefix and owner (a number from 0). Two owners of one prefix: the later is taken. */
  constructor(routes: readonly (readonly [Prefix, number])[]) {
    const of = (family: Family): FamilyRoutes =>
      new FamilyRoutes(
        family,
        routes.filter(([prefix]) => prefixFamily(prefix) === family),
      );
    this.#four = of(4);
    this.#six = of(6);
  }
  /** Of the address at `at`, in network order; −1 when it is nobody's. */
  ownerOf(family: Family, view: DataView, at: number): number {
    return (family === 4 ? this.#four : this.#six).ownerOf(view, at);
  }
}
