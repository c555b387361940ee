import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { messageOf } from './answers.ts';
import { readPacket, readPayload } from './packet.ts';

const packet = (hex: string): Buffer => Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');
const V4 = (protocol: string, more: string, fragment = '4000'): Buffer =>
  packet(`45000054 0000 ${fragment} 40 ${protocol} 0000 0a0a0001 0a0a0002 ${more}`);
const V6 = (next: string, more: string): Buffer =>
  packet(
    `60000000 0010 ${next} 40 fd00 0000000000000000 0000 0000 0001 fd00 0000000000000000 0000 0000 0002 ${more}`,
  );
const ENDS4 = { source: '10.10.0.1', destination: '10.10.0.2' };
const ENDS6 = { source: 'fd00::1', destination: 'fd00::2' };
const PORTS = { sourcePort: 4_660, destinationPort: 80 };
const PORT_BYTES = '1234 0050 0000 0000';

test('IPv4: ports, types, or neither', () => {
  const flowOf = (bytes: Buffer) => readPacket(bytes)?.flow;
  for (const protocol of [6, 17, 132, 136])
    assert.deepEqual(flowOf(V4(Buffer.of(protocol).toString('hex'), PORT_BYTES)), {
      protocol,
      ...ENDS4,
      ...PORTS,
    });
  assert.deepEqual(flowOf(V4('01', '0800 0000')), { protocol: 1, ...ENDS4, icmp: { type: 8, code: 0 } });
  assert.deepEqual(flowOf(V4('2f', PORT_BYTES)), { protocol: 47, ...ENDS4 });
  assert.equal(readPacket(V4('06', PORT_BYTES))?.bytes, 0x54);
});

test('IPv4: behind options, and nothing of later fragments', () => {
  const withOptions = packet(`46000054 0000 4000 40 06 0000 0a0a0001 0a0a0002 00000000 ${PORT_BYTES}`);
  assert.deepEqual(readPacket(withOptions)?.flow, { protocol: 6, ...ENDS4, ...PORTS });
  assert.deepEqual(readPacket(V4('06', PORT_BYTES, '2001'))?.flow, { protocol: 6, ...ENDS4 });
});

test('IPv6: behind any extension headers, and nothing of later fragments', () => {
  const flowOf = (next: string, more: string) => readPacket(V6(next, more))?.flow;
  const tcp = { protocol: 6, ...ENDS6, ...PORTS };
  assert.deepEqual(flowOf('06', PORT_BYTES), tcp);
  assert.deepEqual(flowOf('3a', '8000 0000'), { protocol: 58, ...ENDS6, icmp: { type: 128, code: 0 } });
  assert.deepEqual(
    flowOf('00', `3c00 000000000000 0600 000000000000 ${PORT_BYTES}`),
    tcp,
    'hop-by-hop, options',
  );
  assert.deepEqual(flowOf('2b', `0601 ${'00'.repeat(14)} ${PORT_BYTES}`), tcp, 'routing of 16 bytes');
  assert.deepEqual(flowOf('33', `0604 ${'00'.repeat(22)} ${PORT_BYTES}`), tcp, 'authentication of 24 bytes');
  assert.deepEqual(flowOf('2c', `0600 0001 00000000 ${PORT_BYTES}`), tcp, 'first fragment');
  assert.deepEqual(
    flowOf('2c', `0600 0009 00000000 ${PORT_BYTES}`),
    { protocol: 6, ...ENDS6 },
    'a later one',
  );
  assert.equal(readPacket(V6('06', PORT_BYTES))?.bytes, 56);
});

test('whatever the bytes, nothing is thrown, and cut packets are never taken for others', () => {
  const whole = [V4('06', PORT_BYTES), V6('00', `0600 000000000000 ${PORT_BYTES}`)];
  for (const bytes of whole) {
    const expected = readPacket(bytes)?.flow;
    assert.ok(expected?.destinationPort === 80);
    for (let size = 0; size < bytes.length; size += 1) {
      const flow = readPacket(bytes.subarray(0, size))?.flow;
      if (flow?.destinationPort !== undefined) assert.deepEqual(flow, expected);
    }
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 160 }), fc.constantFrom(0x45, 0x4f, 0x60), (bytes, first) => {
      bytes[0] = first;
      readPacket(Buffer.from(bytes));
    }),
  );
});

test('what UDP and TCP carry, behind options and extension headers; of UDP as much as it says', () => {
  const carried = (bytes: Buffer): string | undefined => readPayload(bytes)?.toString();
  const udp = '0035 1234 000b 0000 616263';
  const tcp = '0035 1234 00000001 00000001 6010 0000 0000 0000 01010101 0003 616263';
  assert.equal(carried(V4('11', `${udp} 7878`)), 'abc');
  assert.equal(carried(V6('11', udp)), 'abc');
  assert.equal(carried(V6('00', `1100 0000 0000 0000 ${udp}`)), 'abc');
  assert.equal(carried(V4('06', tcp)), '\0\u0003abc');
  for (const wrong of [
    V4('11', '0035 1234 000c 0000 616263'),
    V4('11', udp, '2001'),
    V4('84', udp),
    V4('11', '0035'),
  ])
    assert.equal(carried(wrong), undefined);
  assert.equal(messageOf(V4('11', udp))?.toString(), 'abc');
  assert.equal(messageOf(V4('06', tcp))?.toString(), 'abc');
  assert.equal(messageOf(V4('06', `${tcp}64`)), undefined, 'more than one message, or less');
});

test('property: no payload is ever thrown at', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(0x45, 0x4f, 0x60), (bytes, first) => {
      messageOf(Buffer.from([first, ...bytes]));
    }),
  );
});
