import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { address } from '#net/address.ts';
import type { Answer } from './answer.ts';
import { LearnedNames, patternsFor } from './names.ts';
import { isReachable } from './reachable.ts';

const answer = (name: string, ttlSeconds: number, ...addresses: string[]): Answer => ({
  name,
  addresses: addresses.map((each) => ({ address: address(each), ttlSeconds })),
});
const NONE = new Set<never>();
const shown = (names: LearnedNames): Record<string, string[]> =>
  Object.fromEntries([...names.view()].map(([name, addresses]) => [name, [...addresses].sort()]));

function knowing(...patterns: string[]): LearnedNames {
  const names = new LearnedNames({ minimumMs: 60_000 });
  names.want(new Set(patterns));
  return names;
}

test('`*.` stands for one or more labels, and a name for itself', () => {
  assert.deepEqual(patternsFor('a.b.org'), ['a.b.org', '*.b.org', '*.org']);
  const names = knowing('*.example.org', 'example.org', 'www.example.org');
  for (const name of ['example.org', 'www.example.org', 'a.b.example.org', 'wexample.org', 'org'])
    names.learn(answer(name, 1, `192.0.2.${name.length}`), 0);
  assert.deepEqual(shown(names), {
    'example.org': ['192.0.2.11'],
    'www.example.org': ['192.0.2.15'],
    '*.example.org': ['192.0.2.15'],
  });
  assert.deepEqual(names.count(), { names: 3, addresses: 3 });
});

test('an address stays for its TTL, at least the minimum, and for as long as it is in use', () => {
  const names = knowing('a.org');
  names.learn(answer('a.org', 5, '192.0.2.1'), 0);
  names.learn(answer('a.org', 90, '192.0.2.2'), 0);
  assert.equal(names.due(59_999).size, 0);
  assert.deepEqual([...names.due(60_000)], ['192.0.2.1']);
  assert.equal(names.expire(60_000, names.due(60_000)), false, 'in use');
  assert.deepEqual(shown(names), { 'a.org': ['192.0.2.1', '192.0.2.2'] });
  assert.equal(names.expire(60_000, NONE), true);
  assert.deepEqual(shown(names), { 'a.org': ['192.0.2.2'] });
  assert.equal(names.learn(answer('a.org', 90, '192.0.2.2'), 80_000), false, 'nothing new');
  assert.equal(names.expire(90_000, NONE), false, 'its time began anew');
  assert.equal(names.expire(170_000, NONE), true);
  assert.deepEqual([shown(names), names.count()], [{}, { names: 0, addresses: 0 }]);
});

test('what rules see is the same value while the addresses are the same', () => {
  const names = knowing('a.org', 'b.org');
  names.learn(answer('a.org', 5, '192.0.2.1'), 0);
  const before = names.view();
  assert.equal(names.learn(answer('a.org', 50, '192.0.2.1'), 10), false);
  names.learn(answer('c.org', 50, '192.0.2.9'), 10);
  assert.equal(names.view(), before);
  assert.equal(names.learn(answer('b.org', 5, '192.0.2.1'), 10), true);
  assert.notEqual(names.view(), before);
  assert.equal(names.view().get('a.org'), before.get('a.org'), 'and of each name');
});

test('rules that come find what is known already, those that go take it with them', () => {
  const names = knowing('*.example.org');
  names.learn(answer('www.example.org', 5, '192.0.2.1'), 0);
  names.want(new Set(['*.example.org', 'www.example.org']));
  assert.deepEqual(shown(names), { '*.example.org': ['192.0.2.1'], 'www.example.org': ['192.0.2.1'] });
  names.want(new Set(['www.example.org']));
  assert.deepEqual(shown(names), { 'www.example.org': ['192.0.2.1'] });
  names.want(new Set());
  assert.deepEqual([shown(names), names.count()], [{}, { names: 0, addresses: 0 }]);
});

test('one that fills a wildcard displaces what goes first there, and nothing elsewhere', () => {
  const names = new LearnedNames({ minimumMs: 0, maxAddresses: 3 });
  names.want(new Set(['*.full.org', 'other.org']));
  names.learn(answer('other.org', 1, '192.0.2.1'), 0);
  for (const [index, ttl] of [40, 20, 30, 10].entries())
    names.learn(answer(`n${index}.full.org`, ttl, `198.51.100.${index}`), 0);
  assert.deepEqual(shown(names), {
    'other.org': ['192.0.2.1'],
    '*.full.org': ['198.51.100.0', '198.51.100.2', '198.51.100.3'],
  });
  assert.equal(names.displaced, 1);
});

