/** `tartan migrate`: takes a cluster over from another provider, its addresses, policies and living pods. */
import type { Command } from 'commander';
import { type MigrationReport, renderReport } from '#migration/report.ts';
import { calicoCommand } from './migrate-calico.ts';
import { unlessAway } from './client.ts';
import { clientOf, configOf, formatOf, withAgent, withOutput } from './options.ts';
import { EXIT, type ExitCode, print } from './output.ts';
import type { Doors, Make } from './program.ts';
import { readSettings } from './settings-file.ts';

export function migrateCommand(make: Make, doors: Doors): Command {
  const command = make('migrate', () => EXIT.usage).description(
    'take a cluster over from another provider, while its pods go on',
  );
  command.addCommand(flannelCommand(make, doors));
  command.addCommand(calicoCommand(make, doors));
  return command;
}

function flannelCommand(make: Make, doors: Pick<Doors, 'migrateFlannel'>): Command {
  const command = make('flannel', async (options) => {
    const { settings } = readSettings(configOf(options));
    const status = await clientOf(options).call('status').catch(unlessAway);
    const agent = status === undefined ? 'away' : status.ready ? 'ready' : 'waits';
    const [trial, back] = [options['dryRun'] === true, options['back'] === true];
    const report = await doors.migrateFlannel(settings, { trial, back, agent });
    return tell(options, report);
  });
  return withOutput(withAgent(command))
    .option('--dry-run', 'tell what would be done, and all that stands against it')
    .option('--back', 'give the node back to flannel; then start flanneld, and uninstall Tartan')
    .description(
      'this node: take over what flannel made; once the agent is ready, remove what flannel left (docs/guide/migrate.md)',
    );
}

function tell(options: Readonly<Record<string, unknown>>, report: MigrationReport): ExitCode {
  print(formatOf(options), report, renderReport);
  return report.problems.length === 0 ? EXIT.ok : EXIT.found;
}
