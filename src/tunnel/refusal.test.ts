/** What senders are told, and the pieces that packets are cut into, read back by code of the test's own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cutPacket, finishChecksum, mayFragment } from './fragment.ts';
import { VNET_BYTES } from './frame.ts';
import { Memory } from './memory.ts';
import { type Refusal, REFUSAL_BYTES, writeRefusal } from './refusal.ts';
import { checksum, makePacket, type PacketShape, wirePackets } from './testing/packets.ts';

const memory = new Memory(1 << 18);
const [at, to] = [memory.reserve(70_000), memory.reserve(70_000)];
const shape: PacketShape = {
  family: 4,
  protocol: 'udp',
  payload: 1500,
  segment: 0,
  options: 0,
  flags: 0,
  serial: 3,
  to: 1,
  from: 129,
  partial: false,
};

const packetOf = (change: Partial<PacketShape> = {}): Buffer =>
  makePacket({ ...shape, ...change }).subarray(VNET_BYTES);

function refuse(packet: Buffer, refusal: Refusal): Buffer {
  packet.copy(memory.bytes, at);
  const size = writeRefusal(memory, { at, size: packet.length }, refusal, to);
  return Buffer.from(memory.bytes.subarray(to, to + size));
}

const TOO_BIG: Refusal = { why: 'too-big', mtu: 1332 };

test('IPv4: fragmentation needed with the MTU, from whom it was sent to, quoting 548 bytes, with right checksums', () => {
  const packet = packetOf();
  const answer = refuse(packet, TOO_BIG);
  assert.equal(answer.length, 576);
  assert.deepEqual(answer.subarray(12, 16), packet.subarray(16, 20));
  assert.deepEqual(answer.subarray(16, 20), packet.subarray(12, 16));
  assert.equal(checksum(answer.subarray(0, 20)) % 0xffff, 0);
  assert.equal(checksum(answer.subarray(20)) % 0xffff, 0);
  assert.deepEqual([answer[20], answer[21], answer.readUInt16BE(26)], [3, 4, 1332]);
  assert.deepEqual(answer.subarray(28), packet.subarray(0, 548));
  assert.deepEqual([...refuse(packet, { why: 'no-road' }).subarray(20, 22)], [3, 0]);
});

test('IPv6: packet too big, as long as 1280 bytes, with the pseudo header in its checksum', () => {
  const packet = packetOf({ family: 6 });
  const answer = refuse(packet, TOO_BIG);
  assert.equal(answer.length, 1280);
  assert.deepEqual(answer.subarray(8, 24), packet.subarray(24, 40));
  assert.deepEqual(answer.subarray(24, 40), packet.subarray(8, 24));
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(answer.length - 40, 0);
  pseudo[7] = 58;
  assert.equal(checksum(answer.subarray(8, 40), pseudo, answer.subarray(40)) % 0xffff, 0);
  assert.deepEqual([answer[40], answer[41], answer.readUInt32BE(44)], [2, 0, 1332]);
  assert.deepEqual([...refuse(packet, { why: 'no-road' }).subarray(40, 42)], [1, 0]);
});

test('no answer to errors, later fragments, groups, or nobody (RFC 1122, RFC 4443)', () => {
  const changed = (change: (packet: Buffer) => void, family: 4 | 6 = 4): number => {
    const packet = packetOf({ family });
    change(packet);
    return refuse(packet, TOO_BIG).length;
  };
  assert.ok(changed(() => {}) > 0);
  assert.equal(
    changed((packet) => packet.writeUInt16BE(8, 6)),
    0,
    'a later fragment',
  );
  assert.equal(
    changed((packet) => packet.fill(224, 16, 17)),
    0,
    'to a group',
  );
  assert.equal(
    changed((packet) => packet.fill(0, 12, 16)),
    0,
    'from nobody',
  );
  assert.equal(
    changed((packet) => packet.fill(1, 9, 10).fill(3, 20, 21)),
    0,
    'an ICMP error',
  );
  assert.ok(changed((packet) => packet.fill(1, 9, 10).fill(8, 20, 21)) > 0, 'an echo request');
  assert.equal(
    changed((packet) => packet.fill(58, 6, 7).fill(2, 40, 41), 6),
    0,
    'an ICMPv6 error',
  );
  assert.ok(changed((packet) => packet.fill(58, 6, 7).fill(128, 40, 41), 6) > 0, 'an ICMPv6 echo');
  assert.equal(
    changed((packet) => packet.fill(0xff, 24, 25), 6),
    0,
    'to an IPv6 group',
  );
  assert.equal(
    changed((packet) => packet.fill(0, 8, 24), 6),
    0,
    'from no IPv6 address',
  );
  assert.equal(refuse(Buffer.from([0x45, 0]), TOO_BIG).length, 0, 'no packet at all');
});

test('property: fragments fit, and put together again they are the packet', () => {
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 9000 }), fc.integer({ min: 68, max: 1500 }), (payload, mtu) => {
      const packet = packetOf({ payload, mayFragment: true });
      fc.pre(packet.length > mtu);
      packet.copy(memory.bytes, at);
      assert.ok(mayFragment(memory, at, mtu));
      const whole = Buffer.alloc(packet.length);
      let last = 0;
      cutPacket(memory, { at, size: packet.length, mtu }, to, (size) => {
        const fragment = Buffer.from(memory.bytes.subarray(to, to + size));
        assert.ok(size <= mtu && fragment.readUInt16BE(2) === size);
        assert.equal(checksum(fragment.subarray(0, 20)) % 0xffff, 0);
        const place = fragment.readUInt16BE(6);
        const from = (place & 0x1fff) * 8;
        fragment.copy(whole, 20 + from, 20);
        assert.equal((place & 0x2000) !== 0, 20 + from + size - 20 < packet.length, 'more follow, or not');
        last = from + size;
      });
      packet.copy(whole, 0, 0, 20);
      assert.deepEqual(whole, packet);
      assert.equal(last, packet.length);
    }),
    { numRuns: 100 },
  );
});

test('what has DF, or options, is not cut', () => {
  const says = (change: (packet: Buffer) => void): boolean => {
    const packet = packetOf({ mayFragment: true });
    change(packet);
    packet.copy(memory.bytes, at);
    return mayFragment(memory, at, 1000);
  };
  assert.ok(says(() => {}));
  assert.ok(!says((packet) => packet.writeUInt16BE(0x4000, 6)));
  assert.ok(!says((packet) => packet.fill(0x46, 0, 1)));
});

test('property: an unfinished checksum is finished as a card would', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(4, 6),
      fc.constantFrom('tcp', 'udp'),
      fc.nat(3000),
      (family, protocol, payload) => {
        const given = makePacket({ ...shape, family, protocol, payload, partial: true });
        given.copy(memory.bytes, at, VNET_BYTES);
        const size = given.length - VNET_BYTES;
        const [start, offset] = [given.readUInt16LE(6), given.readUInt16LE(8)];
        finishChecksum(memory, at, size, { start, offset });
        assert.deepEqual(Buffer.from(memory.bytes.subarray(at, at + size)), wirePackets(given)[0]);
      },
    ),
    { numRuns: 60 },
  );
});

test('room for the longest answer', () => {
  assert.equal(refuse(packetOf({ family: 6, payload: 9000 }), TOO_BIG).length, REFUSAL_BYTES);
});
