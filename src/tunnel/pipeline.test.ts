/**
 * Outbound and inbound against each other, over a network that loses, repeats, reorders and bends: what comes out at the
 * far end, cut into the packets it stands for, is what went in, packet by packet.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KIND } from './frame.ts';
import { checksum, isPartialRight, makePacket, type PacketShape, wirePackets } from './testing/packets.ts';
import { datagramsOf, type Protection, ReceivingSide, SendingSide } from './testing/side.ts';

const MTU = 1432;
const KEY = Buffer.alloc(32, 7);
const PROTECTIONS: Readonly<Record<string, Protection>> = {
  plain: 'plain',
  'aes-256-gcm': { cipher: 'aes-256-gcm', key: KEY },
  'chacha20-poly1305': { cipher: 'chacha20-poly1305', key: KEY },
};

/** A packet from the sender's address (of peer 1, as its receiver knows it) to an address of peer 0. */
const shapes: fc.Arbitrary<Omit<PacketShape, 'serial'>> = fc.record({
  family: fc.constantFrom(4, 6),
  protocol: fc.constantFrom('tcp', 'udp'),
  payload: fc.oneof(
    fc.integer({ min: 0, max: 1300 }),
    fc.constantFrom(1, 64, 64, 64, 1300),
    fc.integer({ min: 1, max: 65_000 }),
  ),
  segment: fc.oneof(fc.integer({ min: 500, max: 1350 }), fc.constant(1340)),
  options: fc.constantFrom(0, 12, 40),
  flags: fc.integer({ min: 0, max: 255 }),
  to: fc.constantFrom(1, 2),
  from: fc.constantFrom(129, 200),
  partial: fc.boolean(),
});

const packetsOf = (given: readonly Omit<PacketShape, 'serial'>[]): Buffer[] =>
  given.map((shape, index) => {
    const whole = shape.payload <= 1300;
    // The largest IPv4 packet is 65,535 bytes, and one that is no super-packet has to fit.
    const segment = whole ? 0 : Math.min(shape.segment, 1350 - shape.options);
    return makePacket({ ...shape, segment, serial: index + 1 });
  });

/**
 * Datagrams of a flow that go on as one packet are numbered anew where IPv4 gives their identification no meaning (atomic
 * ones: RFC 6864).
 */
function withoutIdentification(packet: Buffer): Buffer {
  if ((packet[0] ?? 0) >> 4 !== 4 || packet[9] !== 17 || packet.readUInt16BE(6) !== 0x4000) return packet;
  assert.equal(checksum(packet.subarray(0, 20)) % 0xffff, 0, 'the header’s checksum is right');
  packet.fill(0, 4, 6).fill(0, 10, 12);
  return packet;
}
const onWire = (packets: readonly Buffer[]): Buffer[] =>
  packets.flatMap(wirePackets).map(withoutIdentification);

const sorted = (packets: readonly Buffer[]): Buffer[] => packets.toSorted((a, b) => Buffer.compare(a, b));

/** As deepEqual, but to show how two lists of packets differ would take minutes. */
function assertPackets(actual: readonly Buffer[], expected: readonly Buffer[]): void {
  const at = actual.findIndex((packet, index) => !packet.equals(expected[index] ?? Buffer.alloc(0)));
  const shown = (list: readonly Buffer[]): string => list[at]?.toString('hex').slice(0, 200) ?? 'none';
  assert.ok(at < 0, `packet ${at} is ${shown(actual)}, not ${shown(expected)}`);
  assert.equal(actual.length, expected.length);
}

