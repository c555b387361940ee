import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { address, type Address, addressFrom, addressValue } from '#net/address.ts';
import { contains, lastAddress, nthAddress, prefix, prefixSize } from '#net/prefix.ts';
import { Fault } from '#model/fault.ts';
import { createPool, poolProblems, type PoolOptions } from './pool.ts';
import { joinPools } from './range-set.ts';

const options = (subnet: string, more: Partial<PoolOptions> = {}): PoolOptions => ({
  subnet: prefix(subnet),
  exclude: [],
  ...more,
});

test('network, broadcast, gateway and exclusions are skipped; the rest is all handed out', () => {
  const pool = createPool(
    options('10.0.0.0/28', {
      gateway: address('10.0.0.1'),
      exclude: [prefix('10.0.0.8/30'), prefix('fd00::/8')],
    }),
  );
  const got = Array.from({ length: 9 }, (_, n) => pool.allocate(`o${n}`));
  assert.deepEqual(got.map((a) => a.split('.')[3]).join(' '), '2 3 4 5 6 7 12 13 14');
  assert.throws(() => pool.allocate('more'), {
    code: 'addresses-exhausted',
    message: 'no free address in 10.0.0.0/28: of 9 usable ones 9 are held',
  });
  assert.equal(pool.allocate('o3'), '10.0.0.5', 'an owner keeps what it holds');
});

test('IPv6 skips only the subnet-router anycast address; a /64 costs nothing', () => {
  const pool = createPool(options('fd00::/64'));
  assert.equal(pool.allocate('a'), 'fd00::1');
  assert.equal(
    pool.allocate('b', { wanted: address('fd00::ffff:ffff:ffff:ffff') }),
    'fd00::ffff:ffff:ffff:ffff',
  );
  assert.equal(pool.usage().capacity, 2 ** 64);
});

test('a released address rests until it is settled, then is used last', () => {
  const pool = createPool(options('10.0.0.0/29'));
  for (const owner of ['a', 'b', 'c']) pool.allocate(owner);
  assert.equal(pool.release('a'), '10.0.0.1');
  assert.throws(() => pool.allocate('x', { wanted: address('10.0.0.1') }), { code: 'address-taken' });
  pool.settle(address('10.0.0.1'));
  pool.settle(address('10.0.0.2'));
  assert.deepEqual(
    ['d', 'e', 'f', 'g'].map((owner) => pool.allocate(owner)),
    ['10.0.0.4', '10.0.0.5', '10.0.0.6', '10.0.0.1'],
  );
  assert.deepEqual(pool.usage(), { capacity: 6, used: 6, quarantined: 0, free: 0 });
});

test('after a restart: adopted addresses are skipped and the round goes on', () => {
  const pool = createPool(
    options('10.0.0.0/29', { after: address('10.0.0.4'), exclude: [prefix('10.0.0.6/32')] }),
  );
  assert.equal(pool.adopt('old', address('10.0.0.5')), true);
  assert.equal(pool.adopt('odd', address('10.0.0.6')), true, 'excluded since, but held');
  assert.equal(pool.adopt('foreign', address('10.9.0.6')), false);
  assert.throws(() => pool.adopt('thief', address('10.0.0.5')), { code: 'address-taken' });
  assert.equal(pool.allocate('new'), '10.0.0.1');
});

test('what is wrong with options', () => {
  const paths = (given: PoolOptions): string[] => poolProblems(given, 'ipam').map((problem) => problem.path);
  assert.deepEqual(paths(options('10.0.0.0/24')), []);
  assert.deepEqual(paths(options('10.0.0.0/31')), ['ipam']);
  assert.deepEqual(paths(options('10.0.0.0/32')), ['ipam']);
  assert.deepEqual(paths(options('10.0.0.0/24', { gateway: address('10.0.1.1') })), ['ipam.gateway']);
  const [start, end] = [address('10.0.0.9'), address('10.0.0.3')];
  assert.deepEqual(paths(options('10.0.0.0/24', { ranges: [{ start, end }] })), ['ipam.ranges[0]']);
  assert.deepEqual(paths(options('10.0.0.0/24', { ranges: [{}, { end: address('10.1.0.0') }] })), [
    'ipam.ranges[1].end',
  ]);
});

test('joined pools: the next member when one is full, wanted in any', () => {
  const set = joinPools([createPool(options('10.0.0.0/30')), createPool(options('10.1.0.0/30'))]);
  assert.deepEqual(
    ['a', 'b', 'c'].map((owner) => set.allocate(owner)),
    ['10.0.0.1', '10.0.0.2', '10.1.0.1'],
  );
  assert.equal(set.allocate('c'), '10.1.0.1');
  assert.equal(set.networkOf(address('10.1.0.1'))?.subnet, '10.1.0.0/30');
  assert.equal(set.allocate('d', { wanted: address('10.1.0.2') }), '10.1.0.2');
  assert.throws(
    () => set.allocate('e'),
    (error) => error instanceof Fault && error.problems.length === 2,
  );
  assert.equal(set.release('a'), '10.0.0.1');
  set.settle(address('10.0.0.1'));
  assert.equal(set.allocate('e'), '10.0.0.1');
});

