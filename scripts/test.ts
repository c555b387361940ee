/**
 * The test runner: `node scripts/test.ts [static|unit|host|k8s|all] [file …]`.
 * static: format, lint, types. unit: no root, no kernel, one process; with the rules of the house. host: real netlink,
 * namespaces and daemons, a process per file, one file at a time. k8s: on a real Kubernetes cluster; not part of all. The
 * others of all run even when one fails; the exit code tells.
 *
 * Where host runs whole and a file or two fail, they run once more by themselves: a machine that others use, too, starves a
 * daemon now and then. What passes only then is named at the end, and is a defect of the test or of the code all the same.
 */
import { spawn } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Suite = {
  readonly pattern: readonly string[];
  readonly args: readonly string[];
  /** For one test, in minutes. */
  readonly limit: number;
  /** Only when it is asked for by name. */
  readonly isExtra?: true;
  /** So many files that failed get a second chance. */
  readonly unstable?: number;
};

const SUITES: Readonly<Record<string, Suite>> = {
  unit: { pattern: ['src/**/*.test.ts', 'test/house/*.test.ts'], args: ['--test-isolation=none'], limit: 5 },
  host: {
    pattern: ['test/host/**/*.test.ts'],
    // What a failed test has left open must not keep its file, and all after it, from ending.
    args: ['--test-concurrency=1', '--test-force-exit'],
    limit: 5,
    unstable: 3,
  },
  k8s: {
    pattern: ['test/kubernetes/**/*.test.ts'],
    args: ['--test-concurrency=1'],
    limit: 20,
    isExtra: true,
  },
};
const CHECKS: readonly (readonly string[])[] = [
  ['oxfmt', '--check'],
  ['oxlint', '--deny-warnings'],
  ['tsc', '--noEmit'],
  ['tsc', '--noEmit', '-p', 'test/host/pages'],
];

function start(program: string, words: readonly string[]): Promise<number> {
  const child = spawn(program, words, { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

async function runChecks(): Promise<number> {
  let failed = 0;
  for (const [program = '', ...words] of CHECKS) {
    const code = await start(`node_modules/.bin/${program}`, words);
    if (code !== 0) console.error(`# ${program} ${words.join(' ')}: failed`);
    failed |= code;
  }
  return failed;
}

async function runSuite(name: string, files: readonly string[]): Promise<number> {
  const suite = SUITES[name];
  if (suite === undefined)
    throw new Error(`no such suite: ${name} (static, ${Object.keys(SUITES).join(', ')}, all)`);
  const matched = files.length > 0 ? files : globSync(suite.pattern).sort();
  if (matched.length === 0) throw new Error(`suite ${name} found no test files`);
  console.log(`# ${name}: ${matched.length} files`);
  const first = await runFiles(suite, matched);
  const isChance =
    files.length === 0 && first.failed.length > 0 && first.failed.length <= (suite.unstable ?? 0);
  if (!isChance) return first.code;
  console.log(`# ${name}: once more, by themselves: ${first.failed.join(' ')}`);
  const second = await runFiles(suite, first.failed);
  results.push(...first.failed.map((file) => `# UNSTABLE, or worse: ${file} failed among the others`));
  return second.code;
}

async function runFiles(
  suite: Suite,
  files: readonly string[],
): Promise<{ readonly code: number; readonly failed: readonly string[] }> {
  const directory = mkdtempSync(join(tmpdir(), 'tests-'));
  try {
    const list = join(directory, 'failed');
    const reporters = ['spec', 'stdout', './scripts/failed-files.ts', list].map((value, index) =>
      index % 2 === 0 ? `--test-reporter=${value}` : `--test-reporter-destination=${value}`,
    );
    const limit = `--test-timeout=${suite.limit * 60_000}`;
    const code = await start(process.execPath, ['--test', ...reporters, ...suite.args, limit, ...files]);
    return { code, failed: readFileSync(list, 'utf8').split('\n').filter(Boolean) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const [wanted = 'all', ...files] = process.argv.slice(2);
const results: string[] = [];
const usual = Object.keys(SUITES).filter((name) => SUITES[name]?.isExtra !== true);
for (const name of wanted === 'all' ? ['static', ...usual] : [wanted]) {
  const started = performance.now();
  const code = name === 'static' ? await runChecks() : await runSuite(name, files);
  results.push(
    `# ${name}: ${code === 0 ? 'passed' : 'FAILED'} in ${Math.round((performance.now() - started) / 1000)} s`,
  );
  if (code !== 0) process.exitCode = 1;
}
console.log(results.join('\n'));
