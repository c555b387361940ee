import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockIndex } from '#ipam/blocks/block-index.ts';
import { newBlock, take } from '#ipam/blocks/block.ts';
import { clusterStatusSchema } from '#model/state-schema.ts';
import type { BlockPool } from '#model/block.ts';
import { plainPool } from '#ipam/blocks/pool-book.ts';
import type { NodeAdvert } from '#model/world.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { subnetDefaults } from '#net/subnet-range.ts';
import type { SubnetSettings } from '#model/settings.ts';
import { type ClusterScene, summarize } from './summary.ts';

const advert = (name: string, subnet: string, more: Partial<NodeAdvert> = {}): NodeAdvert => ({
  name,
  addresses: { 4: address('192.0.2.1') },
  subnets: { 4: prefix(subnet) },
  road: 'vxlan',
  mtu: 1500,
  ready: true,
  version: '0.2.0',
  ...more,
});
const pool = (name: string, text: string): BlockPool => plainPool(name, prefix(text), 26);

const scene = (more: Partial<ClusterScene>): ClusterScene => ({
  controller: 'host-a 1',
  version: '0.2.0',
  braked: undefined,
  gone: 0,
  adverts: [],
  claims: [],
  subnets: { 4: subnetDefaults(prefix('10.244.0.0/16'), 24) as SubnetSettings },
  index: new BlockIndex(),
  pools: [],
  leaving: new Set(),
  ...more,
});

test('nodes, versions, roads, subnets and who disagrees', () => {
  const status = summarize(
    scene({
      adverts: [
        advert('a', '10.244.1.0/24'),
        advert('b', '10.244.1.0/24', { ready: false, version: '0.1.0' }),
        advert('c', '10.244.3.0/24', { road: 'wireguard' }),
      ],
      claims: [
        { node: 'b', subnet: prefix('10.244.1.0/24'), reserved: false },
        { node: 'd', subnet: prefix('10.244.9.0/24'), reserved: true },
      ],
      leaving: new Set(['x']),
      braked: 'why',
      gone: 7,
    }),
  );
  assert.deepEqual(status, {
    controller: 'host-a 1',
    version: '0.2.0',
    nodes: { total: 3, ready: 2, notReady: ['b'], leaving: ['x'] },
    versions: { '0.1.0': 1, '0.2.0': 2 },
    roads: { vxlan: 2, wireguard: 1 },
    conflicts: ['node a may not use 10.244.1.0/24: node b holds it, because it has the claim'],
    subnets: [{ range: '10.244.0.0/16', total: 256, taken: 3 }],
    pools: [],
    braked: 'why',
    gone: 7,
  });
  assert.ok(clusterStatusSchema.safeParse(JSON.parse(JSON.stringify(status))).success);
});

test('blocks by pool: those there are, those that fit still, and the addresses in them', () => {
  const index = new BlockIndex();
  const block = prefix('10.1.0.64/26');
  index.set(block, take(newBlock(block, { node: 'a', term: 1 }), { node: 'a', term: 1 }, [1, 2, 3]));
  const wide = prefix('fd00::/122');
  index.set(wide, newBlock(wide, { node: 'a', term: 1 }));
  const { pools, conflicts } = summarize(
    scene({
      index,
      adverts: ['a', 'b'].map((name) => advert(name, '10.1.0.64/26', { addressing: 'blocks' })),
      pools: [
        pool('p4', '10.1.0.0/24'),
        { ...pool('p6', 'fd00::/48'), blockLength: 122 },
        pool('e', '10.2.0.0/25'),
      ],
    }),
  );
  assert.deepEqual(conflicts, []);
  assert.deepEqual(
    pools.map(({ name, blocks, freeBlocks, addresses }) => [name, blocks, freeBlocks, addresses]),
    [
      ['p4', 1, 3, { held: 3, free: 60 }],
      ['p6', 1, Number.MAX_SAFE_INTEGER, { held: 0, free: 63 }],
      ['e', 0, 2, { held: 0, free: 0 }],
    ],
  );
});
