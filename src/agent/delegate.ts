/**
 * Runs another IPAM plugin on behalf of a request (CNI spec 1.1.0, section 4): found by its type in CNI_PATH, the same
 * environment, the complete configuration on standard input. Its error is passed on as it is.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '#model/fault.ts';

const TIMEOUT_MS = 60_000;
const OUTPUT_MAX = 1 << 20;

export type DelegateCall = {
  readonly type: string;
  /** CNI_* variables of the request. */
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
};

/** The plugin's standard output. Throws Fault `delegate` with its message when it fails. */
export async function runDelegate(call: DelegateCall): Promise<string> {
  const path = await findPlugin(call.type, call.env['CNI_PATH'] ?? '');
  const { code, stdout } = await execute(path, call);
  if (code !== 0) throw new Fault('delegate', `${call.type}: ${describe(stdout, code)}`);
  return stdout;
}

async function findPlugin(type: string, searchPath: string): Promise<string> {
  const directories = searchPath.split(':').filter((directory) => directory.startsWith('/'));
  for (const directory of directories) {
    const path = join(directory, type);
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  throw new Fault(
    'delegate',
    `plugin ${type} is in none of the directories of CNI_PATH: ${directories.join(':')}`,
  );
}

function execute(path: string, call: DelegateCall): Promise<{ code: number; stdout: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, [], {
      env: { PATH: process.env['PATH'] ?? '', ...call.env },
      stdio: ['pipe', 'pipe', 'inherit'],
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < OUTPUT_MAX) stdout += text;
    });
    child.stdin.on('error', () => undefined).end(call.stdin);
    child.on('error', (error) =>
      reject(new Fault('delegate', `${path}: ${error.message}`, { cause: error })),
    );
    child.on('close', (code) => resolve({ code: code ?? -1, stdout }));
  });
}

function describe(stdout: string, code: number): string {
  try {
    const { msg, details } = JSON.parse(stdout) as { msg?: string; details?: string };
    if (msg !== undefined) return details === undefined ? msg : `${msg}; ${details}`;
  } catch {
    // What is not JSON is no error object: the exit code says what there is to say.
  }
  return code === -1 ? 'killed or timed out' : `exit code ${code}`;
}
