/** `tartan install` and `tartan uninstall`: the CNI executable, its sidecar and the configuration list. */
import type { Command } from 'commander';
import type { PurgeAnswer } from '#api/admin.ts';
import { Fault } from '#model/fault.ts';
import { NETWORK_MANAGER_FILE, NETWORKD_FILE } from '#model/neighbours.ts';
import type { Settings } from '#model/settings.ts';
import { unlessAway } from './client.ts';
import { clientOf, configOf, formatOf, textOption, withAgent, withConfig, withOutput } from './options.ts';
import { builtExecutable, install, uninstall } from './installation.ts';
import { installInKubernetes, isForKubernetes, withKubernetes } from './install-kubernetes.ts';
import { EXIT, print } from './output.ts';
import type { Doors, Make } from './program.ts';
import { readSettings } from './settings-file.ts';

export function installCommand(make: Make, { version }: Pick<Doors, 'version'>): Command {
  const command = make('install', (options) => {
    if (isForKubernetes(options)) return installInKubernetes(options, version);
    requireRoot('install');
    const report = install(
      readSettings(configOf(options)).settings,
      textOption(options, 'executable') ?? builtExecutable(),
    );
    print(formatOf(options), report, ({ written, kept }) =>
      [...lines('wrote', written), ...lines('kept, not ours:', kept), ...reloads(written)].join('\n'),
    );
    return EXIT.ok;
  });
  return withKubernetes(withOutput(withConfig(command)))
    .description(
      'write the CNI executable and configuration where the runtime looks for them; with --profile, print what installs Tartan in Kubernetes',
    )
    .option('--executable <file>', 'the built tartan-cni (default: beside this program)');
}

export function uninstallCommand(make: Make, doors: Pick<Doors, 'purge' | 'removeDirectory'>): Command {
  const command = make('uninstall', async (options) => {
    requireRoot('uninstall');
    const settings = readSettings(configOf(options)).settings;
    const report = uninstall(settings);
    // The list is gone by now: no runtime starts a pod by us while the kernel is being cleaned.
    const purge = options['purge'] === true ? await purgeNode(options, settings, doors) : undefined;
    if (purge !== undefined && purge.failed.length === 0) {
      await doors.removeDirectory(settings.paths.state);
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
    .option(
      '--purge',
      'also remove devices, routes, tables and saved state, with a running agent or without',
    );
}

export function requireRoot(what: string): void {
  if (process.getuid?.() !== 0) throw new Fault('no-root', `${what} changes the host and needs root`);
}

/** A running agent stops by itself to want anything; without one, this process does it. */
async function purgeNode(
  options: Record<string, unknown>,
  settings: Settings,
  doors: Pick<Doors, 'purge'>,
): Promise<PurgeAnswer> {
  const purged = await clientOf(options).call('purge').catch(unlessAway);
  return purged ?? doors.purge(settings);
}

/** Programs read their configuration when they start, or when they are told to. */
function reloads(written: readonly string[]): string[] {
  const commands = [
    [NETWORK_MANAGER_FILE, 'nmcli general reload conf'],
    [NETWORKD_FILE, 'networkctl reload'],
  ] as const;
  return commands
    .filter(([file]) => written.some((path) => path.endsWith(`/${file}`)))
    .map(([, command]) => `where it is running now: ${command}`);
}

function lines(verb: string, paths: readonly string[]): string[] {
  return paths.map((path) => `${verb} ${path}`);
}
