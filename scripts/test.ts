/**
 * The test runner: `node scripts/test.ts [unit|host|slow|all] [file …]`.
 * unit: no root, no kernel, one process. host: real netlink, namespaces and daemons, a process per file, one at a time.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { exit } from 'node:process';

const [suite = 'all', ...files] = process.argv.slice(2);

const SUITES: Record<string, { pattern: string[]; args: string[] }> = {
  unit: { pattern: ['src/**/*.test.ts', 'test/house/*.test.ts'], args: ['--test-isolation=none'] },
  host: { pattern: ['test/host/**/*.test.ts'], args: ['--test-concurrency=1'] },
};

async function run(name: string): Promise<number> {
  const found = SUITES[name];
  if (found === undefined) throw new Error(`no such suite: ${name} (${Object.keys(SUITES).join(', ')}, all)`);
  const matched = files.length > 0 ? files : globSync(found.pattern).sort();
  if (matched.length === 0) throw new Error(`suite ${name} found no test files`);
  console.log(`# ${name}: ${matched.length} files`);
  const child = spawn(
    process.execPath,
    ['--test', '--test-reporter=spec', ...found.args, '--test-timeout=300000', ...matched],
    { stdio: 'inherit' },
  );
  return new Promise((resolve) =>
    child.on('exit', (code, signal) => resolve(signal === null ? (code ?? 1) : 1)),
  );
}

let failed = 0;
for (const name of suite === 'all' ? Object.keys(SUITES) : [suite]) failed |= await run(name);
exit(failed);
