import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Claims, type Dissent } from './claims.ts';
import { type Item, keyOf, sameItem } from '#model/host.ts';

const sysctl = (key: string, value: string): Item => ({ kind: 'sysctl', key, value });
const SOURCES = ['node', 'peer/a', 'peer/b', 'pod/x'] as const;
const KEYS = ['a', 'b', 'c', 'd'];

type Change = { readonly source: string; readonly items: Item[] | undefined };
const items = fc
  .uniqueArray(fc.record({ key: fc.constantFrom(...KEYS), value: fc.constantFrom('0', '1') }), {
    selector: ({ key }) => key,
  })
  .map((pairs) => pairs.map(({ key, value }) => sysctl(key, value)));
const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.record({ source: fc.constantFrom(...SOURCES), items: fc.option(items, { nil: undefined, freq: 5 }) }),
  { maxLength: 40 },
);

/** All claims of all keys, in the order in which they came: slow and plain. */
class Register {
  #claims: { key: string; source: string; item: Item }[] = [];
  set({ source, items }: Change): void {
    const after = new Map(items?.map((item) => [keyOf(item), item]));
    const own = (key: string): boolean => this.#claims.some((c) => c.source === source && c.key === key);
    const fresh = [...after].filter(([key]) => !own(key)).map(([key, item]) => ({ key, source, item }));
    this.#claims = this.#claims
      .filter((claim) => claim.source !== source || after.has(claim.key))
      .map((claim) =>
        claim.source === source ? { ...claim, item: after.get(claim.key) ?? claim.item } : claim,
      );
    this.#claims.push(...fresh);
  }
  wanted(): Map<string, Item> {
    return new Map(this.#claims.toReversed().map(({ key, item }) => [key, item]));
  }
  itemsOf(source: string): Map<string, Item> {
    return new Map(this.#claims.filter((c) => c.source === source).map(({ key, item }) => [key, item]));
  }
  dissents(): Set<string> {
    const first = this.wanted();
    const differ = this.#claims.filter(({ key, item }) => !sameItem(first.get(key) ?? item, item));
    return new Set(differ.map(({ key, source }) => `${key} ${source}`));
  }
}

test('whatever claims come and go, each key is wanted as its first living claimant has it', () => {
  let shared = 0;
  fc.assert(
    fc.property(changes, (changes) => {
      const told: Dissent[] = [];
      const claims = new Claims((dissent) => told.push(dissent));
      const register = new Register();
      for (const change of changes) {
        const before = register.wanted();
        const dissentsBefore = register.dissents();
        told.length = 0;
        const changed = claims.set(change.source, change.items);
        register.set(change);
        const after = register.wanted();
        assert.deepEqual(sorted(claims.wanted), sorted(after));
        const differs = [...new Set([...before.keys(), ...after.keys()])].filter((key) => {
          const [was, is] = [before.get(key), after.get(key)];
          return was === undefined || is === undefined || !sameItem(was, is);
        });
        assert.deepEqual(changed.toSorted(), differs.toSorted());
        for (const source of SOURCES)
          assert.deepEqual(sorted(claims.itemsOf(source) ?? new Map()), sorted(register.itemsOf(source)));
        for (const dissent of register.dissents()) {
          if (dissentsBefore.has(dissent)) continue;
          shared += 1;
          assert.ok(
            told.some(({ key, refused }) => `${key} ${refused}` === dissent),
            `${dissent} is said`,
          );
        }
      }
    }),
  );
  assert.ok(shared > 20, 'sources disagreed');
});

test('of equal items the older one stays', () => {
  const claims = new Claims(() => assert.fail('nobody disagrees'));
  const [older, newer] = [sysctl('a', '1'), sysctl('a', '1')];
  assert.deepEqual(claims.set('node', [older]), ['sysctl a']);
  assert.deepEqual(claims.set('node', [newer]), []);
  assert.deepEqual(claims.set('peer/a', [newer]), []);
  assert.equal(claims.wanted.get('sysctl a'), older);
});

test('a source that wants one item twice and differently changes nothing', () => {
  const claims = new Claims(() => assert.fail('nobody disagrees'));
  claims.set('node', [sysctl('a', '1')]);
  assert.throws(() => claims.set('node', [sysctl('a', '0'), sysctl('a', '2')]), TypeError);
  assert.deepEqual(claims.itemsOf('node'), new Map([['sysctl a', sysctl('a', '1')]]));
});

function sorted(state: ReadonlyMap<string, Item>): [string, Item][] {
  return [...state].toSorted(([a], [b]) => (a < b ? -1 : 1));
}
