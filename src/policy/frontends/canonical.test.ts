/** Equal meanings are equal values, so that compilers share sets by comparing text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PROTOCOL } from '#model/policy.ts';
import { destinationPorts, mergeRanges } from './ports.ts';
import { fromLabelSelector } from './selectors.ts';

test('label selectors that differ in order and repetition only are equal', () => {
  const one = fromLabelSelector(
    {
      matchLabels: { a: 'b', c: 'd' },
      matchExpressions: [
        { key: 'x', operator: 'NotIn', values: ['2', '1'] },
        { key: 'y', operator: 'Exists' },
      ],
    },
    'own',
  );
  const other = fromLabelSelector(
    {
      matchLabels: { c: 'd' },
      matchExpressions: [
        { key: 'y', operator: 'Exists', values: [] },
        { key: 'a', operator: 'In', values: ['b'] },
        { key: 'x', operator: 'NotIn', values: ['1', '2', '2'] },
        { key: 'y', operator: 'Exists' },
      ],
    },
    'own',
  );
  assert.equal(JSON.stringify(one), JSON.stringify(other));
  assert.notDeepEqual(one, fromLabelSelector({ matchLabels: { a: 'b', c: 'd' } }, 'own'));
});

test('merged ranges hold the same ports, ascending, with gaps between them', () => {
  const range = fc
    .tuple(fc.integer({ min: 1, max: 60 }), fc.nat(8))
    .map(([from, more]) => ({ from, to: from + more }));
  fc.assert(
    fc.property(fc.array(range, { maxLength: 12 }), (ranges) => {
      const portsOf = (all: typeof ranges): number[] =>
        all.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, n) => from + n));
      const merged = mergeRanges(ranges);
      assert.deepEqual(
        portsOf(merged),
        [...new Set(portsOf(ranges))].sort((a, b) => a - b),
      );
      for (const [index, { from }] of merged.entries()) assert.ok(from > (merged[index - 1]?.to ?? -1) + 1);
    }),
  );
});

test('ports: one set per protocol; all of a protocol takes in its ports and names', () => {
  const { tcp, udp } = PROTOCOL;
  const lines = [
    { protocol: udp, range: { from: 53, to: 53 } },
    { protocol: tcp, name: 'web' },
    { protocol: udp },
    { name: 'any' },
    { protocol: tcp, range: { from: 2, to: 3 } },
    { protocol: tcp, range: { from: 1, to: 1 } },
  ];
  const end = 'destination';
  const sets = [
    { kind: 'named-port', end, name: 'any' },
    { kind: 'ports', end, protocol: tcp, ranges: [{ from: 1, to: 3 }] },
    { kind: 'named-port', end, protocol: tcp, name: 'web' },
    { kind: 'protocol', protocol: udp },
  ];
  assert.deepEqual(destinationPorts(lines), [{ anyOf: sets }]);
  assert.deepEqual(destinationPorts(lines.toReversed()), [{ anyOf: sets }]);
  assert.deepEqual(destinationPorts([]), []);
});
