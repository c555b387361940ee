/**
 * What a command prints and how it ends. Answers go to standard output, everything else to standard error, so that
 * `-o json` can be piped. A Fault is shown with all its problems and its hint; nothing else shows a stack.
 */
import { type Fault, type FaultCode, toFault } from '#model/fault.ts';
import { renderTable } from '#lib/table.ts';

/** Exit codes of every command. `found`: the command worked, and what it looked at is not in order. */
export const EXIT = { ok: 0, found: 1, usage: 2, agentAway: 3, noRoot: 4, failed: 5 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export type OutputFormat = 'text' | 'json';

const EXIT_OF: Partial<Record<FaultCode, ExitCode>> = {
  'settings-invalid': EXIT.usage,
  'policy-invalid': EXIT.usage,
  'request-invalid': EXIT.usage,
  'agent-away': EXIT.agentAway,
  'no-root': EXIT.noRoot,
};

export function exitCodeOf(fault: Fault): ExitCode {
  return EXIT_OF[fault.code] ?? EXIT.failed;
}

/** Prints the value as JSON, or the text that `render` makes of it. */
export function print<T>(format: OutputFormat, value: T, render: (value: T) => string): void {
  console.log(format === 'json' ? JSON.stringify(value, undefined, 2) : render(value));
}

/** The fault as lines for a reader. */
export function renderFault(fault: Fault): string {
  const problems = fault.problems.map((problem) => `  ${problem.path}: ${problem.message}`);
  return [`tartan: ${fault.message}`, ...problems, `hint: ${fault.hint}`].join('\n');
}

/** Prints what was thrown to standard error and answers the exit code for it. */
export function printFault(error: unknown, format: OutputFormat): ExitCode {
  const fault = toFault(error);
  const { code, message, hint, problems } = fault;
  console.error(
    format === 'json' ? JSON.stringify({ code, message, hint, problems }, undefined, 2) : renderFault(fault),
  );
  if (fault.code === 'internal' && process.env['TARTAN_DEBUG'] !== undefined) console.error(fault);
  return exitCodeOf(fault);
}

/** A table under a title; nothing at all when there are no rows. */
export function section(
  title: string,
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  return rows.length === 0 ? '' : `${title}\n${indent(renderTable(header, rows))}\n`;
}

export function indent(text: string): string {
  return text.replaceAll(/^/gm, '  ');
}
