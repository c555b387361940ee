/** The alerts for Prometheus by its own checker: the rules are right, and come when they should and not before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { execute, whyNoKernel } from './namespace.ts';

const skip = whyNoKernel(['promtool']) ?? false;

test('promtool takes the alerts and finds that they do what their tests say', { skip }, async () => {
  const checked = await execute(['promtool', 'check', 'rules', 'deploy/monitoring/alerts.yaml']);
  assert.equal(checked.code, 0, checked.stderr);
  const tested = await execute(['promtool', 'test', 'rules', 'deploy/monitoring/alerts.test.yaml']);
  assert.equal(tested.code, 0, `${tested.stdout}${tested.stderr}`);
});
