import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Written, writeMessage } from '../testing/dns-message.ts';
import { readAnswer } from './answer.ts';

const read = (question: string, ...records: Written[]) => readAnswer(writeMessage({ question, records }));
const a = (name: string, address: string, ttl = 300): Written => ({ name, ttl, address });
const alias = (name: string, to: string, ttl = 300): Written => ({ name, ttl, alias: to });
const addressesOf = (answer: ReturnType<typeof readAnswer>): string[] =>
  (answer?.addresses ?? []).map(({ address, ttlSeconds }) => `${address} ${ttlSeconds}`);

/** Byte by byte, with pointers as servers write them: an alias, an address, an EDNS record behind. */
const WHOLE = Buffer.from(
  '1a2b8180000100020000000103777777' +
    '0a6b756265726e6574657302696f0000' +
    '010001c00c0005000100000e100002c0' +
    '10c010000100010000003c0004934b28' +
    '940000290200000000000000',
  'hex',
);

test('the name that was asked for, the address of what it is an alias of', () => {
  assert.deepEqual(readAnswer(WHOLE), {
    name: 'www.kubernetes.io',
    addresses: [{ address: '147.75.40.148', ttlSeconds: 60 }],
  });
});

test('addresses of both families, the name in lower case', () => {
  const answer = read(
    'Shop.Example.ORG',
    a('shop.example.org', '192.0.2.1', 5),
    a('SHOP.example.org', '2001:db8::1'),
  );
  assert.equal(answer?.name, 'shop.example.org');
  assert.deepEqual(addressesOf(answer), ['192.0.2.1 5', '2001:db8::1 300']);
});

test('a chain of aliases is followed, and lives as long as its shortest part', () => {
  const chain = [alias('a.org', 'b.org', 30), alias('b.org', 'c.org', 300), a('c.org', '192.0.2.3', 60)];
  assert.deepEqual(addressesOf(read('a.org', ...chain)), ['192.0.2.3 30']);
  assert.deepEqual(addressesOf(read('a.org', ...chain.toReversed())), ['192.0.2.3 30'], 'in any order');
});

test('addresses of other names say nothing', () => {
  assert.equal(read('a.org', a('b.org', '192.0.2.1')), undefined);
  assert.deepEqual(addressesOf(read('a.org', a('b.org', '192.0.2.1'), a('a.org', '192.0.2.2'))), [
    '192.0.2.2 300',
  ]);
});

test('aliases in a circle have no address', () => {
  assert.equal(read('a.org', alias('a.org', 'b.org'), alias('b.org', 'a.org')), undefined);
});

test('queries, errors and other opcodes are no answers; a truncated one is as far as it goes', () => {
  for (const flags of [0x0100, 0x8183, 0x9180])
    assert.equal(
      readAnswer(writeMessage({ question: 'a.org', records: [a('a.org', '192.0.2.1')], flags })),
      undefined,
    );
  const truncated = writeMessage({ question: 'a.org', records: [a('a.org', '192.0.2.1')], flags: 0x8380 });
  assert.deepEqual(addressesOf(readAnswer(truncated)), ['192.0.2.1 300']);
});

test('names with a dot inside a label, or other characters, are nobody’s', () => {
  const message = writeMessage({ question: 'a-b.org', records: [a('a-b.org', '192.0.2.1')] });
  for (const character of ['.', '*', '\0', 'é'])
    assert.equal(
      readAnswer(Buffer.from(message.toString('latin1').replace('-', character), 'latin1')),
      undefined,
    );
});

test('a TTL with its highest bit set is 0', () => {
  assert.deepEqual(addressesOf(read('a.org', a('a.org', '192.0.2.1', 0x8000_0000))), ['192.0.2.1 0']);
});

test('pointers that lead forward, to themselves or in circles are the end of it', () => {
  const head = Buffer.from('123481800001000100000000', 'hex');
  const rest = Buffer.from('00010001c00c000100010000003c0004c0000201', 'hex');
  for (const name of ['c00c', 'c00e', 'c0ff', '0161c00c', '012ac00c', `3f${'61'.repeat(10)}`])
    assert.equal(readAnswer(Buffer.concat([head, Buffer.from(name, 'hex'), rest])), undefined, name);
});

test('many pointers to pointers cost no more than their number', () => {
  const records = Array.from({ length: 4000 }, (_, index) => Buffer.from([0xc0 | (index >> 8), index & 255]));
  const head = Buffer.from('12348180000100ff00000000', 'hex');
  assert.equal(readAnswer(Buffer.concat([head, Buffer.from([0, 0, 1, 0, 1]), ...records])), undefined);
});

const label = fc.stringMatching(/^[-_a-z0-9]{1,12}$/);
const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'));
const ip = fc.oneof(fc.ipV4(), fc.constantFrom('2001:db8::1', 'fd00::7', '::1'));
const ttl = fc.nat({ max: 100_000 });

test('property: what was written is read, through any chain of aliases', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(name, { minLength: 1, maxLength: 6 }),
      fc.uniqueArray(fc.tuple(ip, ttl), { minLength: 1, maxLength: 8, selector: ([each]) => each }),
      fc.array(ttl, { minLength: 6, maxLength: 6 }),
      fc.string(),
      (names, addresses, ttls, text) => {
        const records: Written[] = names
          .slice(1)
          .map((target, index) => alias(names[index] ?? '', target, ttls[index]));
        const last = names.at(-1) ?? '';
        records.push(
          { name: last, ttl: 1, text },
          ...addresses.map(([each, seconds]) => a(last, each, seconds)),
        );
        const limit = Math.min(...ttls.slice(0, names.length - 1));
        assert.deepEqual(readAnswer(writeMessage({ question: names[0] ?? '', records })), {
          name: names[0],
          addresses: addresses.map(([each, seconds]) => ({
            address: each,
            ttlSeconds: Math.min(seconds, limit),
          })),
        });
      },
    ),
  );
});

test('property: nothing is ever thrown, whatever the bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      readAnswer(bytes);
    }),
  );
  let understood = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat({ max: WHOLE.length - 1 }), fc.nat({ max: 255 })), { maxLength: 4 }),
      fc.nat({ max: WHOLE.length }),
      (changes, length) => {
        const bytes = Buffer.from(WHOLE);
        for (const [at, value] of changes) bytes[at] = value;
        if (readAnswer(bytes) !== undefined) understood += 1;
        readAnswer(bytes.subarray(0, length));
      },
    ),
    { numRuns: 3000 },
  );
  assert.ok(understood > 100, `only ${understood} of the changed messages were answers`);
});
