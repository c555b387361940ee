/** `tartan agent`: the node's agent. */
import type { Command } from 'commander';
import { daemonCommand } from './daemon.ts';
import type { Doors, Make } from './program.ts';

export function agentCommand(make: Make, { agent, version }: Doors): Command {
  return daemonCommand(make, 'agent', (settings, signal) => agent(settings, { signal, version })).description(
    'run the node’s agent in the foreground',
  );
}
