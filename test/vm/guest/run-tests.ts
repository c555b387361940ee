/**
 * In the guest: runs the twins (the files named, else all), a process per file, one after another, and prints each test
 * as it ends (report.ts). Everything else on the output is what the tests themselves said.
 */
import { relative } from 'node:path';
import { run } from 'node:test';
import type { TestEvent } from 'node:test/reporters';
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

/** Under QEMU's emulation Node itself crashes now and then, most often where it begins: that says nothing of the test. */
const CRASHES: ReadonlySet<unknown> = new Set(['SIGSEGV', 'SIGILL', 'SIGBUS']);
const ATTEMPTS = 3;

type Ended = Extract<TestEvent, { type: 'test:pass' | 'test:fail' }>;

const crashOf = ({ data: { details } }: Ended): unknown =>
  'error' in details ? (details.error as TestError).signal : undefined;

function describe({ data: { skip, details } }: Ended, place: Pick<Report, 'file' | 'path'>): Report {
  const reason = skip === true ? 'without a reason' : skip;
  return {
    ...place,
    milliseconds: Math.round(details.duration_ms),
    ...(typeof reason === 'string' ? { skipped: reason } : {}),
    ...('error' in details ? { failed: explain(details.error) } : {}),
  };
}

/** Results in the order of their ends; what is only a suite with tests in it is left out unless it fails by itself. */
async function runTwin(twin: Twin, attempt = 1): Promise<void> {
  const { file, only } = twin;
  const events: AsyncIterable<TestEvent> = run({
    files: [file],
    concurrency: false,
    timeout: 300_000,
    ...(only === undefined ? {} : { testNamePatterns: [...only] }),
  });
  const path: string[] = [];
  let ended = 0;
  for await (const event of events) {
    const { type, data } = event;
    if (type === 'test:start') path.splice(data.nesting, Infinity, data.name);
    if (type === 'test:stderr' || type === 'test:stdout') process.stderr.write(data.message);
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    if (attempt < ATTEMPTS && CRASHES.has(crashOf(event))) {
      process.stderr.write(`Node crashed in ${file}: once more\n`);
      return runTwin(twin, attempt + 1);
    }
    ended += 1;
    const place = { file: relative(process.cwd(), file), path: [...path.slice(0, data.nesting), data.name] };
    print(describe(event, place));
  }
  if (ended === 0) print({ file, path: [], milliseconds: 0, skipped: 'no test has such a name' });
}

const wanted = process.argv.slice(2);
for (const twin of TWINS) if (wanted.length === 0 || wanted.includes(twin.file)) await runTwin(twin);
