import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  address,
  addressBytes,
  addressFrom,
  addressFromBytes,
  addressValue,
  parseAddress,
} from './address.ts';

const part = fc.oneof(
  { arbitrary: fc.nat(255).map(String), weight: 12 },
  fc.nat(300).map(String),
  fc.nat(300).map((number) => `0${number}`),
  fc.constantFrom('', '0', '00', '255', '256', 'x', ' 1', '-1', '٣'),
);

test('what is an IPv4 address is what the platform takes for one', () => {
  let valid = 0;
  fc.assert(
    fc.property(fc.array(part, { minLength: 3, maxLength: 5 }), (parts) => {
      const text = parts.join('.');
      valid += isIP(text) === 4 ? 1 : 0;
      assert.equal(parseAddress(text), isIP(text) === 4 ? text : undefined);
    }),
    { numRuns: 3000 },
  );
  assert.ok(valid > 20, `only ${valid} of them are`);
  for (const text of ['1.2.3.4.', '.1.2.3.4', '1.2.3.4 ', '1..2.3', '::256.1.1.1', '::1.2.3.04'])
    assert.equal(parseAddress(text), undefined, text);
});

test('an address, its number and its bytes are one', () => {
  fc.assert(
    fc.property(fc.ipV4(), (text) => {
      const bytes = text.split('.').map(Number);
      assert.deepEqual([...addressBytes(address(text))], bytes);
      assert.equal(addressValue(address(text)), BigInt(bytes.reduce((sum, byte) => sum * 256 + byte, 0)));
    }),
  );
  fc.assert(
    fc.property(fc.constantFrom(4 as const, 6 as const), fc.bigInt(0n, 2n ** 128n - 1n), (family, number) => {
      const made = addressFrom(family, family === 4 ? number & 0xffff_ffffn : number);
      assert.equal(parseAddress(made), made);
      assert.equal(addressFromBytes(addressBytes(made)), made);
      assert.equal(addressFrom(family, addressValue(made)), made);
    }),
  );
});
