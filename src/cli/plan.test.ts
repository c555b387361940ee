import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fault } from '#model/fault.ts';
import { readScene } from './plan.ts';

/** The scene that the guide shows. */
const GUIDE = readFileSync(join(import.meta.dirname, '../../docs/guide/plan.md'), 'utf8');
const SHOWN = /```yaml\n([\s\S]*?)```/.exec(GUIDE)?.[1] ?? '';

function scene<T>(text: string, look: (file: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'lb-plan-'));
  try {
    writeFileSync(join(directory, 'scene.yaml'), text);
    return look(join(directory, 'scene.yaml'));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('the scene of the guide is read', () => {
  const { subnets, nodes } = scene(SHOWN, readScene);
  assert.equal(subnets[4], '10.244.1.0/24');
  assert.deepEqual(
    nodes.map(({ name, ready }) => [name, ready]),
    [['node2', true]],
  );
});

test('all that is wrong with a scene is told at once, at its path', () => {
  const bad = SHOWN.replace('10.244.1.0/24', '10.244.1.7/24')
    .replace('mtu: 1500', 'mtu: wide')
    .concat('extra: 1\n');
  assert.throws(
    () => scene(bad, readScene),
    (error) => {
      assert.ok(error instanceof Fault);
      assert.deepEqual(error.problems.map(({ path }) => path).sort(), ['', 'subnets.4', 'underlay.mtu']);
      return true;
    },
  );
});