test('a /16 is handed out whole in well under a second', () => {
  const pool = createPool(options('10.0.0.0/16'));
  const begin = performance.now();
  for (let n = 0; n < 65_534; n += 1) pool.allocate(`o${n}`);
  assert.throws(() => pool.allocate('more'), { code: 'addresses-exhausted' });
  assert.ok(performance.now() - begin < 3000, `${performance.now() - begin} ms`);
});

/** The slow model: arrays, searched from end to end. */
function plainPool({ subnet, ranges = [], exclude, gateway, after }: PoolOptions) {
  const all = Array.from({ length: Number(prefixSize(subnet)) }, (_, n) => nthAddress(subnet, BigInt(n)));
  const inRanges = (a: Address): boolean =>
    ranges.length === 0 ||
    ranges.some(
      ({ start, end }) =>
        (start === undefined || addressValue(start) <= addressValue(a)) &&
        (end === undefined || addressValue(a) <= addressValue(end)),
    );
  const usable = all
    .slice(1)
    .filter((a) => a.includes(':') || a !== lastAddress(subnet))
    .filter((a) => a !== gateway && inRanges(a) && !exclude.some((prefix) => contains(prefix, a)));
  const late = usable.filter((a) => after === undefined || addressValue(a) > addressValue(after));
  let queue = [...late, ...usable.filter((a) => !late.includes(a))];
  let held: [string, Address][] = [];
  let resting: Address[] = [];
  return {
    usable,
    allocate(owner: string, wanted?: Address): string {
      const present = held.find(([name]) => name === owner)?.[1];
      if (present !== undefined)
        return wanted === undefined || wanted === present ? present : 'address-taken';
      const got = wanted ?? queue[0];
      if (got === undefined) return 'addresses-exhausted';
      if (!queue.includes(got)) return 'address-taken';
      queue = queue.filter((a) => a !== got);
      held.push([owner, got]);
      return got;
    },
    release(owner: string): string | undefined {
      const found = held.find(([name]) => name === owner);
      held = held.filter((entry) => entry !== found);
      if (found !== undefined) resting.push(found[1]);
      return found?.[1];
    },
    settle(a: Address): void {
      if (resting.includes(a)) queue.push(a);
      resting = resting.filter((other) => other !== a);
    },
    counts: () => ({ used: held.length, quarantined: resting.length, free: queue.length }),
  };
}

test('the pool does what the plain model does', () => {
  const owner = fc.integer({ min: 0, max: 12 }).map((n) => `o${n}`);
  const step = fc.oneof(
    fc.record({ act: fc.constant('allocate' as const), owner }),
    fc.record({ act: fc.constant('wanted' as const), owner, n: fc.nat(15) }),
    fc.record({ act: fc.constant('release' as const), owner }),
    fc.record({ act: fc.constant('settle' as const), n: fc.nat(15) }),
  );
  const shape = fc.record({
    subnet: fc.constantFrom(prefix('10.0.0.16/28'), prefix('fd00::10/124')),
    range: fc.option(fc.tuple(fc.nat(15), fc.nat(15))),
    hole: fc.option(fc.nat(3)),
    gateway: fc.option(fc.nat(15)),
    after: fc.option(fc.nat(15)),
  });
  fc.assert(
    fc.property(
      shape,
      fc.array(step, { maxLength: 60 }),
      ({ subnet, range, hole, gateway, after }, steps) => {
        const nth = (n: number): Address => nthAddress(subnet, BigInt(n));
        const bits = subnet.includes(':') ? 6 : 4;
        const given: PoolOptions = {
          subnet,
          exclude:
            hole === null
              ? []
              : [
                  prefix(
                    `${addressFrom(bits, addressValue(nth(0)) + BigInt(hole * 4))}/${bits === 4 ? 30 : 126}`,
                  ),
                ],
          ...(range === null ? {} : { ranges: [{ start: nth(range[0]), end: nth(range[1]) }] }),
          ...(gateway === null ? {} : { gateway: nth(gateway) }),
          ...(after === null ? {} : { after: nth(after) }),
        };
        const pool = createPool(given);
        const model = plainPool(given);
        const outcome = (act: () => string): string => {
          try {
            return act();
          } catch (error) {
            assert.ok(error instanceof Fault);
            return error.code;
          }
        };
        for (const item of steps) {
          if (item.act === 'settle') {
            pool.settle(nth(item.n));
            model.settle(nth(item.n));
          } else if (item.act === 'release')
            assert.equal(pool.release(item.owner), model.release(item.owner));
          else {
            const wanted = item.act === 'wanted' ? { wanted: nth(item.n) } : {};
            assert.equal(
              outcome(() => pool.allocate(item.owner, wanted)),
              model.allocate(item.owner, wanted.wanted),
            );
          }
          const { capacity, ...counts } = pool.usage();
          assert.deepEqual([capacity, counts], [model.usable.length, model.counts()]);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('an address that was freed before its turn came is used last all the same', () => {
  const pool = createPool(options('10.0.0.0/29'));
  pool.allocate('a', { wanted: address('10.0.0.2') });
  pool.release('a');
  pool.settle(address('10.0.0.2'));
  const got = ['b', 'c', 'd', 'e', 'f', 'g'].map((owner) => pool.allocate(owner).slice(-1));
  assert.equal(got.join(''), '134562');
});
