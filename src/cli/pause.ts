/** `tartan pause` and `tartan resume`: freeze the node’s kernel state, and let it go on (which also releases the brake). */
import type { Command } from 'commander';
import { clientOf, configOf, formatOf, withAgent, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import type { Doors, Make } from './program.ts';
import { readSettings } from './settings-file.ts';

export function pauseCommand(make: Make): Command {
  return switchCommand(make, 'pause').description('freeze the node: nothing in the kernel is changed');
}

export function resumeCommand(make: Make, doors: Pick<Doors, 'resumeCluster'>): Command {
  return switchCommand(make, 'resume', doors)
    .description('go on after pause, or after the brake stopped a pass')
    .option('--cluster', 'the controller, whose brake holds: the nodes of which it tells are really gone');
}

function switchCommand(make: Make, call: 'pause' | 'resume', doors?: Pick<Doors, 'resumeCluster'>): Command {
  const command = make(call, async (options) => {
    if (options['cluster'] === true && doors !== undefined) {
      const released = await doors.resumeCluster(readSettings(configOf(options)).settings);
      print(formatOf(options), { released }, () => `the controller goes on: ${released}`);
      return EXIT.ok;
    }
    const answer = await clientOf(options).call(call);
    print(formatOf(options), answer, ({ paused }) => (paused ? 'paused' : 'running'));
    return EXIT.ok;
  });
  return withOutput(withAgent(command));
}