for (const [name, protection] of Object.entries(PROTECTIONS)) {
  const runs = name === 'aes-256-gcm' ? 120 : 40;

  test(`${name}: property: without loss, all packets, in order, and super-packets stay whole where they can`, () => {
    fc.assert(
      fc.property(fc.array(shapes, { maxLength: 12 }), (given) => {
        const packets = packetsOf(given);
        const [sender, receiver] = [new SendingSide(protection, MTU), new ReceivingSide(protection, 1)];
        const out = receiver.take(sender.take(packets).flatMap(datagramsOf));
        assertPackets(onWire(out), onWire(packets));
        // 65,000 bytes fit in no single datagram with 50 headers: two packets at most come of one.
        assert.ok(out.length <= 3 * packets.length);
        for (const packet of out.filter((packet) => packet[0] === 1)) assert.ok(isPartialRight(packet));
      }),
      { numRuns: runs },
    );
  });

  test(`${name}: property: what the network loses costs only itself; order, copies and bent bits cost nothing else`, () => {
    const fates = fc.array(fc.constantFrom('keep', 'keep', 'keep', 'lose', 'swap', 'repeat', 'bend'), {
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(fc.array(shapes, { maxLength: 8 }), fates, fc.nat(), (given, fates, noise) => {
        const packets = packetsOf(given);
        const [sender, receiver] = [new SendingSide(protection, MTU), new ReceivingSide(protection, 1)];
        const datagrams = sender.take(packets).flatMap(datagramsOf);
        const carried = datagrams.map((datagram) =>
          onWire(new ReceivingSide(protection, 1).take([Buffer.from(datagram)])),
        );
        assertPackets(carried.flat(), onWire(packets));
        const isBundle = protection !== 'plain';
        for (const { length } of carried) assert.ok(length === 1 || (isBundle && length < 60));
        const arriving: Buffer[] = [];
        const expected: Buffer[] = [];
        for (const [index, datagram] of datagrams.entries()) {
          const fate = fates[index % fates.length];
          if (fate === 'lose') continue;
          const copy = Buffer.from(datagram);
          if (fate === 'bend' && protection !== 'plain') {
            const bit = (noise + index * 131) % (copy.length * 8);
            copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
            arriving.push(copy);
            continue;
          }
          arriving.push(copy);
          expected.push(...(carried[index] ?? []));
          if (fate === 'swap') arriving.splice(-2, 2, ...arriving.slice(-2).reverse());
          if (fate === 'repeat' && protection !== 'plain') arriving.push(Buffer.from(datagram));
        }
        const out = receiver.take(arriving);
        assertPackets(sorted(onWire(out)), sorted(expected));
        for (const packet of out.filter((packet) => packet[0] === 1)) assert.ok(isPartialRight(packet));
      }),
      { numRuns: runs },
    );
  });

  test(`${name}: property: bytes that nobody sealed do no harm`, () => {
    const [sender, receiver] = [new SendingSide(protection, MTU), new ReceivingSide(protection, 1)];
    const [good] = sender.take(packetsOf([{ ...base, payload: 5000 }])).flatMap(datagramsOf);
    assert.ok(good !== undefined);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(47), (noise, at) => {
        const bent = Buffer.from(good.subarray(0, at + noise.length));
        bent.set(noise.subarray(0, bent.length - Math.min(at, bent.length)), Math.min(at, bent.length));
        for (const packet of receiver.take([bent]).flatMap(wirePackets)) {
          // In clear, anything with a known source address is a packet; under a key, only what was sealed.
          assert.ok(protection === 'plain' || bent.equals(good), packet.toString('hex'));
        }
      }),
      { numRuns: 500 },
    );
  });
}

const base: Omit<PacketShape, 'serial'> = {
  family: 4,
  protocol: 'tcp',
  payload: 100,
  segment: 1340,
  options: 12,
  flags: 0x18,
  to: 1,
  from: 129,
  partial: true,
};
const GCM: Protection = { cipher: 'aes-256-gcm', key: KEY };

test('packets of one size leave together, and a whole super-packet in two calls at most', () => {
  const sender = new SendingSide(GCM, MTU);
  const same = sender.take(packetsOf(Array.from({ length: 60 }, () => ({ ...base, payload: 700 }))));
  assert.deepEqual(
    same.map(({ data, segment }) => data.length / segment),
    [60],
  );
  const large = sender.take(packetsOf([{ ...base, payload: 64_000 }]));
  assert.ok(large.length <= 2, `${large.length} calls`);
});

test('small packets that are there together leave in one datagram, as large as any path takes', () => {
  const packets = packetsOf(Array.from({ length: 40 }, (_, index) => ({ ...base, payload: index })));
  const sender = new SendingSide(GCM, MTU);
  const datagrams = sender.take(packets).flatMap(datagramsOf);
  assert.equal(datagrams.length, 3);
  for (const { length } of datagrams) assert.ok(length <= 1280 - 48);
  assertPackets(onWire(new ReceivingSide(GCM, 1).take(datagrams)), onWire(packets));
  const plain = new SendingSide('plain', MTU);
  assert.equal(plain.take(packets).flatMap(datagramsOf).length, 40);
  const [alone] = sender.take(packets.slice(0, 1));
  assert.equal(
    alone?.data.length,
    (packets[0]?.length ?? 0) - 10 + 24 + 16,
    'one by itself costs nothing more',
  );
});

