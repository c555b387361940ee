import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { MatrixProvider, ProviderMatrix } from '#model/provider-matrix.ts';
import { columnsOf, excludedBy, isDiffering, readSelection, toggled, writeSelection } from './selection.ts';

const provider = (id: string, cells: Record<string, string>): MatrixProvider => ({
  id,
  title: id.toUpperCase(),
  own: false,
  cells: Object.fromEntries(
    Object.entries(cells).map(([name, value]) => [name, { value, claims: [], against: 0 }]),
  ),
});
const MATRIX: ProviderMatrix = {
  groups: [
    {
      title: 'G',
      features: ['bgp', 'mesh', 'ipv6'].map((name) => ({ name, title: name, type: 'ability' })),
    },
  ],
  providers: [
    provider('a', { bgp: 'yes', mesh: 'no' }),
    provider('b', { bgp: 'partly', mesh: 'unknown' }),
    provider('c', { bgp: 'no', mesh: 'no' }),
  ],
  sources: {},
};
const read = (hash: string) => readSelection(hash, MATRIX);
const ids = (hash: string) => columnsOf(read(hash), MATRIX).map(({ id }) => id);

test('no excludes, partly and unknown do not, and who is out is told with what keeps it out', () => {
  assert.deepEqual(ids(''), ['a', 'b', 'c']);
  assert.deepEqual(ids('#need=bgp'), ['a', 'b']);
  assert.deepEqual(ids('#need=bgp,mesh'), ['b']);
  assert.deepEqual(ids('#need=ipv6'), ['a', 'b', 'c']);
  const out = excludedBy(read('#need=bgp,mesh'), MATRIX).map((one) => [one.provider.id, one.by]);
  assert.deepEqual(out, [
    ['a', ['mesh']],
    ['c', ['bgp', 'mesh']],
  ]);
});

test('who is shown is still excluded', () => assert.deepEqual(ids('#show=a,c&need=bgp'), ['a']));

test('rows differ by what is shown', () => {
  assert.equal(isDiffering('mesh', MATRIX.providers), true);
  assert.equal(
    isDiffering(
      'mesh',
      [MATRIX.providers[0], MATRIX.providers[2]].filter((one) => one !== undefined),
    ),
    false,
  );
});

test('a selection is its address and back; what the address invents is left out', () => {
  const some = (words: readonly string[]) => fc.subarray([...words]).map((all) => new Set(all));
  fc.assert(
    fc.property(
      some(['bgp', 'mesh', 'ipv6']),
      some(['a', 'b', 'c']),
      fc.boolean(),
      (needs, shown, differing) => {
        const selection = { needs, shown, differing };
        assert.deepEqual(read(writeSelection(selection)), selection);
      },
    ),
  );
  assert.deepEqual(read('#need=speed,bgp&show=x&only=y&z'), {
    needs: new Set(['bgp']),
    shown: new Set(),
    differing: false,
  });
  assert.deepEqual(toggled(new Set(['a']), 'a'), new Set());
  assert.deepEqual(toggled(new Set(['a']), 'b'), new Set(['a', 'b']));
});
