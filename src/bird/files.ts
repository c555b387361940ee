/** BIRD's files, all in one directory of the agent's: nobody else may read them, as they hold passwords. */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type BirdFiles = {
  readonly config: string;
  /** What is to become `config`, until BIRD has accepted it. */
  readonly next: string;
  readonly socket: string;
  /** Left behind by a daemon that was killed: the next one takes over its routes. */
  readonly pid: string;
};

/** Makes the directory. */
export function filesIn(directory: string): BirdFiles {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const at = (name: string): string => join(directory, name);
  return { config: at('bird.conf'), next: at('bird.conf.next'), socket: at('bird.ctl'), pid: at('bird.pid') };
}

export function readConfig({ config }: BirdFiles): string | undefined {
  try {
    return readFileSync(config, 'utf8');
  } catch {
    return undefined;
  }
}

/** A mode holds only for a file that is made. */
export function writeNext({ next }: BirdFiles, text: string): void {
  rmSync(next, { force: true });
  writeFileSync(next, text, { mode: 0o600, flag: 'wx' });
}

export function takeNext({ next, config }: BirdFiles): void {
  renameSync(next, config);
}

export function dropNext({ next }: BirdFiles): void {
  rmSync(next, { force: true });
}

export function hasPid({ pid }: BirdFiles): boolean {
  return statSync(pid, { throwIfNoEntry: false }) !== undefined;
}

/** Of a daemon that runs with this configuration. */
export function readPid({ pid, config }: BirdFiles): number | undefined {
  try {
    const number = Number(readFileSync(pid, 'utf8'));
    const words = readFileSync(`/proc/${number}/cmdline`, 'utf8').split('\0');
    return words.includes(config) ? number : undefined;
  } catch {
    return undefined;
  }
}
