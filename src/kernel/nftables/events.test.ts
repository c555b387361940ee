import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageWriter } from '../netlink/message.ts';
import { parseNftEvent } from './events.ts';
import { readComment } from './foreign.ts';
import { beginNft, NFT_MSG, type NftFamily } from './nfnetlink.ts';

const interest = {
  ports: new Set([77]),
  chains: new Set(['ip filter DOCKER-USER']),
  bases: new Set(['inet mine forward']),
};

/** One event of a writer with this netlink port; attributes by type. */
function event(type: number, family: NftFamily, port: number, attributes: Record<number, string>): Buffer {
  const writer = new MessageWriter();
  beginNft(writer, type, 0, family);
  for (const [attribute, text] of Object.entries(attributes)) writer.str(Number(attribute), text);
  writer.end();
  writer.bytes.writeUInt32LE(port, 12);
  return writer.bytes.subarray(0, writer.length);
}
const seen = (...args: Parameters<typeof event>): boolean =>
  parseNftEvent(event(...args), interest).length > 0;

test('our table, changed by somebody else', () => {
  assert.equal(seen(NFT_MSG.delSetElem, 'inet', 5, { 1: 'tartan', 2: 'peers4' }), true);
  assert.equal(seen(NFT_MSG.delRule, 'bridge', 5, { 1: 'tartan' }), true);
  assert.equal(seen(NFT_MSG.delRule, 'inet', 77, { 1: 'tartan' }), false);
  assert.equal(seen(NFT_MSG.delRule, 'ip', 5, { 1: 'tartan' }), false);
  assert.equal(seen(NFT_MSG.newGen, 'inet', 5, {}), false);
});

test('others’ chains count only where we have a rule', () => {
  assert.equal(seen(NFT_MSG.newRule, 'ip', 5, { 1: 'filter', 2: 'DOCKER-USER' }), true);
  assert.equal(seen(NFT_MSG.newRule, 'ip', 5, { 1: 'filter', 2: 'FORWARD' }), false);
  assert.equal(seen(NFT_MSG.newRule, 'ip6', 5, { 1: 'filter', 2: 'DOCKER-USER' }), false);
  assert.equal(seen(NFT_MSG.newChain, 'ip', 5, { 1: 'filter', 3: 'DOCKER-USER' }), true);
  assert.equal(seen(NFT_MSG.delTable, 'ip', 5, { 1: 'filter' }), true);
  assert.equal(seen(NFT_MSG.delTable, 'ip', 5, { 1: 'nat' }), false);
  assert.equal(seen(NFT_MSG.newSetElem, 'ip', 5, { 1: 'filter', 2: 'DOCKER-USER' }), false);
});

test('rules of others’ base chains count: the last one may drop', () => {
  const rule = (chain: string) => event(NFT_MSG.newRule, 'inet', 5, { 1: 'mine', 2: chain });
  assert.deepEqual(parseNftEvent(rule('forward'), interest), [{ type: 'underlay' }]);
  assert.deepEqual(parseNftEvent(rule('other'), interest), []);
  const both = Buffer.concat([event(NFT_MSG.delTable, 'ip', 5, { 1: 'filter' }), rule('forward')]);
  assert.deepEqual(parseNftEvent(both, interest), [{ type: 'resync' }, { type: 'underlay' }]);
});

test('a rule’s comment is found among its user data', () => {
  const comment = Buffer.from([0, 4, ...Buffer.from('abc\0')]);
  assert.equal(readComment(comment), 'abc');
  assert.equal(readComment(Buffer.concat([Buffer.from([1, 2, 9, 9]), comment])), 'abc');
  assert.equal(readComment(Buffer.from([1, 2, 9, 9])), undefined);
});
