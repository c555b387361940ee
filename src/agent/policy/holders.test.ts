/** Whose labels an address has, whatever becomes of the block that it is in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holdersOf, Tellers } from './holders.ts';
import { adopt, dropNode, holderOf, newBlock, take } from '#ipam/blocks/block.ts';
import { BlockIndex } from '#ipam/blocks/block-index.ts';
import type { Block } from '#model/block.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';

const BLOCK = prefix('10.244.7.64/26');
const [FIRST, SECOND] = [address('10.244.7.65'), address('10.244.7.66')];
const DEAD = { node: 'dead', term: 1 };
const ALIVE = { node: 'alive', term: 1 };

test('what a dead node told of its pods counts for nothing where its block is another’s, in whole or in part', () => {
  const index = new BlockIndex();
  const believed = new Map<string, readonly string[]>();
  const tellers = new Tellers({
    routedTo: (ip) => {
      const block = index.at(ip);
      return block && (holderOf(block, ip) ?? block.node);
    },
    onBelieved: (node, told) => believed.set(node, told?.pods.flatMap(({ addresses }) => addresses) ?? []),
  });
  const become = (block: Block | undefined): boolean => {
    index.set(BLOCK, block);
    return tellers.setBlock(BLOCK);
  };
  const tell = (node: string): void => {
    const pods = [FIRST, SECOND].map((ip) => ({ namespace: 'shop', name: ip, addresses: [ip], labels: {} }));
    tellers.tell(node, { node, pods });
  };
  const held = take(newBlock(BLOCK, DEAD), DEAD, [1, 2]);
  become(held);
  tell('dead');
  assert.deepEqual(believed.get('dead'), [FIRST, SECOND]);

  // One of its addresses goes to another node.
  const borrowed = take(dropNode(held, 'dead') ?? newBlock(BLOCK, ALIVE), ALIVE, [1]);
  assert.equal(become({ ...borrowed, node: 'dead' }), true);
  assert.deepEqual(believed.get('dead'), [SECOND]);

  // Then all: also those that it has not given to pods yet.
  assert.equal(become(adopt(borrowed, ALIVE)), true);
  assert.deepEqual(believed.get('dead'), []);
  tell('alive');
  assert.deepEqual(believed.get('alive'), [FIRST, SECOND]);

  // Another block is nobody's business here.
  assert.equal(tellers.setBlock(prefix('10.250.0.0/26')), false);
  become(held);
  assert.deepEqual(believed.get('dead'), [FIRST, SECOND]);
  assert.deepEqual(believed.get('alive'), []);
});

test('nor where its subnet is, whatever length that has', () => {
  const believed = new Map<string, readonly string[]>();
  const tellers = new Tellers({
    routedTo: () => undefined,
    onBelieved: (node, told) => believed.set(node, told?.pods.flatMap(({ addresses }) => addresses) ?? []),
  });
  const pods = [FIRST, address('10.244.9.1'), address('fd00::1')];
  const workloads = pods.map((ip) => ({ namespace: 'shop', name: ip, addresses: [ip], labels: {} }));
  tellers.tell('dead', { node: 'dead', pods: workloads });
  const claim = (node: string, subnet: string) => ({ node, subnet: prefix(subnet), reserved: false });
  assert.ok(tellers.setHolders(holdersOf([claim('alive', '10.244.7.0/24'), claim('dead', '10.244.8.0/23')])));
  assert.deepEqual(believed.get('dead'), pods.slice(1));
  assert.ok(tellers.setHolders(holdersOf([claim('alive', '10.244.8.0/22'), claim('alive', 'fd00::/64')])));
  assert.deepEqual(believed.get('dead'), [FIRST]);
});
