import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isNewer } from './definitions.ts';

test('versions in the order in which they are released', () => {
  const ordered = ['0.9.9', '0.10.0-rc.2', '0.10.0-rc.10', '0.10.0', '0.10.1', '1.0.0'];
  for (const [index, one] of ordered.entries())
    for (const [other, text] of ordered.entries())
      assert.equal(isNewer(one, text), index > other, `${one} ${text}`);
  assert.equal(isNewer('v1.0.0', '0.9.0'), true);
  assert.equal(isNewer('something', '0.1.0'), false);
  assert.equal(isNewer('0.1.0+build.5', '0.1.0'), false);
});
