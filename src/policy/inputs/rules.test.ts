/** A book that follows changes is the one that createBook makes of what is there in the end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import type { Policy, Profile, RuleBook, Tier } from '#model/policy.ts';
import { BUILT_IN_TIERS, createBook, policyName } from '../book.ts';
import { type Pair, Rules } from './rules.ts';

const TIERS = ['kube-admin', 'default', 'kube-baseline', 'middle', 'late', 'middle', 'late'];
const ORIGIN = { source: 'test', path: '' };

const oneOf = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

const policy = (name: string, kind: string): fc.Arbitrary<Policy> =>
  fc
    .record({ tier: oneOf(TIERS), order: oneOf([1, 2, Infinity]), version: fc.nat(2) })
    .map(({ version, ...rest }) => ({
      ...rest,
      kind,
      name,
      subjects: { op: 'and', of: [] },
      isolates: { ingress: version > 0, egress: version > 1 },
      ingress: [],
      egress: [],
      host: 'local',
      origin: ORIGIN,
    }));

type Change =
  | { readonly what: 'policies'; readonly title: string; readonly pair: Pair }
  | { readonly what: 'tier'; readonly name: string; readonly tier: Tier | undefined }
  | { readonly what: 'profile'; readonly name: string; readonly profile: Profile | undefined }
  | { readonly what: 'look' };

const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ arbitrary: value, weight: 2 }, { arbitrary: fc.constant(undefined), weight: 1 });

const policies: fc.Arbitrary<Change> = fc
  .tuple(oneOf(['x/a', 'y/a', 'x/b', 'c']), oneOf(['One', 'Two']))
  .chain(([name, kind]) =>
    fc
      .record({
        enforced: maybe(policy(name, kind)),
        staged: maybe(policy(name, kind)),
        how: oneOf(['set', 'delete', undefined] as const),
      })
      .map(({ enforced, staged, how }) => ({
        what: 'policies',
        title: `${kind} ${name}`,
        pair: {
          enforced,
          staged: staged === undefined || how === undefined ? undefined : { ...staged, staged: how },
        },
      })),
  );

const tiers: fc.Arbitrary<Change> = oneOf(['middle', 'late', 'default']).chain((name) =>
  maybe(
    fc.record({
      name: fc.constant(name),
      order: oneOf(name === 'default' ? [1_000_000] : [5, 2_000_000, Infinity]),
      defaultAction: fc.constant('deny' as const),
    }),
  ).map((tier) => ({ what: 'tier', name, tier: tier && { ...tier } })),
);

const profiles: fc.Arbitrary<Change> = oneOf(['p', 'projectcalico-default-allow']).chain((name) =>
  maybe(fc.constant({ name, ingress: [], egress: [] })).map((profile) => ({
    what: 'profile',
    name,
    profile,
  })),
);

const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.oneof(
    { arbitrary: policies, weight: 5 },
    { arbitrary: tiers, weight: 3 },
    { arbitrary: profiles, weight: 1 },
    { arbitrary: fc.constant({ what: 'look' } as const), weight: 2 },
  ),
  { maxLength: 30, size: 'max' },
);

/** The same by the plainest means: what was told, and what is in force of it. */
class Told {
  readonly #pairs = new Map<string, Pair>();
  readonly #tiers = new Map<string, Tier>();
  readonly #profiles = new Map<string, Profile>();
  /** Not told any more, but policies are still in them. */
  readonly retained = new Map<string, Tier>();

