/** `tartan policy …`: what network policies come to, live from an agent or from files. */
import type { Command } from 'commander';
import { EXIT } from './output.ts';
import { checkCommand } from './policy-check.ts';
import { diffCommand } from './policy-diff.ts';
import { explainCommand } from './policy-explain.ts';
import { matrixCommand } from './policy-matrix.ts';
import { testCommand } from './policy-test.ts';
import type { Make } from './program.ts';

export function policyCommand(make: Make): Command {
  const command: Command = make('policy', () => {
    console.error(command.helpInformation());
    return EXIT.usage;
  });
  for (const sub of [explainCommand, diffCommand, testCommand, matrixCommand, checkCommand]) {
    command.addCommand(sub(make));
  }
  return command.description('explain, compare, test and check network policies').allowExcessArguments(false);
}
