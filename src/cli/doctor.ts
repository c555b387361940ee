/** `tartan doctor`: judges what the agent sees on its host, or facts saved earlier. Exit code 1 when something is an error. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { advise } from '#advisor/checks.ts';
import type { HostFacts } from '#model/facts.ts';
import type { Finding } from '#model/finding.ts';
import { clientOf, formatOf, textOption, withAgent, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import type { Make } from './program.ts';

export function doctorCommand(make: Make): Command {
  const command = make('doctor', async (options) => {
    const saved = textOption(options, 'facts');
    const facts: unknown =
      saved === undefined ? await clientOf(options).call('facts') : JSON.parse(readFileSync(saved, 'utf8'));
    const findings = advise(facts as HostFacts);
    print(formatOf(options), findings, (all) => renderFindings(all, options['all'] === true));
    return findings.some((finding) => finding.severity === 'error') ? EXIT.found : EXIT.ok;
  });
  return withOutput(withAgent(command))
    .description('look for what is wrong with this host: kernel, sysctls, MTU, other programs')
    .option('--all', 'show also what is in order')
    .option(
      '--facts <file>',
      'judge facts saved earlier (host facts of a support bundle) instead of asking the agent',
    );
}

export function renderFindings(findings: readonly Finding[], all: boolean): string {
  const shown = findings.filter(({ severity }) => all || severity === 'warn' || severity === 'error');
  const lines = shown.flatMap(({ severity, title, detail, hint }) => [
    `${severity.padEnd(5)}  ${title}`,
    ...(detail === undefined ? [] : [`       ${detail}`]),
    ...(hint === undefined ? [] : [`       → ${hint}`]),
  ]);
  const count = (severity: string): number =>
    findings.filter((finding) => finding.severity === severity).length;
  lines.push(`${findings.length} checks: ${count('error')} errors, ${count('warn')} warnings`);
  return lines.join('\n');
}
