/**
 * The entries of a program whose keys end in a range, to be searched. What always holds: an index that follows its
 * entries (`add`, `remove`) finds what one made of them anew would find.
 */
import { POLICY_MAPS, type PolicyEntries, type PolicyMapName } from '#model/policy-program.ts';
import { type Address, addressValue } from '#net/address.ts';

/** Both ends inclusive; ranges with the same text before them never overlap. */
type Range = { readonly from: bigint; readonly to: bigint; readonly key: string };
type Group = { readonly keys: Set<string>; sorted?: readonly Range[] };

export class Ranges {
  /** By what stands before the range: `net4`, `ports 12 6`. */
  readonly #groups = new Map<string, Group>();

  add(key: string): void {
    if (!isRanged(key)) return;
    const prefix = prefixOf(key);
    const group = this.#groups.get(prefix);
    if (group === undefined) this.#groups.set(prefix, { keys: new Set([key]) });
    else {
      group.keys.add(key);
      delete group.sorted;
    }
  }

  remove(key: string): void {
    if (!isRanged(key)) return;
    const prefix = prefixOf(key);
    const group = this.#groups.get(prefix);
    group?.keys.delete(key);
    delete group?.sorted;
    if (group?.keys.size === 0) this.#groups.delete(prefix);
  }

  /** The key of the range that the value is in. */
  find(prefix: string, value: bigint): string | undefined {
    const group = this.#groups.get(prefix);
    if (group === undefined) return undefined;
    group.sorted ??= [...group.keys].map(parseRange).sort((a, b) => (a.from < b.from ? -1 : 1));
    const { sorted } = group;
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sorted[middle]?.to ?? 0n) < value) low = middle + 1;
      else high = middle;
    }
    const found = sorted[low];
    return found !== undefined && found.from <= value ? found.key : undefined;
  }
}

const known = new WeakMap<PolicyEntries, Ranges>();

/** Of entries that never change, made once; of those that do, the one that follows them. */
export function rangesOf(entries: PolicyEntries): Ranges {
  const before = known.get(entries);
  if (before !== undefined) return before;
  const ranges = new Ranges();
  for (const key of entries.keys()) ranges.add(key);
  known.set(entries, ranges);
  return ranges;
}

function isRanged(key: string): boolean {
  return 'ranges' in POLICY_MAPS[key.slice(0, key.indexOf(' ')) as PolicyMapName];
}

function prefixOf(key: string): string {
  return key.slice(0, key.lastIndexOf(' '));
}

function parseRange(key: string): Range {
  const [from = '', to = ''] = key.slice(key.lastIndexOf(' ') + 1).split('-');
  const value = (text: string): bigint =>
    key.startsWith('ports ') ? BigInt(text) : addressValue(text as Address);
  return { from: value(from), to: value(to), key };
}
