/** Prefixes of many sets as intervals of which each lies in every set or in none. */
import { type Address, addressFrom, addressValue, type Family } from '#net/address.ts';
import { lastAddress, type Prefix, prefixAddress, prefixFamily } from '#net/prefix.ts';
import type { Atom } from './condition.ts';

export type Interval = { readonly first: bigint; readonly last: bigint; readonly atoms: readonly Atom[] };

type Holding = {
  readonly atom: Atom;
  readonly prefixes: readonly Prefix[];
  readonly except: readonly Prefix[];
};
/** An atom's prefix that begins or ends; an exception counts so much that no number of prefixes makes up for it. */
type Edge = { readonly at: bigint; readonly atom: Atom; readonly weight: number };

const EXCEPTED = -1_000_000;

/** Neighbours with the same atoms are one; where there are none there is no interval. In order. */
export function intervalsOf(holdings: Iterable<Holding>, family: Family): Interval[] {
  // The same atom can come from several holders (network sets), each with exceptions of its own: none has them now.
  const edges = [...holdings].flatMap(({ atom, prefixes, except }) => [
    ...prefixes.flatMap((each) => edgesOf(each, atom, 1, family)),
    ...except.flatMap((each) => edgesOf(each, atom, EXCEPTED, family)),
  ]);
  edges.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  return sweep(edges);
}

// eslint-disable-next-line max-params
function edgesOf(prefix: Prefix, atom: Atom, weight: number, family: Family): Edge[] {
  if (prefixFamily(prefix) !== family) return [];
  const after = addressValue(lastAddress(prefix)) + 1n;
  return [
    { at: addressValue(prefixAddress(prefix)), atom, weight },
    { at: after, atom, weight: -weight },
  ];
}

function sweep(edges: readonly Edge[]): Interval[] {
  const weights = new Map<Atom, number>();
  const found: (Interval & { readonly key: string })[] = [];
  for (let next = 0; next < edges.length;) {
    const first = edges[next]?.at ?? 0n;
    for (; edges[next]?.at === first; next += 1) weigh(weights, edges[next] as Edge);
    const end = edges[next]?.at;
    const atoms = [...weights].filter(([, weight]) => weight > 0).map(([atom]) => atom);
    if (end === undefined || atoms.length === 0) continue;
    atoms.sort((a, b) => a.id - b.id);
    append(found, { first, last: end - 1n, atoms, key: atoms.map(({ id }) => id).join() });
  }
  return found;
}

function weigh(weights: Map<Atom, number>, { atom, weight }: Edge): void {
  const sum = (weights.get(atom) ?? 0) + weight;
  if (sum === 0) weights.delete(atom);
  else weights.set(atom, sum);
}

function append<T extends Interval & { readonly key: string }>(found: T[], next: T): void {
  const last = found.at(-1);
  if (last !== undefined && last.key === next.key && last.last === next.first - 1n) {
    found[found.length - 1] = { ...last, last: next.last };
  } else found.push(next);
}

/** The interval that the address lies in. */
export function intervalAt<T extends { readonly interval: Interval }>(
  nets: readonly T[],
  value: bigint,
): T | undefined {
  let low = 0;
  let high = nets.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((nets[middle]?.interval.last ?? 0n) < value) low = middle + 1;
    else high = middle;
  }
  const found = nets[low];
  return found !== undefined && found.interval.first <= value ? found : undefined;
}

/** `10.0.0.0-10.0.0.255` */
export function intervalText({ first, last }: Interval, family: Family): string {
  const text = (value: bigint): Address => addressFrom(family, value);
  return `${text(first)}-${text(last)}`;
}
