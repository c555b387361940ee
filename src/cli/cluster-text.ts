/** The state of the whole cluster as text for a terminal. */
import type { ClusterStatus } from '#model/cluster-status.ts';
import { section } from './output.ts';

export function renderCluster(status: ClusterStatus): string {
  const { nodes, subnets, pools, conflicts } = status;
  const rows: [string, string | undefined][] = [
    ['Controller', `${status.controller} (tartan ${status.version})`],
    ['Nodes', `${nodes.ready} of ${nodes.total} ready`],
    ['Not ready', list(nodes.notReady, nodes.total - nodes.ready)],
    ['Leaving', list(nodes.leaving)],
    ['Versions', counted(status.versions)],
    ['Roads', counted(status.roads)],
    ['Braked', status.braked],
  ];
  const head = rows.flatMap(([name, text]) => (text === undefined ? [] : [`${name.padEnd(12)}${text}`]));
  return [
    `${head.join('\n')}\n`,
    section(
      'Subnets of nodes',
      ['RANGE', 'TAKEN', 'OF'],
      subnets.map(({ range, taken, total }) => [range, String(taken), String(total)]),
    ),
    section(
      'Pools',
      ['POOL', 'PREFIX', 'BLOCKS', 'FREE BLOCKS', 'HELD', 'FREE'],
      pools.map(({ name, prefix, blocks, freeBlocks, addresses }) =>
        [name, prefix, blocks, freeBlocks, addresses.held, addresses.free].map(String),
      ),
    ),
    section(
      'Subnets that two nodes want',
      ['CONFLICT'],
      conflicts.map((why) => [why]),
    ),
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function list(names: readonly string[], all = names.length): string | undefined {
  if (names.length === 0) return undefined;
  return all > names.length ? `${names.join(', ')} and ${all - names.length} more` : names.join(', ');
}

function counted(counts: Readonly<Record<string, number>>): string | undefined {
  const words = Object.entries(counts).map(([word, count]) => `${word} (${count})`);
  return words.length === 0 ? undefined : words.join(', ');
}
