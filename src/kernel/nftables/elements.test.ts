import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NftElementItem } from '#model/host.ts';
import { MessageWriter, readMessages } from '../netlink/message.ts';
import { encodeElement, readElements, writeElement } from './elements.ts';
import { familyOf, NFT_MSG, nftType, transaction } from './nfnetlink.ts';

const port: NftElementItem = {
  kind: 'nft-element',
  set: 'hostipports6',
  key: ['2001:db8::1', 'udp', '53'],
  data: ['fd00::5', '5353'],
};
const source: NftElementItem = {
  kind: 'nft-element',
  set: 'portsources4',
  key: ['tt0123456789a', '02:00:00:00:00:01', '10.0.0.1'],
};

test('a transaction is begin, messages, end; what is written is read again', () => {
  const writer = new MessageWriter();
  transaction(writer, () => {
    assert.equal(writeElement(writer, 'add', encodeElement(port)), 1);
    assert.equal(writeElement(writer, 'add', encodeElement(source)), 2);
  });
  const [begin, first, second, end] = [...readMessages(writer.bytes, writer.length)];
  assert.deepEqual([begin?.type, end?.type], [0x10, 0x11]);
  assert.ok(first !== undefined && second !== undefined);
  assert.deepEqual(
    [nftType(first), familyOf(first), familyOf(second)],
    [NFT_MSG.newSetElem, 'inet', 'bridge'],
  );
  assert.deepEqual(readElements('hostipports6', first), [port]);
  assert.deepEqual(readElements('portsources4', second), [source]);
});

test('a deletion names the key alone', () => {
  const writer = new MessageWriter();
  writeElement(writer, 'delete', encodeElement(port));
  const [message] = readMessages(writer.bytes, writer.length);
  assert.ok(message !== undefined);
  assert.equal(nftType(message), NFT_MSG.delSetElem);
  assert.deepEqual(readElements('hostipports6', message), []);
  assert.doesNotMatch(writer.bytes.toString('hex', 0, writer.length), /14e90000/);
});

test('elements of another shape than the set’s type are left out', () => {
  const writer = new MessageWriter();
  writeElement(writer, 'add', encodeElement(source));
  const [message] = readMessages(writer.bytes, writer.length);
  assert.ok(message !== undefined);
  assert.deepEqual(readElements('peers4', message), []);
});

test('an element that is none is refused before anything is written', () => {
  assert.throws(() => encodeElement({ ...source, key: ['tt1'] }), TypeError);
  assert.throws(() => encodeElement({ kind: 'nft-element', set: port.set, key: port.key }), TypeError);
});
