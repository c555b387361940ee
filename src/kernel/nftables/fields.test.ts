import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressFrom } from '#net/address.ts';
import { macFromBytes } from '#net/mac.ts';
import { NFT_SETS, type NftSetType, type NftType } from '#model/nft-sets.ts';
import { decodeFields, encodeFields, fieldsSize, nftText } from './fields.ts';

const TEXTS: Readonly<Record<NftType, fc.Arbitrary<string>>> = {
  ipv4_addr: fc.bigInt(0n, (1n << 32n) - 1n).map((value) => addressFrom(4, value)),
  ipv6_addr: fc.bigInt(0n, (1n << 128n) - 1n).map((value) => addressFrom(6, value)),
  ether_addr: fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macFromBytes),
  ifname: fc.stringMatching(/^[a-z0-9_.@-]{1,15}$/),
  inet_proto: fc.oneof(fc.constantFrom('tcp', 'udp', 'sctp'), fc.integer({ min: 200, max: 255 }).map(String)),
  inet_service: fc.integer({ min: 0, max: 65_535 }).map(String),
};
const TYPES = Object.values(NFT_SETS)
  .flatMap((set: NftSetType) => [set.key, set.data])
  .filter((types) => types !== undefined);

test('every set type: decode undoes encode', () => {
  const values = fc
    .constantFrom(...TYPES)
    .chain((types) => fc.tuple(fc.constant(types), fc.tuple(...types.map((type) => TEXTS[type]))));
  fc.assert(
    fc.property(values, ([types, texts]) => {
      const bytes = encodeFields(types, texts);
      assert.equal(bytes.length, fieldsSize(types));
      assert.deepEqual(decodeFields(types, bytes), texts);
    }),
  );
});

test('the bytes are those that nft 1.0.6 sends', () => {
  const hex = (types: readonly NftType[], texts: string[]): string =>
    Buffer.from(encodeFields(types, texts)).toString('hex');
  assert.equal(
    hex(['ifname', 'ether_addr', 'ipv4_addr'], ['eth0', '11:22:33:44:55:66', '1.2.3.4']),
    '65746830000000000000000000000000112233445566000001020304',
  );
  assert.equal(hex(['inet_proto', 'inet_service'], ['tcp', '80']), '0600000000500000');
  assert.equal(hex(['ipv4_addr', 'inet_service'], ['1.2.3.4', '8080']), '010203041f900000');
  assert.equal(hex(['inet_service'], ['80']), '0050');
});

test('text that is no value of its type is refused', () => {
  const wrong: [NftType, string][] = [
    ['ipv4_addr', '::1'],
    ['ipv6_addr', '1.2.3.4'],
    ['ether_addr', '11:22:33:44:55'],
    ['ifname', ''],
    ['ifname', 'sixteen-bytes-xx'],
    ['inet_proto', 'tpc'],
    ['inet_proto', '256'],
    ['inet_service', '65536'],
    ['inet_service', '-1'],
  ];
  for (const [type, text] of wrong)
    assert.throws(() => encodeFields([type], [text]), TypeError, `${type} ${text}`);
  assert.throws(() => encodeFields(['ipv4_addr'], ['1.2.3.4', '80']), TypeError);
  assert.throws(() => decodeFields(['ipv4_addr'], new Uint8Array(5)), RangeError);
});

test('as nft text, link names are quoted', () => {
  assert.equal(nftText(['ifname', 'ipv4_addr'], ['tt1', '10.0.0.1']), '"tt1" . 10.0.0.1');
});
