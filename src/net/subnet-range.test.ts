import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { address, addressFrom, type Family } from './address.ts';
import { contains, prefix, prefixLength, prefixOf } from './prefix.ts';
import { subnetDefaults } from './subnet-range.ts';

test('defaults are flannel’s', () => {
  const rows: [string, number, string, string][] = [
    ['10.244.0.0/16', 24, '10.244.1.0/24', '10.244.255.0/24'],
    ['10.0.0.0/22', 24, '10.0.1.0/24', '10.0.3.0/24'],
    ['10.0.0.0/23', 25, '10.0.0.128/25', '10.0.1.128/25'],
    ['10.0.0.0/28', 30, '10.0.0.4/30', '10.0.0.12/30'],
    ['fd00::/48', 64, 'fd00:0:0:1::/64', 'fd00:0:0:ffff::/64'],
    ['fd00::/62', 64, 'fd00:0:0:1::/64', 'fd00:0:0:3::/64'],
    ['fd00::/64', 66, 'fd00::4000:0:0:0/66', 'fd00::c000:0:0:0/66'],
    ['fd00::/124', 126, 'fd00::4/126', 'fd00::c/126'],
  ];
  for (const [range, length, min, max] of rows) {
    assert.deepEqual(subnetDefaults(prefix(range)), { range, length, min: prefix(min), max: prefix(max) });
  }
});

test('bounds as addresses or subnets; everything wrong is said', () => {
  const range = prefix('10.0.0.0/16');
  const good = { range, length: 24, min: '10.0.9.0/24', max: '10.0.20.0/24' };
  assert.deepEqual(subnetDefaults(range, 24, address('10.0.9.0'), prefix('10.0.20.0/24')), good);
  const paths = (result: ReturnType<typeof subnetDefaults>): string[] =>
    'problems' in result ? result.problems.map((problem) => problem.path) : [];
  assert.deepEqual(paths(subnetDefaults(prefix('10.0.0.0/29'))), ['range']);
  assert.deepEqual(paths(subnetDefaults(prefix('fd00::/125'))), ['range']);
  assert.deepEqual(paths(subnetDefaults(range, 17)), ['length']);
  assert.deepEqual(paths(subnetDefaults(range, 31)), ['length']);
  assert.deepEqual(paths(subnetDefaults(range, 24.5)), ['length']);
  assert.deepEqual(paths(subnetDefaults(range, 24, address('10.0.9.1'), prefix('10.0.20.0/25'))), [
    'min',
    'max',
  ]);
  assert.deepEqual(paths(subnetDefaults(range, 24, address('10.1.9.0'), address('fd00::'))), ['min', 'max']);
  assert.deepEqual(paths(subnetDefaults(range, 24, address('10.0.9.0'), address('10.0.8.0'))), ['min']);
});

test('a result is always consistent', () => {
  const any = fc.tuple(
    fc.constantFrom<Family>(4, 6),
    fc.bigInt(0n, (1n << 32n) - 1n),
    fc.integer({ min: 0, max: 128 }),
  );
  fc.assert(
    fc.property(
      any,
      fc.option(fc.integer({ min: 0, max: 130 }), { nil: undefined }),
      ([family, value, bits], length) => {
        const range = prefixOf(
          addressFrom(family, value << (family === 4 ? 0n : 96n)),
          Math.min(bits, family === 4 ? 32 : 128),
        );
        const result = subnetDefaults(range, length);
        if ('problems' in result) return assert.ok(result.problems.length > 0);
        assert.ok(contains(range, result.min) && contains(range, result.max));
        assert.equal(prefixLength(result.min), result.length);
        assert.ok(result.length >= prefixLength(range) + 2);
      },
    ),
  );
});
