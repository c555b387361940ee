/**
 * Who wants which item of the host. What always holds:
 * - a key has one wanted item, that of the source which claimed it first; the others may claim it with the same content;
 * - it goes with its last claimant.
 * Thousands of peers claim a handful of items each and share none, so only what is shared remembers its claimants.
 */
import { hostState, type Item, type ItemKey, sameItem } from '#model/host.ts';

type Claim = { readonly source: string; readonly item: Item };

/** A source's opinion that differs from the holder's: a defect, said and not merged. */
export type Dissent = { readonly key: ItemKey; readonly holder: string; readonly refused: string };

export class Claims {
  readonly #keys = new Map<string, readonly ItemKey[]>();
  readonly #wanted = new Map<ItemKey, Item>();
  /** Of keys that several sources claim, first come, first. */
  readonly #shared = new Map<ItemKey, readonly Claim[]>();
  readonly #onDissent: (dissent: Dissent) => void;

  constructor(onDissent: (dissent: Dissent) => void) {
    this.#onDissent = onDissent;
  }

  get wanted(): ReadonlyMap<ItemKey, Item> {
    return this.#wanted;
  }
  sources(): Iterable<string> {
    return this.#keys.keys();
  }
  keysOf(source: string): readonly ItemKey[] {
    return this.#keys.get(source) ?? [];
  }
  itemsOf(source: string): ReadonlyMap<ItemKey, Item> | undefined {
    const keys = this.#keys.get(source);
    return keys === undefined ? undefined : new Map(keys.flatMap((key) => this.#itemOf(source, key)));
  }
  #itemOf(source: string, key: ItemKey): [ItemKey, Item][] {
    const own = this.#shared.get(key)?.find((claim) => claim.source === source)?.item;
    const item = own ?? this.#wanted.get(key);
    return item === undefined ? [] : [[key, item]];
  }

  /** Replaces all claims of a source; undefined withdraws it. Answers the keys of which another item is wanted now. */
  set(source: string, items: Iterable<Item> | undefined): ItemKey[] {
    const after = hostState(items ?? []);
    const before = new Set(this.#keys.get(source));
    const changed: ItemKey[] = [];
    for (const key of before) {
      if (!after.has(key) && this.#unclaim(source, key)) changed.push(key);
    }
    for (const [key, item] of after) {
      if (this.#claim({ source, item }, key, before.has(key))) changed.push(key);
    }
    if (items === undefined) this.#keys.delete(source);
    else this.#keys.set(source, [...after.keys()]);
    return changed;
  }

  #claim(claim: Claim, key: ItemKey, isOwn: boolean): boolean {
    const claims = this.#shared.get(key);
    if (claims !== undefined) {
      return this.#share(
        key,
        isOwn ? claims.map((other) => (other.source === claim.source ? claim : other)) : [...claims, claim],
      );
    }
    const present = this.#wanted.get(key);
    if (present === undefined || isOwn) return this.#want(key, claim.item);
    return this.#share(key, [{ source: this.#holder(key), item: present }, claim]);
  }

  #unclaim(source: string, key: ItemKey): boolean {
    const claims = this.#shared.get(key);
    if (claims === undefined) return this.#wanted.delete(key);
    return this.#share(
      key,
      claims.filter((claim) => claim.source !== source),
    );
  }

  /** The only claimant of a key: looked for when a second one comes, which is rare. */
  #holder(key: ItemKey): string {
    for (const [source, keys] of this.#keys) if (keys.includes(key)) return source;
    throw new RangeError(`nobody claims ${key}`);
  }

  #share(key: ItemKey, claims: readonly Claim[]): boolean {
    const [first, ...others] = claims;
    if (first === undefined) throw new RangeError(`nobody claims ${key}`);
    if (others.length === 0) this.#shared.delete(key);
    else this.#shared.set(key, claims);
    for (const { source, item } of others) {
      if (!sameItem(first.item, item)) this.#onDissent({ key, holder: first.source, refused: source });
    }
    return this.#want(key, first.item);
  }

  /** Of equal items the older one stays: the kernel's side of it may be that very object. */
  #want(key: ItemKey, item: Item): boolean {
    const before = this.#wanted.get(key);
    if (before !== undefined && sameItem(before, item)) return false;
    this.#wanted.set(key, item);
    return true;
  }
}
