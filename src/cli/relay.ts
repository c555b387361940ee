/** `tartan relay`: stands between the API server and agents, where these are many. */
import type { Command } from 'commander';
import { daemonCommand } from './daemon.ts';
import type { Doors, Make } from './program.ts';

export function relayCommand(make: Make, { relay, version }: Doors): Command {
  const command = daemonCommand(make, 'relay', (settings, signal) => relay(settings, { signal, version }));
  return command.description(
    'run a relay in the foreground: it tells many agents what the API server tells it once',
  );
}
