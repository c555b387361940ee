/** `tartan status`: what the node wants, what the kernel has, and what is wrong. Exit code 1 when the node is not ready. */
import type { Command } from 'commander';
import type { Status } from '#api/status.ts';
import { clientOf, formatOf, withAgent, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import type { Make } from './program.ts';
import { renderStatus } from './status-text.ts';

export function statusCommand(make: Make): Command {
  const command = make('status', async (options) => {
    const status = await clientOf(options).call('status');
    print(formatOf(options), status, (value) =>
      renderStatus(value, options['items'] === true ? 'all' : 'wrong'),
    );
    return isHealthy(status) ? EXIT.ok : EXIT.found;
  });
  return withOutput(withAgent(command))
    .description('the node, its peers and pods, and every item that is not as wanted')
    .option('--items', 'show every planned item, not only those that are wrong');
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
