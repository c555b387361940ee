/**
 * The tunnel's process as its user has it: found by its socket, started where there is none, brought up to the present
 * program where it runs an older one.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LineClient, openLines } from './lines.ts';
import type { Look } from './order.ts';
import type { TunnelEvent } from './tunnel.ts';

export type ProcessOptions = {
  readonly socket: string;
  /** Where the process writes why it ended. */
  readonly log: string;
  /** The words that start it; its arguments follow. */
  readonly program: readonly string[];
  readonly onEvent: (event: TunnelEvent) => void;
};

const START_MS = 20_000;
const STEP_MS = 10;

/** Undefined when there is no process. */
export async function findProcess({
  socket,
  onEvent,
}: Pick<ProcessOptions, 'socket' | 'onEvent'>): Promise<LineClient | undefined> {
  try {
    return await openLines(socket, onEvent);
  } catch {
    return undefined;
  }
}

/** Throws when none comes up. */
export async function startProcess(options: ProcessOptions): Promise<LineClient> {
  const { program, socket, log } = options;
  const [command = '', ...words] = program;
  const output = openSync(log, 'w', 0o600);
  const child = spawn(command, [...words, 'serve', socket], {
    detached: true,
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  let ended = false;
  child.on('error', () => (ended = true)).on('exit', () => (ended = true));
  child.unref();
  return untilFound(options, () => ended);
}

/** Has the present program take over what an older one carries. Throws, and the older goes on, when it does not come up. */
export async function replaceProcess(options: ProcessOptions, old: LineClient): Promise<LineClient> {
  const { pid } = await old.ask<Look>({ do: 'look' });
  // Its answer does not come: it has left.
  const refused = await old.ask({ do: 'follow', program: options.program }).then(
    () => new Error('nobody followed'),
    (error: Error) => error,
  );
  const found = await untilFound(options, () => false);
  const now = await found.ask<Look>({ do: 'look' });
  if (now.pid !== pid) return found;
  found.close();
  throw refused;
}

async function untilFound(options: ProcessOptions, hasEnded: () => boolean): Promise<LineClient> {
  for (let waited = 0; waited < START_MS; waited += STEP_MS) {
    const ended = hasEnded();
    const client = await findProcess(options);
    if (client !== undefined) return client;
    if (ended) throw new Error(`the tunnel’s process ended at once; ${options.log} says why`);
    await sleep(STEP_MS);
  }
  throw new Error(`the tunnel’s process did not answer within ${START_MS / 1000} s`);
}
