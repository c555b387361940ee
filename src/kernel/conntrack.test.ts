import assert from 'node:assert/strict';
import { test } from 'node:test';
import { address } from '#net/address.ts';
import { type Connection, matches } from './conntrack.ts';
import { flowOf } from './conntrack-cut.ts';

const [client, host, pod] = [address('198.51.100.1'), address('192.0.2.1'), address('10.0.0.5')];
const connection: Connection = {
  original: { protocol: 17, source: client, destination: host, port: 53 },
  reply: { protocol: 17, source: pod, destination: client, port: 4000 },
};

test('a filter matches when all that it names holds', () => {
  assert.ok(matches(connection, { protocol: 'udp' }));
  assert.ok(matches(connection, { protocol: 'udp', originalDestination: host, originalDestinationPort: 53 }));
  assert.ok(matches(connection, { anyAddress: pod }));
  assert.ok(matches(connection, { anyAddress: client, protocol: 'udp' }));
});

test('and not when one thing does not', () => {
  assert.ok(!matches(connection, { protocol: 'tcp', originalDestinationPort: 53 }));
  assert.ok(!matches(connection, { originalDestination: pod }));
  assert.ok(!matches(connection, { originalDestinationPort: 4000 }));
  assert.ok(!matches(connection, { anyAddress: address('10.0.0.6') }));
  assert.ok(!matches(connection, {}));
});

test('policies judge a connection by its first source and its last destination', () => {
  const { original, reply } = connection;
  const seen = { original: { ...original, sourcePort: 4000 }, reply: { ...reply, sourcePort: 5353 } };
  assert.deepEqual(flowOf(seen), {
    protocol: 17,
    source: client,
    destination: pod,
    sourcePort: 4000,
    destinationPort: 5353,
    before: { destination: host, destinationPort: 53 },
  });
  const plain = { original: { ...original, destination: pod, port: 5353 }, reply: seen.reply };
  assert.equal(flowOf(plain)?.before, undefined);
  assert.equal(flowOf({ original: { ...original, source: undefined }, reply }), undefined);
});