test('of a bundle that is not sound, what stands before the fault is taken', () => {
  const [good] = new SendingSide('plain', MTU).take(packetsOf([base])).flatMap(datagramsOf);
  assert.ok(good !== undefined);
  const [header, whole] = [good.subarray(0, 16), good.subarray(16)];
  const packet = whole.subarray(8);
  const entry = (length: number, hint = whole): Buffer =>
    Buffer.concat([Buffer.from([length & 255, length >> 8]), hint]);
  const bundle = Buffer.from([KIND.bundle, 0, 0, 0, 0, 0, 0, 0]);
  const taken = (...entries: readonly Buffer[]): [packets: number, malformed: number] => {
    const receiver = new ReceivingSide('plain', 1);
    const out = receiver.take([Buffer.concat([header, bundle, ...entries])]);
    for (const each of out) assert.ok(each.subarray(10).equals(packet));
    return [out.length, receiver.counters.get(2, 'malformed')];
  };
  const sound = entry(packet.length);
  assert.deepEqual(taken(sound, sound), [2, 0]);
  assert.deepEqual(taken(sound, entry(packet.length + 1)), [1, 1], 'longer than what is there');
  assert.deepEqual(taken(sound, sound.subarray(0, 9)), [1, 1], 'not even a hint');
  assert.deepEqual(taken(sound, entry(0)), [1, 2], 'empty, and then what is no entry');
  const nested = Buffer.concat([bundle, packet]);
  assert.deepEqual(taken(sound, entry(packet.length, nested)), [1, 1], 'no bundle in a bundle');
});

test('small packets of one UDP flow reach the device together; those of two flows in turns do not', () => {
  const udp = { ...base, protocol: 'udp', payload: 64 } as const;
  const [sender, receiver] = [new SendingSide(GCM, MTU), new ReceivingSide(GCM, 1)];
  const through = (packets: Buffer[]): Buffer[] => {
    const out = receiver.take(sender.take(packets).flatMap(datagramsOf));
    assertPackets(onWire(out), onWire(packets));
    return out;
  };
  assert.equal(through(packetsOf(Array.from({ length: 128 }, () => udp))).length, 2);
  const turns = Array.from({ length: 10 }, (_, index) => ({ ...udp, to: 1 + (index % 2) }));
  assert.equal(through(packetsOf(turns)).length, 10);
  const shorter = [udp, udp, { ...udp, payload: 50 }, { ...udp, payload: 50 }, udp];
  assert.equal(through(packetsOf(shorter)).length, 3);
  assert.equal(through(packetsOf(Array.from({ length: 60 }, () => ({ ...udp, payload: 1300 })))).length, 2);
});

test('the tail of one super-packet and the head of the next are lost: nothing is sewn together', () => {
  for (const protection of [GCM, 'plain'] as const) {
    const [sender, receiver] = [new SendingSide(protection, MTU), new ReceivingSide(protection, 1)];
    const packets = packetsOf([6000, 6000].map((payload) => ({ ...base, payload })));
    const wire = onWire(packets);
    const kept = (_: unknown, index: number): boolean => index < 2 || index > 6;
    const out = receiver.take(sender.take(packets).flatMap(datagramsOf).filter(kept));
    assertPackets(onWire(out), wire.filter(kept));
  }
});

test('an address that the sender does not stand for is refused', () => {
  const [sender, receiver] = [new SendingSide(GCM, MTU), new ReceivingSide(GCM, 0)];
  for (const payload of [100, 5000])
    assert.deepEqual(receiver.take(sender.take(packetsOf([{ ...base, payload }])).flatMap(datagramsOf)), []);
  // The super-packet is refused segment by segment.
  assert.equal(receiver.counters.get(1, 'foreignSource'), 1 + Math.ceil(5000 / 1338));
});

