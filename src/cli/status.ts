/** `tartan status`: what the node wants, what the kernel has, and what is wrong. Exit code 1 when the node is not ready. */
import type { Command } from 'commander';
import type { Status } from '#api/status.ts';
import { Fault } from '#model/fault.ts';
import { renderCluster } from './cluster-text.ts';
import { clientOf, configOf, formatOf, withAgent, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import type { Doors, Make } from './program.ts';
import { readSettings } from './settings-file.ts';
import { renderStatus } from './status-text.ts';

export function statusCommand(make: Make, doors: Pick<Doors, 'cluster'>): Command {
  const command = make('status', async (options) => {
    if (options['cluster'] === true) return tellCluster(options, doors);
    const status = await clientOf(options).call('status');
    print(formatOf(options), status, (value) =>
      renderStatus(value, options['items'] === true ? 'all' : 'wrong'),
    );
    return isHealthy(status) ? EXIT.ok : EXIT.found;
  });
  return withOutput(withAgent(command))
    .description('the node, its peers and pods, and every item that is not as wanted')
    .option('--items', 'show every planned item, not only those that are wrong')
    .option('--cluster', 'the whole cluster, as its leading controller last told it in the store');
}

async function tellCluster(
  options: Record<string, unknown>,
  { cluster }: Pick<Doors, 'cluster'>,
): Promise<number> {
  const status = await cluster(readSettings(configOf(options)).settings);
  if (status === undefined) throw new Fault('no-controller', 'the store has no state of the cluster');
  print(formatOf(options), status, renderCluster);
  const { nodes, conflicts, braked } = status;
  return nodes.ready === nodes.total && conflicts.length === 0 && braked === undefined ? EXIT.ok : EXIT.found;
}

function isHealthy(status: Status): boolean {
  return (
    status.ready &&
    status.braked === undefined &&
    status.policy?.braked === undefined &&
    (status.policy?.problems ?? []).length === 0 &&
    status.items.every((item) => item.seen === 'ok') &&
    status.peers.every((peer) => peer.state === 'programmed')
  );
}
