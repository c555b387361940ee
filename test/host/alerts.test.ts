/** The alerts for Prometheus by its own checker: the rules are right, and come when they should and not before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { execute, whyNoKernel } from './namespace.ts';

/** Of this machine, or fetched once. */
function findPromtool(): string | undefined {
  if (whyNoKernel(['promtool']) === undefined) return 'promtool';
  try {
    return join(execFileSync('scripts/promtool.sh', { encoding: 'utf8' }).trim(), 'promtool');
  } catch {
    return undefined;
  }
}

const promtool = findPromtool() ?? '';
const skip = promtool === '' ? 'needs promtool: scripts/promtool.sh says why it cannot be fetched' : false;

test('promtool takes the alerts and finds that they do what their tests say', { skip }, async () => {
  const checked = await execute([promtool, 'check', 'rules', 'deploy/monitoring/alerts.yaml']);
  assert.equal(checked.code, 0, checked.stderr);
  const tested = await execute([promtool, 'test', 'rules', 'deploy/monitoring/alerts.test.yaml']);
  assert.equal(tested.code, 0, `${tested.stdout}${tested.stderr}`);
});