test('names lead neither to the node’s own places nor to many at once', () => {
  const all = ['127.0.0.1', '169.254.169.254', '0.0.0.0', '224.0.0.1', '255.255.255.255'];
  for (const each of [...all, '::', '::1', '::ffff:10.0.0.1', 'fe80::1', 'ff02::1'])
    assert.equal(isReachable(address(each)), false, each);
  for (const each of ['10.0.0.1', '192.0.2.1', '2001:db8::1', 'fd00::1', '64:ff9b::c000:201'])
    assert.equal(isReachable(address(each)), true, each);
  const names = knowing('a.org');
  assert.equal(names.learn(answer('a.org', 60, ...all), 0), false);
  assert.deepEqual(names.count(), { names: 0, addresses: 0 });
});

test('another that is told what one knows knows the same', () => {
  const names = knowing('*.org');
  names.learn(answer('a.org', 100, '192.0.2.1', '2001:db8::1'), 0);
  const later = knowing('*.org');
  later.restore(JSON.parse(JSON.stringify([...names.list()])));
  assert.deepEqual([shown(later), [...later.due(100_000)]], [shown(names), [...names.due(100_000)]]);
});

const NAMES = ['a.org', 'b.org', 'x.a.org', 'y.x.a.org', 'c.net'];
const PATTERNS = ['a.org', '*.a.org', '*.org', 'c.net', '*.x.a.org'];
const ADDRESSES = ['192.0.2.1', '192.0.2.2', '2001:db8::1'];
type Deed =
  | { readonly learn: Answer }
  | { readonly want: readonly string[] }
  | { readonly waitSeconds: number; readonly inUse: readonly string[] };

/** All that was ever learned, looked through each time. */
class PlainNames {
  wanted: readonly string[] = [];
  known: { name: string; address: string; untilMs: number }[] = [];
  do(deed: Deed, nowMs: number): void {
    if ('want' in deed) this.wanted = deed.want;
    else if ('waitSeconds' in deed)
      this.known = this.known.filter(
        ({ address: each, untilMs }) => untilMs > nowMs || deed.inUse.includes(each),
      );
    else
      for (const { address: each, ttlSeconds } of deed.learn.addresses)
        this.#put(deed.learn.name, each, nowMs + Math.max(ttlSeconds * 1000, 60_000));
    this.known = this.known.filter(({ name }) => this.wanted.some((pattern) => isOf(pattern, name)));
  }
  #put(name: string, each: string, untilMs: number): void {
    const before = this.known.find((one) => one.name === name && one.address === each);
    if (before === undefined) this.known.push({ name, address: each, untilMs });
    else before.untilMs = Math.max(before.untilMs, untilMs);
  }
  view(): Record<string, string[]> {
    const rows = this.wanted.map((pattern) => [
      pattern,
      [...new Set(this.known.filter(({ name }) => isOf(pattern, name)).map((each) => each.address))].sort(),
    ]);
    return Object.fromEntries(rows.filter(([, addresses]) => (addresses?.length ?? 0) > 0));
  }
}

const isOf = (pattern: string, name: string): boolean =>
  pattern.startsWith('*') ? name.endsWith(pattern.slice(1)) : name === pattern;

test('property: after any answers, rules and waiting, rules see what the plainest list says', () => {
  const deed = fc.oneof(
    fc
      .tuple(fc.constantFrom(...NAMES), fc.nat({ max: 200 }), fc.uniqueArray(fc.constantFrom(...ADDRESSES)))
      .map(([name, ttl, addresses]): Deed => ({ learn: answer(name, ttl, ...addresses) })),
    fc.subarray(PATTERNS).map((want): Deed => ({ want })),
    fc
      .tuple(fc.nat({ max: 120 }), fc.subarray(ADDRESSES))
      .map(([waitSeconds, inUse]): Deed => ({ waitSeconds, inUse })),
  );
  let seen = 0;
  fc.assert(
    fc.property(fc.array(deed, { minLength: 1, maxLength: 30 }), (deeds) => {
      const [names, plain] = [knowing(...PATTERNS), new PlainNames()];
      plain.wanted = PATTERNS;
      let nowMs = 0;
      for (const each of deeds) {
        if ('waitSeconds' in each) nowMs += each.waitSeconds * 1000;
        plain.do(each, nowMs);
        if ('want' in each) names.want(new Set(each.want));
        else if ('learn' in each) names.learn(each.learn, nowMs);
        else names.expire(nowMs, new Set(each.inUse.map(address)));
        assert.deepEqual(shown(names), plain.view());
        seen += Object.keys(plain.view()).length;
      }
    }),
    { numRuns: 500 },
  );
  assert.ok(seen > 500, `only ${seen} names were seen`);
});
