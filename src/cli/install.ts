/** `tartan install` and `tartan uninstall`: the CNI executable, its sidecar and the configuration list. */
import { rmSync } from 'node:fs';
import type { Command } from 'commander';
import { Fault, toFault } from '#model/fault.ts';
import { clientOf, configOf, formatOf, textOption, withAgent, withConfig, withOutput } from './options.ts';
import { builtExecutable, install, uninstall } from './installation.ts';
import { EXIT, print } from './output.ts';
import type { Make } from './program.ts';
import { readSettings } from './settings-file.ts';

export function installCommand(make: Make): Command {
  const command = make('install', (options) => {
    requireRoot('install');
    const report = install(
      readSettings(configOf(options)).settings,
      textOption(options, 'executable') ?? builtExecutable(),
    );
    print(formatOf(options), report, ({ written, kept }) =>
      [...lines('wrote', written), ...lines('kept, not ours:', kept)].join('\n'),
    );
    return EXIT.ok;
  });
  return withOutput(withConfig(command))
    .description('write the CNI executable and configuration where the runtime looks for them')
    .option('--executable <file>', 'the built tartan-cni (default: beside this program)');
}

export function uninstallCommand(make: Make): Command {
  const command = make('uninstall', async (options) => {
    requireRoot('uninstall');
    const settings = readSettings(configOf(options)).settings;
    const report = uninstall(settings);
    // The list is gone by now: no runtime starts a pod by us while the kernel is being cleaned.
    const purge =
      options['purge'] === true ? await clientOf(options).call('purge').catch(explainPurge) : undefined;
    if (purge !== undefined && purge.failed.length === 0) {
      rmSync(settings.paths.state, { recursive: true, force: true });
    }
    print(formatOf(options), { ...report, purge }, ({ removed, kept }) =>
      [
        ...lines('removed', removed),
        ...lines('kept, not ours:', kept),
        ...lines('removed', purge?.removed ?? []),
        ...lines('FAILED', purge?.failed ?? []),
      ].join('\n'),
    );
    return (purge?.failed.length ?? 0) === 0 ? EXIT.ok : EXIT.failed;
  });
  return withOutput(withAgent(command))
    .description('remove what install wrote')
    .option('--purge', 'also remove devices, routes, tables and saved state (asks the running agent)');
}

export function requireRoot(what: string): void {
  if (process.getuid?.() !== 0) throw new Fault('no-root', `${what} changes the host and needs root`);
}

function explainPurge(error: unknown): never {
  const fault = toFault(error);
  if (fault.code !== 'agent-away') throw fault;
  throw new Fault(
    'agent-away',
    'the files are removed, but --purge asks the agent to clean the kernel and none answers',
    { cause: error },
  );
}

function lines(verb: string, paths: readonly string[]): string[] {
  return paths.map((path) => `${verb} ${path}`);
}
