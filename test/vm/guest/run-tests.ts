/**
 * In the guest: runs the twins (the files named, else all), a process per file, one after another, and prints each test
 * as it ends (report.ts). Everything else on the output is what the tests themselves said.
 */
import { relative } from 'node:path';
import { run } from 'node:test';
import { formatReport, type Report } from '../report.ts';
import { TWINS, type Twin } from '../twins.ts';

const print = (report: Report): boolean => process.stdout.write(formatReport(report));

type TestError = { cause?: unknown; message: string; exitCode?: number | null; signal?: string | null };

/** A file that ended otherwise than by its tests has an exit code or a signal. */
function explain(error: unknown): string {
  const { cause, message, exitCode, signal } = error as TestError;
  if (cause instanceof Error) return cause.stack ?? cause.message;
  const end = exitCode === undefined ? '' : ` (exit code ${exitCode}, signal ${signal ?? 'none'})`;
  return `${message}${end}`;
}

/** Results in the order of their ends; what is only a suite with tests in it is left out unless it fails by itself. */
async function runTwin({ file, only }: Twin): Promise<void> {
  const events = run({
    files: [file],
    concurrency: false,
    timeout: 300_000,
    ...(only === undefined ? {} : { testNamePatterns: [...only] }),
  });
  const path: string[] = [];
  let ended = 0;
  for await (const { type, data } of events) {
    if (type === 'test:start') path.splice(data.nesting, Infinity, data.name);
    if (type === 'test:stderr' || type === 'test:stdout') process.stderr.write(data.message);
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    ended += 1;
    print({
      file: relative(process.cwd(), file),
      path: [...path.slice(0, data.nesting), data.name],
      milliseconds: Math.round(data.details.duration_ms),
      ...(data.skip === undefined ? {} : { skipped: data.skip === true ? 'without a reason' : data.skip }),
      ...(type === 'test:fail' ? { failed: explain(data.details.error) } : {}),
    });
  }
  if (ended === 0) print({ file, path: [], milliseconds: 0, skipped: 'no test has such a name' });
}

const wanted = process.argv.slice(2);
for (const twin of TWINS) if (wanted.length === 0 || wanted.includes(twin.file)) await runTwin(twin);
