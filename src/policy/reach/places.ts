/**
 * Where flows can begin and end: every address that has a name, and for all others one address of each prefix that any
 * rule mentions (in none that lies within it), and one that no rule mentions. Nobody can tell more places apart.
 */
import { DIRECTIONS, type PeerSet, type Rule, type RuleBook } from '#model/policy.ts';
import type { PolicyWorld } from '#model/workload.ts';
import {
  type Address,
  addressFamily,
  addressFrom,
  addressValue,
  FAMILIES,
  type Family,
} from '#net/address.ts';
import { lastAddress, type Prefix, prefix, prefixAddress, prefixFamily } from '#net/prefix.ts';

export type Place = {
  /** `shop/web`, `node:a`, an address, a prefix (what of it no smaller prefix here has), or `elsewhere`. */
  readonly name: string;
  readonly kind: 'pod' | 'node' | 'address' | 'prefix';
  readonly address: Address;
};

/** The name of all addresses that nothing mentions. */
export const ELSEWHERE = 'elsewhere';

/** Of all the worlds, each once: one that has no name in the first may have one in the next. */
export function placesOf(all: readonly { readonly book: RuleBook; readonly world: PolicyWorld }[]): Place[] {
  const named = new Map<Address, Place>();
  for (const { world } of all)
    for (const place of namedPlaces(world)) if (!named.has(place.address)) named.set(place.address, place);
  const prefixes = new Set(all.flatMap(({ book, world }) => [...mentionedPrefixes(book, world)]));
  return [...named.values(), ...FAMILIES.flatMap((family) => outside(family, prefixes, named))];
}

function* namedPlaces(world: PolicyWorld): Generator<Place> {
  for (const each of world.endpoints) {
    if (each.kind !== 'pod' || each.hostNetwork) continue;
    for (const address of each.addresses)
      yield { name: `${each.namespace}/${each.name}`, kind: 'pod', address };
  }
  for (const [name, { addresses }] of world.nodes)
    for (const address of addresses) yield { name: `node:${name}`, kind: 'node', address };
  const rest = [
    ...world.endpoints.flatMap((each) => (each.kind === 'host' ? each.addresses : [])),
    ...[...world.names.values()].flatMap((addresses) => [...addresses]),
    ...[...world.services.values()].flatMap((backends) => backends.map(({ address }) => address)),
  ];
  for (const address of rest) yield { name: address, kind: 'address', address };
}

function* mentionedPrefixes(book: RuleBook, world: PolicyWorld): Generator<Prefix> {
  for (const set of setsOf(book))
    if (set.kind === 'prefixes') {
      yield* set.prefixes;
      yield* set.except;
    }
  for (const each of world.endpoints) if (each.kind === 'network-set') yield* each.prefixes;
  for (const way of DIRECTIONS)
    for (const { prefix } of world.failsafe[way]) if (prefix !== undefined) yield prefix;
}

function* setsOf(book: RuleBook): Generator<PeerSet> {
  for (const { source, destination } of rulesOf(book))
    for (const { anyOf } of [...source, ...destination]) yield* anyOf;
}

export function* rulesOf({ enforced, profiles }: RuleBook): Generator<Rule> {
  for (const { policies } of enforced)
    for (const { ingress, egress } of policies) {
      yield* ingress;
      yield* egress;
    }
  for (const { ingress, egress } of profiles.values()) {
    yield* ingress;
    yield* egress;
  }
}

type Span = { readonly name: string; readonly first: bigint; readonly last: bigint; readonly within: Span[] };

function outside(
  family: Family,
  prefixes: ReadonlySet<Prefix>,
  taken: ReadonlyMap<Address, unknown>,
): Place[] {
  const all = prefix(family === 4 ? '0.0.0.0/0' : '::/0');
  const own = [...prefixes].filter((each) => prefixFamily(each) === family && each !== all);
  const spans = [spanOf(all, prefixes.has(all) ? all : ELSEWHERE), ...own.map((each) => spanOf(each, each))];
  const values = new Set(
    [...taken.keys()].filter((each) => addressFamily(each) === family).map(addressValue),
  );
  return nest(spans).flatMap((span): Place[] => {
    const value = freeValue(span, values);
    return value === undefined
      ? []
      : [{ name: span.name, kind: 'prefix', address: addressFrom(family, value) }];
  });
}

function spanOf(prefix: Prefix, name: string): Span {
  return {
    name,
    first: addressValue(prefixAddress(prefix)),
    last: addressValue(lastAddress(prefix)),
    within: [],
  };
}

/** Each with the largest within it, in order. Of two prefixes one holds the other or they share nothing. */
function nest(spans: readonly Span[]): readonly Span[] {
  const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
  const sorted = spans.toSorted((a, b) => compare(a.first, b.first) || compare(b.last, a.last));
  const around: Span[] = [];
  for (const span of sorted) {
    while ((around.at(-1)?.last ?? span.last) < span.last) around.pop();
    around.at(-1)?.within.push(span);
    around.push(span);
  }
  return sorted;
}

/** In none of those within, and nobody's. */
function freeValue({ first, last, within }: Span, taken: ReadonlySet<bigint>): bigint | undefined {
  let next = 0;
  for (let value = first; value <= last;) {
    const inner = within[next];
    if (inner !== undefined && inner.first <= value) {
      next += 1;
      value = inner.last + 1n;
    } else if (taken.has(value)) value += 1n;
    else return value;
  }
  return undefined;
}
