/** Programs that the lab starts, and processes that it left running: known by pid and start time, so never mistaken. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fault } from '#model/fault.ts';
import { netnsPath } from './topology.ts';

export type Output = { readonly code: number; readonly stdout: string; readonly stderr: string };
export type RunOptions = {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
};

/** A running process; `started` is its start time in clock ticks since boot (/proc/PID/stat field 22). */
export type ProcessId = { readonly pid: number; readonly started: string };

/** Runs a program to its end. A bad exit code is an answer; only a program that cannot start is an error. */
export function run(words: readonly string[], options: RunOptions = {}): Promise<Output> {
  const [program = '', ...rest] = words;
  const { input = '', env, timeoutMs = 60_000 } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, {
      env: env ?? process.env,
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    const out = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (out.stderr += text));
    child.stdin.on('error', () => undefined); // it may end without reading
    child.on('error', (cause) => reject(new Fault('io', `cannot start ${program}`, { cause })));
    child.on('close', (code) => resolve({ ...out, code: code ?? 128 }));
    child.stdin.end(input);
  });
}

/** As `run`, but a bad exit code is a Fault `lab-state` with what the program said. Answers standard output. */
export async function must(words: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(words, options);
  if (code === 0) return stdout;
  throw new Fault('lab-state', `${words.join(' ')}: ${(stderr || stdout).trim() || `exit code ${code}`}`);
}

/** The words that run `words` in a namespace. Only the network changes: files and cgroups stay the host's. */
export function inNetns(netns: string, words: readonly string[]): string[] {
  return ['nsenter', `--net=${netnsPath(netns)}`, '--', ...words];
}

/** Starts a process that outlives this one, with its output in a file. */
export function startDetached(words: readonly string[], logFile: string): ProcessId {
  const [program = '', ...rest] = words;
  const log = openSync(logFile, 'a', 0o600);
  const child: ChildProcess = spawn(program, rest, { detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  child.on('error', () => undefined); // seen as a process that is gone
  child.unref();
  const pid = child.pid ?? 0;
  return { pid, started: startTime(pid) ?? '' };
}

export function isRunning(process: ProcessId): boolean {
  return process.started !== '' && startTime(process.pid) === process.started;
}

/** Sends the signal and waits until the process is gone; after `graceMs` it is killed. */
export async function endProcess(
  target: ProcessId,
  signal: 'SIGTERM' | 'SIGKILL',
  graceMs = 5000,
): Promise<void> {
  const deadline = Date.now() + graceMs;
  if (isRunning(target)) process.kill(target.pid, signal);
  while (isRunning(target)) {
    if (Date.now() > deadline) process.kill(target.pid, 'SIGKILL');
    await sleep(10);
  }
}

/** Undefined when there is no such process, or only a zombie of it. */
export function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
