/**
 * `tartan doctor`: judges what the agent sees on its host, what is seen there without an agent, or facts saved earlier.
 * Exit code 1 when something is an error.
 */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { advise } from '#advisor/checks.ts';
import type { HostFacts } from '#model/facts.ts';
import type { Finding } from '#model/finding.ts';
import { unlessAway } from './client.ts';
import { clientOf, configOf, formatOf, textOption, withAgent, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import type { Doors, Make } from './program.ts';
import { readSettings } from './settings-file.ts';

const AWAY: Finding = {
  check: 'agent',
  severity: 'warn',
  title: 'no agent answers',
  detail: 'the host was looked at without one',
  hint: 'start the agent of this node, or say with --config or --run which one is meant',
};

export function doctorCommand(make: Make, doors: Pick<Doors, 'facts'>): Command {
  const command = make('doctor', async (options) => {
    const saved = textOption(options, 'facts');
    const findings =
      saved === undefined
        ? await examine(options, doors)
        : advise(JSON.parse(readFileSync(saved, 'utf8')) as HostFacts);
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

/** What the agent's facts, or without an agent the host's, come to. */
export async function examine(
  options: Record<string, unknown>,
  { facts }: Pick<Doors, 'facts'>,
): Promise<readonly Finding[]> {
  const told = await clientOf(options).call('facts').catch(unlessAway);
  if (told !== undefined) return advise(told as unknown as HostFacts);
  return [AWAY, ...advise(await facts(readSettings(configOf(options)).settings))];
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
