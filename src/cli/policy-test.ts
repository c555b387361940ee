/** `tartan policy test -f expectations.yaml`: expectations of policies as a test suite. Exit code 1 when one does not hold. */
import { type Command, Option } from 'commander';
import { Fault } from '#model/fault.ts';
import { readExpectations } from '#policy/expectations.ts';
import { type CaseResult, failureLines, runExpectations, writeJunit } from '#policy/test-run.ts';
import { EXIT, indent } from './output.ts';
import { listOption, readSource, readTexts, viewOf, withSource } from './policy-source.ts';
import type { Make } from './program.ts';

export function testCommand(make: Make): Command {
  const command = make('test', async (options) => {
    const files = listOption(options, 'file');
    const read = [...readTexts(files)].map(([source, text]) => readExpectations(source, text));
    const problems = read.flatMap((each) => each.problems);
    if (problems.length > 0)
      throw new Fault('request-invalid', 'the expectations are not usable', { problems });
    const view = viewOf(await readSource(options));
    const results = runExpectations(
      view,
      read.flatMap(({ expectations }) => expectations),
    );
    console.log(WRITERS[options['output'] as keyof typeof WRITERS](results));
    return results.every(({ ok }) => ok) ? EXIT.ok : EXIT.found;
  });
  return withSource(command)
    .description('whether policies allow and deny what is expected of them')
    .requiredOption(
      '-f, --file <file...>',
      'YAML: a list of cases (docs/guide/policy.md), or - for standard input',
    )
    .addOption(
      new Option('-o, --output <format>', 'how to print').choices(['text', 'json', 'junit']).default('text'),
    )
    .addHelpText('after', '\nExit codes: 0 all hold; 1 some do not; 2 bad input; 3 no agent answers.');
}

const WRITERS = {
  text: writeText,
  json: (results: readonly CaseResult[]): string => JSON.stringify(results, undefined, 2),
  junit: (results: readonly CaseResult[]): string => writeJunit('tartan policy test', results),
} as const;

function writeText(results: readonly CaseResult[]): string {
  const lines = results.map((result) => {
    const { name, origin, ok, flows } = result;
    const head = ok ? `ok    ${name} (${flows} flows)` : `FAIL  ${name} (${origin})`;
    return [head, ...(ok ? [] : [indent(indent(failureLines(result).join('\n')))])].join('\n');
  });
  const failed = results.filter(({ ok }) => !ok).length;
  return [...lines, `${results.length - failed} of ${results.length} expectations hold`].join('\n');
}
