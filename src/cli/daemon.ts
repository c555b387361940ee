/** Commands that serve in the foreground until SIGTERM or SIGINT. */
import type { Command } from 'commander';
import type { Settings } from '#model/settings.ts';
import { configOf, withConfig } from './options.ts';
import { EXIT } from './output.ts';
import type { Make } from './program.ts';
import { readSettings } from './settings-file.ts';

export function daemonCommand(
  make: Make,
  name: string,
  serve: (settings: Settings, signal: AbortSignal) => Promise<void>,
): Command {
  return withConfig(
    make(name, async (options) => {
      const { settings, warnings } = readSettings(configOf(options));
      for (const { path, message } of warnings) console.error(`warning: ${path}: ${message}`);
      const stop = new AbortController();
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort(signal));
      await serve(settings, stop.signal);
      return EXIT.ok;
    }),
  );
}
