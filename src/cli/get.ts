/** `tartan get nodes|subnets|blocks|pools|pods`: lists, as the node’s agent knows them; of other kinds, and as YAML, the store's objects. */
import { type Command, Option } from 'commander';
import type { Status } from '#api/status.ts';
import { renderTable } from '#lib/table.ts';
import { getObjects } from './objects.ts';
import { clientOf, formatOf, withAgent } from './options.ts';
import { EXIT, print } from './output.ts';
import type { Doors, Make } from './program.ts';
import { renderPods } from './status-text.ts';

const LISTS = { nodes, subnets, blocks, pools, pods } as const;
type ListName = keyof typeof LISTS;
type Row = Readonly<Record<string, unknown>>;

export function getCommand(make: Make, doors: Pick<Doors, 'objects'>): Command {
  const command = make('get', async (options, words) => {
    const [what = ''] = words;
    if (!isList(what) || words.length > 1 || options['output'] === 'yaml')
      return getObjects(options, doors, words);
    const status = await clientOf(options).call('status');
    print(formatOf(options), LISTS[what](status), (rows) =>
      what === 'pods' ? renderPods(status) || 'no pods' : renderRows(rows),
    );
    return EXIT.ok;
  });
  return withAgent(command)
    .description(
      'list nodes, subnets, blocks, pools, or the pods of this node; or objects of the store by kind',
    )
    .addOption(
      new Option('-o, --output <format>', 'how to print; yaml: the objects in the store')
        .choices(['text', 'json', 'yaml'])
        .default('text'),
    )
    .argument(
      '<what>',
      'nodes, subnets, blocks, pools, pods as the agent knows them; any kind, or all, as the store has it',
    )
    .argument('[name]', 'one object of the kind')
    .option('-n, --namespace <namespace>', 'only objects of this namespace');
}

function isList(word: string): word is ListName {
  return Object.hasOwn(LISTS, word);
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

function blocks({ blocks = [] }: Status): Row[] {
  return blocks.map(({ prefix, node, free, holders }) => ({
    block: prefix,
    node: node ?? '-',
    free,
    held: holders.filter(({ held }) => held > 0).map(({ node, held }) => `${node}:${held}`),
  }));
}

/** Pools of blocks; or what this node has instead. */
function pools({ blockPools, pools }: Status): Row[] {
  if (blockPools === undefined) return pools.map(({ prefix, used, free }) => ({ pool: prefix, used, free }));
  return blockPools.map(({ name, prefix, blockLength, enabled, automatic, blocks }) => ({
    pool: name,
    prefix,
    blocks: `${blocks} of /${blockLength}`,
    use: enabled ? (automatic ? 'automatic' : 'by name') : 'disabled',
  }));
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
