/** `tartan pause` and `tartan resume`: freeze the node’s kernel state, and let it go on (which also releases the brake). */
import type { Command } from 'commander';
import { clientOf, formatOf, withAgent, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import type { Make } from './program.ts';

export function pauseCommand(make: Make): Command {
  return switchCommand(make, 'pause').description('freeze the node: nothing in the kernel is changed');
}

export function resumeCommand(make: Make): Command {
  return switchCommand(make, 'resume').description('go on after pause, or after the brake stopped a pass');
}

function switchCommand(make: Make, call: 'pause' | 'resume'): Command {
  const command = make(call, async (options) => {
    const answer = await clientOf(options).call(call);
    print(formatOf(options), answer, ({ paused }) => (paused ? 'paused' : 'running'));
    return EXIT.ok;
  });
  return withOutput(withAgent(command));
}
