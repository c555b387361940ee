/** The tables that a node loads into nftables, as text for nft. */
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Self } from '#backends/backend.ts';
import { planNode } from '#backends/node-plan.ts';
import { parseSettings } from '#config/parse.ts';
import { showItem } from '#model/show.ts';
import { address } from '#net/address.ts';
import { mapFamilies } from '#net/per-family.ts';
import { nthSubnet, prefix } from '#net/prefix.ts';

/** Of a node with 192.0.2.1 and 2001:db8::1 on eth0. */
export function tablesOf(overrides: Readonly<Record<string, unknown>>): string {
  const profiles = Object.fromEntries(
    globSync('profiles/*.yaml').map((file) => [basename(file, '.yaml'), readFileSync(file, 'utf8')]),
  );
  const { settings } = parseSettings([], profiles, { ...overrides, 'node.name': 'node-1' });
  const local = { 4: address('192.0.2.1'), 6: address('2001:db8::1') };
  const self: Self = {
    name: 'node-1',
    subnets: mapFamilies(settings.network.subnets, ({ range, length }) => nthSubnet(range, length, 1n)),
    underlay: {
      link: 'eth0',
      mtu: 1500,
      local,
      announced: local,
      connected: [prefix('192.0.2.0/24')],
      why: 'test',
    },
    settings,
  };
  return planNode(self)
    .filter((item) => item.kind === 'nft-table')
    .map((item) => showItem(item))
    .join('\n');
}