  apply(change: Change): void {
    if (change.what === 'policies') this.#pairs.set(change.title, change.pair);
    if (change.what === 'profile') setOrDelete(this.#profiles, change.name, change.profile);
    if (change.what === 'tier') {
      const before = this.#tiers.get(change.name);
      setOrDelete(this.#tiers, change.name, change.tier);
      if (change.tier !== undefined) this.retained.delete(change.name);
      else if (before !== undefined && !isBuiltIn(change.name)) this.retained.set(change.name, before);
    }
    const used = new Set(this.#policies().map(({ tier }) => tier));
    for (const name of this.retained.keys()) if (!used.has(name)) this.retained.delete(name);
  }

  book(): RuleBook {
    const tiers = [...this.#tiers.values(), ...this.retained.values()];
    const known = new Set([...BUILT_IN_TIERS, ...tiers].map(({ name }) => name));
    const policies = this.#policies().filter(({ tier }) => known.has(tier));
    return createBook({ policies, tiers, profiles: [...this.#profiles.values()] });
  }

  lost(): string[] {
    const known = new Set([...TIERS.slice(0, 3), ...this.#tiers.keys(), ...this.retained.keys()]);
    return this.#policies()
      .filter(({ tier }) => !known.has(tier))
      .map(({ tier }) => `there is no tier ${tier}`);
  }

  #policies(): Policy[] {
    return [...this.#pairs.values()].flatMap(({ enforced, staged }) =>
      [enforced, staged].filter((each) => each !== undefined),
    );
  }
}

function setOrDelete<T>(map: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

const isBuiltIn = (name: string): boolean => BUILT_IN_TIERS.some((tier) => tier.name === name);

function apply(rules: Rules, change: Change): void {
  if (change.what === 'policies') rules.putPolicies(change.title, change.pair);
  if (change.what === 'tier') rules.putTier(change.name, change.tier);
  if (change.what === 'profile') rules.putProfile(change.name, change.profile);
  if (change.what === 'look') rules.book();
}

test('after any changes the book is the one that createBook makes', () => {
  const seen = { pending: 0, retained: 0, lost: 0 };
  fc.assert(
    fc.property(changes, (list) => {
      const rules = new Rules();
      const told = new Told();
      for (const change of list) {
        apply(rules, change);
        told.apply(change);
      }
      const book = rules.book();
      assert.deepEqual(book, told.book());
      assert.deepEqual(
        rules.retained().map(({ name }) => name),
        [...told.retained.keys()].sort(),
      );
      const messages = rules.problems().map(({ message }) => message);
      assert.deepEqual(messages.filter((text) => text.startsWith('there')).sort(), told.lost().sort());
      assert.equal(messages.length, told.lost().length + told.retained.size);
      seen.pending += book.pending === undefined ? 0 : 1;
      seen.retained += told.retained.size;
      seen.lost += told.lost().length;
    }),
    { numRuns: 600 },
  );
  for (const [what, count] of Object.entries(seen)) assert.ok(count > 20, `${what}: only ${count}`);
});

test('what has not changed is the same object as before', () => {
  fc.assert(
    fc.property(changes, (list) => {
      const rules = new Rules();
      let before = rules.book();
      for (const change of list) {
        apply(rules, change);
        const book = rules.book();
        assertKept(before, book);
        before = book;
      }
    }),
    { numRuns: 200 },
  );
});

function assertKept(before: RuleBook, now: RuleBook): void {
  const pairs: [unknown, unknown][] = [
    [before, now],
    [before.enforced, now.enforced],
    [before.profiles, now.profiles],
  ];
  for (const [index, tier] of now.enforced.entries()) {
    const old = before.enforced.find((each) => each.tier.name === tier.tier.name);
    pairs.push([old, tier], [old?.policies, tier.policies], [before.enforced[index], tier]);
  }
  if (before.pending !== undefined) pairs.push([before.pending, now.pending]);
  for (const [old, fresh] of pairs) if (isDeepStrictEqual(old, fresh)) assert.ok(old === fresh);
}

test('a policy is in the book when its tier comes, wherever that was told first', () => {
  const rules = new Rules();
  const [made] = fc.sample(policy('x/a', 'One'), { numRuns: 1, seed: 1 });
  const lonely = { ...(made as Policy), tier: 'middle' };
  rules.putPolicies(policyName(lonely), { enforced: lonely, staged: undefined });
  assert.equal(rules.book().enforced.flatMap(({ policies }) => policies).length, 0);
  assert.match(rules.problems()[0]?.message ?? '', /no tier middle/);
  rules.putTier('middle', { name: 'middle', order: 5, defaultAction: 'deny' });
  assert.deepEqual(rules.book().enforced[0]?.policies, [lonely]);
  assert.deepEqual(rules.problems(), []);
});
