/** `tartan get nodes|subnets|pods`: lists, as the node’s agent knows them. */
import { type Command, Argument } from 'commander';
import type { Status } from '#api/status.ts';
import { renderTable } from '#lib/table.ts';
import { clientOf, formatOf, withAgent, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import type { Make } from './program.ts';
import { renderPods } from './status-text.ts';

const LISTS = { nodes, subnets, pods } as const;
type ListName = keyof typeof LISTS;
type Row = Readonly<Record<string, unknown>>;

export function getCommand(make: Make): Command {
  const command = make('get', async (options, words) => {
    const name = words[0] as ListName;
    const status = await clientOf(options).call('status');
    print(formatOf(options), LISTS[name](status), (rows) =>
      name === 'pods' ? renderPods(status) || 'no pods' : renderRows(rows),
    );
    return EXIT.ok;
  });
  return withOutput(withAgent(command))
    .description('list nodes, subnets, or the pods of this node')
    .addArgument(new Argument('<what>', 'what to list').choices(Object.keys(LISTS)));
}

function nodes(status: Status): Row[] {
  const { underlay } = status;
  const own = [underlay?.announced[4], underlay?.announced[6]].filter((item) => item !== undefined);
  const self = {
    node: status.node,
    addresses: own,
    road: 'local',
    state: status.ready ? 'ready' : 'not ready',
  };
  return [
    self,
    ...status.peers.map((peer) => ({
      node: peer.name,
      addresses: peer.addresses,
      road: peer.road ?? '-',
      state: peer.state,
    })),
  ];
}

function subnets(status: Status): Row[] {
  const own = [status.subnets[4], status.subnets[6]].filter((item) => item !== undefined);
  return [
    ...own.map((subnet) => ({ subnet, node: status.node })),
    ...status.peers.flatMap((peer) => peer.subnets.map((subnet) => ({ subnet, node: peer.name }))),
  ];
}

function pods(status: Status): readonly Row[] {
  return status.pods;
}

function renderRows(rows: readonly Row[]): string {
  const names = Object.keys(rows[0] ?? {});
  const cell = (value: unknown): string => (Array.isArray(value) ? value.join(',') : String(value));
  return renderTable(
    names.map((name) => name.toUpperCase()),
    rows.map((row) => names.map((name) => cell(row[name]))),
  );
}
