import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lengthsProblem } from './lengths.ts';

test('what is wrong with the object as it was read', () => {
  for (const pools of [undefined, null, { '10.0.0.0/16': 12 }, { '10.0.0.0/26': 24 }, { here: 26 }])
    assert.notEqual(lengthsProblem({ pools }), undefined, JSON.stringify(pools));
  assert.equal(lengthsProblem({ pools: { 'fd00::/64': 122, '10.0.0.0/26': 26 } }), undefined);
});
