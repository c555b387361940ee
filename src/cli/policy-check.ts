/** `tartan policy check -f FILE…`: everything that is wrong with manifests, at its line, without applying them. */
import type { Command } from 'commander';
import { listProblems, type Problem } from '#model/fault.ts';
import { formatOf, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import { listOption, readFiles } from './policy-source.ts';
import type { Make } from './program.ts';

type Report = {
  readonly objects: number;
  readonly policies: number;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
};

export function checkCommand(make: Make): Command {
  const command = make('check', (options) => {
    const { inputs, problems } = readFiles(listOption(options, 'file'));
    const view = inputs.view();
    const report: Report = {
      objects: inputs.snapshot().manifests.length,
      policies: view.book.enforced.reduce((sum, { policies }) => sum + policies.length, 0),
      problems: [...problems, ...view.problems],
      warnings: view.warnings,
    };
    print(formatOf(options), report, render);
    return report.problems.length === 0 ? EXIT.ok : EXIT.usage;
  });
  return withOutput(command)
    .description('everything that is wrong with manifests, at its line')
    .requiredOption('-f, --file <file...>', 'files, directories, or - for standard input')
    .addHelpText('after', '\nExit codes: 0 nothing is wrong; 2 something is.');
}

function render({ objects, policies, problems, warnings }: Report): string {
  return [
    ...listProblems(problems),
    ...listProblems(warnings).map((line) => `warning: ${line}`),
    `${objects} objects, ${policies} policies, ${problems.length} problems`,
  ].join('\n');
}
