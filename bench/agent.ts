/** An agent as it is shipped, started and timed as a process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Node } from '../test/host/node.ts';

/** NODE_OPTIONS reaches it, as in `NODE_OPTIONS='--cpu-prof --cpu-prof-dir=/tmp/x'`. */
export function spawnAgent(node: Node): ChildProcess {
  const program = join(import.meta.dirname, '../dist/tartan');
  const words = [`--net=${node.netns.path}`, program, 'agent', '--config', node.settingsFile];
  return spawn('nsenter', words, { stdio: ['ignore', 'inherit', 'pipe'] });
}

export async function endAgent(agent: ChildProcess): Promise<void> {
  const gone = new Promise((done) => agent.once('exit', done));
  agent.kill('SIGTERM');
  await gone;
}

/** Resolves when the agent's log says all of this: to ask for it would take of its time. */
export function whenSaid(agent: ChildProcess, ...words: readonly string[]): Promise<void> {
  let text = '';
  return new Promise((resolve, reject) => {
    const late = setTimeout(
      reject,
      120_000,
      new Error(`the agent does not say ${words.join(', ')}: ${text}`),
    );
    agent.once('exit', () => reject(new Error(`the agent ended: ${text.slice(-2000)}`)));
    agent.stderr?.on('data', (chunk: Buffer) => {
      text = `${text}${chunk.toString()}`.slice(-100_000);
      if (!words.every((each) => text.includes(each))) return;
      clearTimeout(late);
      resolve();
    });
  });
}

/** User and system time so far, from proc(5) stat: fields 14 and 15, in hundredths of a second. */
export function cpuTimeMs(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
