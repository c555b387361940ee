/** `tartan version`: of this program, of Node, and of the agent when one answers. */
import type { Command } from 'commander';
import { clientOf, formatOf, withAgent, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import type { Doors, Make } from './program.ts';

export function versionCommand(make: Make, doors: Doors): Command {
  const command = make('version', async (options) => {
    const versions = {
      tartan: doors.version,
      node: process.versions.node,
      agent: await clientOf(options)
        .call('status')
        .then((status) => status.version)
        .catch(() => null),
    };
    print(formatOf(options), versions, (value) =>
      [`tartan ${value.tartan} (Node ${value.node})`, `agent  ${value.agent ?? 'does not answer'}`].join(
        '\n',
      ),
    );
    return EXIT.ok;
  });
  return withOutput(withAgent(command)).description('versions of this program and of the running agent');
}
