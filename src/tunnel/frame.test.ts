import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TUNNEL_OVERHEAD } from '#model/numbers.ts';
import { FAMILIES } from '#net/address.ts';
import { overheadOf } from './frame.ts';

test('what plans subtract from the MTU is what the frame adds', () => {
  for (const [cipher, bytes] of Object.entries(TUNNEL_OVERHEAD))
    for (const family of FAMILIES)
      assert.equal(bytes[family], overheadOf(family, cipher !== 'plain'), cipher);
});
