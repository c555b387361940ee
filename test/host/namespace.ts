/**
 * Named network namespaces of a test run, and commands inside them. Every name carries this process's number, so that
 * runs beside each other never meet; a namespace removed takes everything in it along.
 */
import { execFileSync, spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { pid } from 'node:process';

export type Output = { readonly code: number; readonly stdout: string; readonly stderr: string };

export type Namespace = {
  readonly name: string;
  /** What a runtime would pass as CNI_NETNS. */
  readonly path: string;
  /** `ip -n NAME …`: its output; throws with stderr when it fails. */
  ip(command: string): string;
  /** `ip -j -n NAME …`, parsed. */
  list<T = Record<string, unknown>>(command: string): T[];
  /** A command inside, to its end. Never throws for a bad exit code. */
  run(argv: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<Output>;
  /** As run, but throws unless the exit code is 0; gives stdout. */
  must(argv: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<string>;
  /** A process that goes on inside; the caller ends it. */
  start(argv: readonly string[], options?: SpawnOptions): ChildProcess;
  remove(): void;
};

const words = (command: string): string[] => command.split(/\s+/).filter((word) => word !== '');

/** Deadlines are longer by this in the virtual machine of the tests, where everything takes many times longer. */
export const PATIENCE = process.env['TARTAN_VM'] === undefined ? 1 : 6;

/** Runs argv to its end; a process that outlives `timeoutMs` is killed and reported as an error: it hangs. */
export function execute(
  argv: readonly string[],
  options: { input?: string | Buffer; timeoutMs?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<Output> {
  const { input = '', env = process.env } = options;
  const timeoutMs = (options.timeoutMs ?? 30_000) * PATIENCE;
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0] ?? '', argv.slice(1), { env, stdio: ['pipe', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`no answer within ${timeoutMs} ms: ${argv.join(' ')}`));
    }, timeoutMs);
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.stdin.on('error', () => {}); // a process may exit without reading its input
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({
        code: code ?? 128,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString() + (signal === null ? '' : `killed by ${signal}`),
      });
    });
    child.stdin.end(input);
  });
}

export function makeNamespace(label: string): Namespace {
  const name = `bx-${pid.toString(36)}-${label}`;
  execFileSync('ip', ['netns', 'add', name]);
  const made = namespaceAt(name);
  made.ip('link set lo up');
  return made;
}

/** One that is there already. */
export function namespaceAt(name: string): Namespace {
  const path = `/run/netns/${name}`;
  const ip = (command: string): string =>
    execFileSync('ip', ['-n', name, ...words(command)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const enter = (argv: readonly string[]): string[] => ['nsenter', `--net=${path}`, ...argv];
  const run: Namespace['run'] = (argv, options) => execute(enter(argv), options);
  return {
    name,
    path,
    ip,
    list: <T>(command: string) =>
      JSON.parse(
        execFileSync('ip', ['-j', '-n', name, ...words(command)], { encoding: 'utf8' }) || '[]',
      ) as T[],
    run,
    must: async (argv, options) => {
      const done = await run(argv, options);
      if (done.code !== 0)
        throw new Error(`${argv.join(' ')}: exit ${done.code}: ${done.stderr}${done.stdout}`);
      return done.stdout;
    },
    start: (argv, options = {}) => {
      const [program = '', ...args] = enter(argv);
      return spawn(program, args, { stdio: 'ignore', ...options });
    },
    remove: () => execFileSync('ip', ['netns', 'delete', name], { stdio: 'ignore' }),
  };
}

/** Gives a namespace the network settings of a node: forwarding of both families, no DAD delay. */
export async function makeForwarding(namespace: Namespace): Promise<void> {
  const settings = [
    'net.ipv4.ip_forward=1',
    'net.ipv6.conf.all.forwarding=1',
    'net.ipv6.conf.default.accept_dad=0',
    'net.ipv6.conf.all.accept_dad=0',
  ];
  await namespace.must(['sysctl', '-qw', ...settings]);
}

/** Polls until `probe` gives a value that is not undefined or false; an error after `timeoutMs`. */
export async function waitFor<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 10_000,
): Promise<T> {
  const end = Date.now() + timeoutMs * PATIENCE;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`waited ${timeoutMs * PATIENCE} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Why real namespaces cannot be used here, or undefined: tests skip with this sentence. */
export function whyNoKernel(programs: readonly string[] = []): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const program of programs) {
    try {
      execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    } catch {
      return `needs ${program} (see apt packages in README)`;
    }
  }
  return undefined;
}
