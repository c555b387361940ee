/**
 * A program that a test runs beside itself: its output is in a file, and it ends with the test process at the latest.
 * What it starts in turn is not looked after here.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';

export type Daemon = {
  readonly pid: number;
  /** How it ended, or undefined: it runs. */
  ended(): string | undefined;
  log(): string;
  /** SIGKILL unless said otherwise; resolves when it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  signal(signal: NodeJS.Signals): void;
};

const running = new Set<ChildProcess>();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** The last lines of a log, for a message. */
export const tail = (log: string, lines = 30): string => log.trimEnd().split('\n').slice(-lines).join('\n');

export const readLog = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '');

/** Appends to `logFile`, so that a program started again goes on in the same file. */
export function startDaemon(
  argv: readonly string[],
  logFile: string,
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Daemon {
  const output = openSync(logFile, 'a');
  const child: ChildProcess = spawn(argv[0] ?? '', argv.slice(1), {
    ...options,
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  let failure: string | undefined;
  child.once('error', (error) => (failure = error.message));
  running.add(child);
  child.once('exit', () => running.delete(child));
  const ended = (): string | undefined => {
    if (failure !== undefined) return failure;
    if (child.signalCode !== null) return `by ${child.signalCode}`;
    return child.exitCode === null ? undefined : `with exit code ${child.exitCode}`;
  };
  return {
    pid: child.pid ?? 0,
    ended,
    log: () => readLog(logFile),
    signal: (signal) => void child.kill(signal),
    stop: async (signal = 'SIGKILL') => {
      if (ended() !== undefined) return;
      const gone = once(child, 'exit');
      child.kill(signal);
      child.kill('SIGCONT');
      await gone;
    },
  };
}
