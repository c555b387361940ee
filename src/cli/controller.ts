/** `tartan controller`: one of the cluster's controllers. */
import type { Command } from 'commander';
import { daemonCommand } from './daemon.ts';
import type { Doors, Make } from './program.ts';

export function controllerCommand(make: Make, { controller, version }: Doors): Command {
  const command = daemonCommand(make, 'controller', (settings, signal) =>
    controller(settings, { signal, version }),
  );
  return command.description('run one of the cluster’s controllers in the foreground; one at a time leads');
}
