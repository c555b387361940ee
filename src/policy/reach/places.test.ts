/** Every address has a place that stands for it: its own, or that of the smallest prefix that any rule mentions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { address, addressFrom, addressValue, type Family } from '#net/address.ts';
import {
  contains,
  lastAddress,
  prefix,
  type Prefix,
  prefixAddress,
  prefixLength,
  prefixOf,
} from '#net/prefix.ts';
import { createBook } from '../book.ts';
import { makePolicy, makeRule } from '../testing/rules.ts';
import { makeWorld } from '../testing/world.ts';
import { ELSEWHERE, placesOf } from './places.ts';

const families: fc.Arbitrary<Family> = fc.constantFrom(4, 6);
const START = { 4: addressValue(address('10.244.0.0')), 6: addressValue(address('fd00::')) };

/** Close to each other and to the pods, so that they nest and fill up. */
const addresses = fc
  .record({ family: families, offset: fc.nat(20) })
  .map(({ family, offset }) => addressFrom(family, START[family] + BigInt(offset)));
const prefixes: fc.Arbitrary<Prefix> = fc
  .record({ at: addresses, bits: fc.constantFrom(0, 1, 2, 3, 8, 24) })
  .map(({ at, bits }) => prefixOf(at, (at.includes(':') ? 128 : 32) - bits));

const world = makeWorld({ pods: ['a/1', 'a/2', 'a/3'].map((name) => ({ name })) });

test('every address has a place, and each place is what its name says', () => {
  let inside = 0;
  const property = fc.property(fc.array(prefixes, { maxLength: 8 }), addresses, (mentioned, any) => {
    const set = { kind: 'prefixes', prefixes: mentioned, except: [] } as const;
    const book = createBook({ policies: [makePolicy({ ingress: [makeRule('allow', { source: [set] })] })] });
    const places = placesOf([{ book, world }]);
    const smallest = (at: typeof any): string =>
      mentioned
        .filter((each) => contains(each, at))
        .sort((a, b) => prefixLength(b) - prefixLength(a))
        .at(0) ?? ELSEWHERE;
    const named = new Set(places.filter(({ kind }) => kind !== 'prefix').map((place) => place.address));
    for (const { name, kind, address } of places) {
      if (kind === 'prefix') assert.deepEqual([smallest(address), named.has(address)], [name, false]);
    }
    assert.equal(new Set(places.map((place) => place.address)).size, places.length, 'each once');
    if (named.has(any)) return;
    inside += smallest(any) === ELSEWHERE ? 0 : 1;
    const isSame = ({ name, address }: (typeof places)[number]): boolean =>
      name === smallest(any) && address.includes(':') === any.includes(':');
    assert.ok(places.some(isSame), `${any} has no place`);
  });
  fc.assert(property, { numRuns: 1_000 });
  assert.ok(inside > 100, `only ${inside}`);
});

test('a prefix that others fill has no place', () => {
  const halves = [prefix('198.51.100.0/31'), prefix('198.51.100.0/32'), prefix('198.51.100.1/32')];
  const set = { kind: 'prefixes', prefixes: halves, except: [] } as const;
  const book = createBook({ policies: [makePolicy({ egress: [makeRule('deny', { destination: [set] })] })] });
  const names = new Set(placesOf([{ book, world }]).map(({ name }) => name));
  assert.deepEqual(
    halves.filter((each) => names.has(each)).map((each) => [prefixAddress(each), lastAddress(each)]),
    [
      ['198.51.100.0', '198.51.100.0'],
      ['198.51.100.1', '198.51.100.1'],
    ],
  );
});