test('another key opens nothing; a replayed datagram is counted', () => {
  const sender = new SendingSide(GCM, MTU);
  const stranger = new ReceivingSide({ cipher: 'aes-256-gcm', key: Buffer.alloc(32, 8) }, 1);
  const receiver = new ReceivingSide(GCM, 1);
  const datagrams = sender.take(packetsOf([base])).flatMap(datagramsOf);
  assert.deepEqual(stranger.take(datagrams), []);
  assert.equal(stranger.counters.get(2, 'unauthentic'), 1);
  assert.equal(receiver.take(datagrams).length, 1);
  assert.equal(receiver.take(datagrams).length, 0);
  assert.equal(receiver.counters.get(2, 'replayed'), 1);
});

test('packets without a session wait for it, the newest of them, and go when it comes', () => {
  const [sender, receiver] = [new SendingSide(GCM, MTU), new ReceivingSide(GCM, 1)];
  const [peer] = sender.peers;
  assert.ok(peer !== undefined);
  const { session } = peer;
  peer.session = undefined;
  const packets = packetsOf(Array.from({ length: 70 }, () => base));
  assert.deepEqual(sender.take(packets), []);
  assert.deepEqual(sender.wanted, [peer]);
  assert.equal(sender.counters.get(1, 'noSession'), 6);
  peer.session = session;
  sender.outbound.release(peer);
  const out = receiver.take(sender.sent.splice(0).flatMap(datagramsOf));
  assertPackets(onWire(out), onWire(packets.slice(6)));
});

test('property: on a path below 1280, IPv6 of up to 1280 bytes comes in parts, super-packets too; more is refused', () => {
  for (const protection of [GCM, 'plain'] as const)
    fc.assert(
      fc.property(
        fc.integer({ min: 500, max: 1200 }),
        fc.constantFrom('tcp', 'udp'),
        fc.integer({ min: 1, max: 9000 }),
        (mtu, protocol, payload) => {
          const six = { ...base, family: 6, protocol, options: 0, payload } as const;
          const headers = protocol === 'tcp' ? 60 : 48;
          const segment = payload > 1280 - headers ? 1280 - headers : 0;
          const packet = makePacket({ ...six, segment, serial: 1 });
          const [sender, receiver] = [new SendingSide(protection, mtu), new ReceivingSide(protection, 1)];
          const datagrams = sender.take([packet]).flatMap(datagramsOf);
          const around = 24 + (protection === 'plain' ? 0 : 16);
          for (const { length } of datagrams) assert.ok(length <= mtu + around, `${length} bytes for ${mtu}`);
          assertPackets(onWire(receiver.take(datagrams)), onWire([packet]));
          assert.deepEqual(sender.answers, []);
        },
      ),
      { numRuns: 40 },
    );
  const sender = new SendingSide(GCM, 700);
  assert.deepEqual(
    sender.take([makePacket({ ...base, family: 6, payload: 1300, segment: 0, serial: 1 })]),
    [],
  );
  assert.equal(sender.answers[0]?.readUInt32BE(10 + 44), 1280, 'never less than 1280');
});

test('a lost part costs its packet; parts that never come to an end are forgotten', () => {
  const [sender, receiver] = [new SendingSide(GCM, 700), new ReceivingSide(GCM, 1)];
  const six = { ...base, family: 6, payload: 1100, segment: 0 } as const;
  const packets = Array.from({ length: 200 }, (_, serial) => makePacket({ ...six, serial: serial + 1 }));
  const datagrams = sender.take(packets).flatMap(datagramsOf);
  assert.equal(datagrams.length, 400);
  const firsts = datagrams.filter((_, index) => index % 2 === 0);
  const seconds = datagrams.filter((_, index) => index % 2 === 1);
  assert.deepEqual(receiver.take(firsts), []);
  // Not compared as a whole: to show how two such lists differ takes minutes.
  const serials = receiver
    .take(seconds.slice(-64))
    .map((packet) => packets.findIndex((given) => given.equals(packet)));
  assert.deepEqual(
    serials,
    Array.from({ length: 64 }, (_, index) => 136 + index),
    'only so many are waited for',
  );
});

test('a packet to nobody is answered with “no road”', () => {
  const sender = new SendingSide(GCM, MTU);
  const stray = makePacket({ ...base, serial: 1 });
  stray[10 + 18] = 9; // 10.77.9.x
  assert.deepEqual(sender.take([stray]), []);
  assert.equal(sender.counters.get(0, 'unroutable'), 1);
  assert.equal(sender.answers.length, 1);
  assert.equal(sender.answers[0]?.readUInt16BE(10 + 20), 0x0300);
});
