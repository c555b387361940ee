import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimProblems } from './claim-object.ts';

const claim = (name: string, spec: unknown): Readonly<Record<string, unknown>> => ({
  apiVersion: 'tartan.dev/v1',
  kind: 'SubnetClaim',
  metadata: { name },
  spec,
});

test('a reservation: right, or all that is wrong with it', () => {
  const right = { node: 'a', subnet: 'fd00:1::/64', reserved: true };
  assert.deepEqual(claimProblems(claim('fd00:1::-64', right), 'f:1'), []);
  const paths = (name: string, spec: unknown): string[] =>
    claimProblems(claim(name, spec), 'f:1').map(({ path }) => path);
  assert.deepEqual(paths('fd00:1::-64', {}), ['f:1 spec.node', 'f:1 spec.reserved', 'f:1 spec.subnet']);
  assert.deepEqual(paths('fd00:2::-64', right), ['f:1 metadata.name']);
  assert.deepEqual(paths('fd00:1::-64', { ...right, subnet: 'fd00:1::1/64' }), ['f:1 spec.subnet']);
  assert.deepEqual(paths('fd00:1::-64', null).length, 3);
  assert.deepEqual(claimProblems({ ...claim('x', {}), kind: 'Node' }, 'f:1'), []);
});
