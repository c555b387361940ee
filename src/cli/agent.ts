/** `tartan agent`: the node's agent in the foreground, until SIGTERM or SIGINT. */
import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';
import { EXIT } from './output.ts';
import type { Doors, Make } from './program.ts';
import { readSettings } from './settings-file.ts';

export function agentCommand(make: Make, doors: Doors): Command {
  return withConfig(
    make('agent', async (options) => {
      const { settings, warnings } = readSettings(configOf(options));
      for (const { path, message } of warnings) console.error(`warning: ${path}: ${message}`);
      const stop = new AbortController();
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort(signal));
      await doors.agent(settings, { signal: stop.signal, version: doors.version });
      return EXIT.ok;
    }),
  ).description('run the node’s agent in the foreground');
}
