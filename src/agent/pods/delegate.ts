/**
 * Runs another IPAM plugin on behalf of a request (CNI spec 1.1.0, section 4): found by its type in CNI_PATH, the same
 * environment, the complete configuration on standard input. It sees the files that the caller sees. Its error is passed
 * on as it is, with its number. A plugin that does not answer in time is killed with all that it started.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '#model/fault.ts';
import { hasOwnView, pathInView } from '#kernel/foreign-root.ts';

const TIMEOUT_MS = 60_000;
const OUTPUT_MAX = 1 << 20;

export type DelegateCall = {
  readonly type: string;
  /** CNI_* variables of the request. */
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  /** The process whose view of the file system counts; default: the agent's own. */
  readonly pid?: number;
  /** How long the plugin may take; default: a minute. */
  readonly timeoutMs?: number;
};

/** The plugin's standard output. Throws Fault `delegate` with its message and number when it fails. */
export async function runDelegate(call: DelegateCall): Promise<string> {
  const view = call.pid !== undefined && hasOwnView(call.pid) ? call.pid : undefined;
  const path = await findPlugin(call.type, call.env['CNI_PATH'] ?? '', view);
  const { code, stdout } = await execute(view === undefined ? [path] : [...enterView(view), path], call);
  if (code !== 0) throw failure(call.type, stdout, code);
  return stdout;
}

/** The plugin becomes a process of that view (nsenter(1) executes it in its own place); no shell reads anything. */
function enterView(pid: number): string[] {
  return ['nsenter', `--mount=/proc/${pid}/ns/mnt`, `--root=/proc/${pid}/root`, '--'];
}

async function findPlugin(type: string, searchPath: string, view: number | undefined): Promise<string> {
  const directories = searchPath.split(':').filter((directory) => directory.startsWith('/'));
  for (const directory of directories) {
    const path = join(directory, type);
    if (await isExecutable(view === undefined ? path : pathInView(view, path))) return path;
  }
  throw new Fault(
    'delegate',
    `plugin ${type} is in none of the directories of CNI_PATH: ${directories.join(':')}`,
  );
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

function execute(argv: readonly string[], call: DelegateCall): Promise<{ code: number; stdout: string }> {
  const { type, timeoutMs = TIMEOUT_MS } = call;
  return new Promise((resolve, reject) => {
    const [program = '', ...words] = argv;
    // A group of its own: what the plugin started must not outlive it, nor keep its output open.
    const child = spawn(program, words, {
      env: { PATH: process.env['PATH'] ?? '', ...call.env },
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    });
    const timer = setTimeout(() => {
      killGroup(child.pid);
      child.stdout.destroy();
      reject(new Fault('delegate', `${type} did not answer within ${timeoutMs / 1000} s and was killed`));
    }, timeoutMs);
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < OUTPUT_MAX) stdout += text;
    });
    child.stdin.on('error', () => undefined).end(call.stdin);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new Fault('delegate', `${argv.at(-1)}: ${error.message}`, { cause: error }));
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? -1, stdout });
    });
  });
}

function killGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, 'SIGKILL');
  } catch {
    // It ended in this very moment.
  }
}

/** What the plugin said of its failure; its number is the answer's, unless it has none. */
function failure(type: string, stdout: string, exitCode: number): Fault {
  try {
    const { code, msg, details } = JSON.parse(stdout) as { code?: number; msg?: string; details?: string };
    if (msg !== undefined) {
      const text = details === undefined || details === '' ? msg : `${msg}; ${details}`;
      const cni = Number.isInteger(code) && Number(code) > 0 ? { cni: Number(code) } : {};
      return new Fault('delegate', `${type}: ${text}`, cni);
    }
  } catch {
    // What is not JSON is no error object: the exit code says what there is to say.
  }
  return new Fault('delegate', `${type}: ${exitCode === -1 ? 'was killed' : `exit code ${exitCode}`}`);
}
