/** What tests ask of a lab. */
import assert from 'node:assert/strict';
import type { Lab } from '../../src/lab/lab.ts';
import { allReach, renderMatrix } from '../../src/lab/matrix.ts';
import { PATIENCE } from './namespace.ts';

/** Web servers, and ways between nodes, may need a moment: who is not reached in some rounds is not reached. */
export async function assertAllReach(lab: Lab, rounds = 6): Promise<void> {
  let reaches = await lab.matrix();
  for (let round = 1; round < rounds && !allReach(reaches); round += 1) reaches = await lab.matrix();
  assert.ok(allReach(reaches), `\n${renderMatrix(reaches)}`);
}

/** A command in a pod or a node, to its end; gives its output. */
export async function must(lab: Lab, where: string, command: string): Promise<string> {
  const { code, stdout, stderr } = await lab.exec(where, command.split(' '));
  assert.equal(code, 0, `${where}: ${command}: ${stderr}${stdout}`);
  return stdout;
}

export async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 30_000 * PATIENCE;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `not within time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
