import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '#model/fault.ts';
import { parseSettings } from './parse.ts';

const HEAD = `apiVersion: tartan.dev/v1
kind: Settings
profile: none
node: { name: a }
network: { ipv4: { range: 10.0.0.0/16 } }
`;

test('a leader stops well before another may lead, and may fail to renew once', () => {
  const parse = (lease: string) =>
    parseSettings([{ origin: 'file', text: `${HEAD}controller: { lease: ${lease} }\n` }], { none: '' });
  assert.deepEqual(parse('{}').settings.controller.lease, {
    durationSeconds: 15,
    deadlineSeconds: 10,
    retrySeconds: 2,
  });
  assert.equal(parse('{ durationSeconds: 5, deadlineSeconds: 4 }').settings.controller.lease.retrySeconds, 2);
  assert.throws(
    () => parse('{ durationSeconds: 12, retrySeconds: 6 }'),
    (error) => {
      assert.ok(error instanceof Fault);
      assert.deepEqual(error.problems, [
        {
          path: 'file:6 controller.lease.deadlineSeconds',
          message: 'must be at most four fifths of durationSeconds (12)',
        },
        {
          path: 'file:6 controller.lease.retrySeconds',
          message: 'must be at most half of deadlineSeconds (10)',
        },
      ]);
      return true;
    },
  );
});
