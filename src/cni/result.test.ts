import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { CniResult } from '#model/cni-result.ts';
import { Fault } from '#model/fault.ts';
import { address, addressFrom } from '#net/address.ts';
import { interfaceAddress, prefix, prefixFamily } from '#net/prefix.ts';
import { chooseVersion, renderConflist, validateConflist } from './conflist.ts';
import { decodeMessage, encodeMessage, encodeReply } from './message.ts';
import { decodeResult, encodeResult, resultJson } from './result.ts';
import { CNI_VERSIONS } from './version.ts';

const RESULT: CniResult = {
  interfaces: [
    { name: 'tt1', mac: 'ee:ee:ee:ee:ee:ee', mtu: 1450 },
    { name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1450, sandbox: '/run/netns/x' },
  ],
  ips: [
    { address: interfaceAddress(address('10.0.0.2'), 32), gateway: address('169.254.1.1'), interface: 1 },
    { address: interfaceAddress(address('fd00::2'), 128), interface: 0 },
  ],
  routes: [
    { dst: prefix('0.0.0.0/0'), gw: address('169.254.1.1'), mtu: 1400 },
    { dst: prefix('::/0'), gw: address('fe80::1') },
  ],
  dns: { nameservers: ['192.0.2.53'] },
};

test('P12: the shape of each version', () => {
  const shape = (version: (typeof CNI_VERSIONS)[number]): unknown =>
    JSON.parse(encodeResult(RESULT, version));
  for (const version of ['1.1.0', '1.0.0'] as const) {
    assert.deepEqual(shape(version), {
      cniVersion: version,
      ...(JSON.parse(JSON.stringify(RESULT)) as object),
    });
  }
  for (const version of ['0.4.0', '0.3.1', '0.3.0'] as const) {
    assert.deepEqual(shape(version), {
      cniVersion: version,
      interfaces: [
        { name: 'tt1', mac: 'ee:ee:ee:ee:ee:ee' },
        { name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/run/netns/x' },
      ],
      ips: [
        { version: '4', address: '10.0.0.2/32', gateway: '169.254.1.1', interface: 1 },
        { version: '6', address: 'fd00::2/128', interface: 0 },
      ],
      routes: [
        { dst: '0.0.0.0/0', gw: '169.254.1.1', mtu: 1400 },
        { dst: '::/0', gw: 'fe80::1' },
      ],
      dns: { nameservers: ['192.0.2.53'] },
    });
  }
  for (const version of ['0.2.0', '0.1.0'] as const) {
    assert.deepEqual(shape(version), {
      cniVersion: version,
      ip4: {
        ip: '10.0.0.2/32',
        gateway: '169.254.1.1',
        routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }],
      },
      ip6: { ip: 'fd00::2/128', routes: [{ dst: '::/0', gw: 'fe80::1' }] },
      dns: { nameservers: ['192.0.2.53'] },
    });
  }
});

test('no addresses: an error in 0.2.0, empty routes are a list in 0.4.0, dns is an object', () => {
  const empty: CniResult = { interfaces: [], ips: [], routes: [], dns: {} };
  assert.throws(() => encodeResult(empty, '0.2.0'), Fault);
  assert.equal(encodeResult(empty, '0.4.0'), '{"cniVersion":"0.4.0","routes":[],"dns":{}}');
  assert.equal(encodeResult(empty, '1.0.0'), '{"cniVersion":"1.0.0","dns":{}}');
});

const ip = fc
  .tuple(fc.constantFrom(4 as const, 6 as const), fc.nat(0xffff), fc.option(fc.nat(2), { nil: undefined }))
  .map(([family, low, index]) => ({
    address: interfaceAddress(addressFrom(family, 0x0a000000n + BigInt(low)), family === 4 ? 24 : 64),
    ...(index === undefined ? {} : { interface: index }),
  }));
const results = fc.record({
  interfaces: fc.array(
    fc.record({ name: fc.string({ minLength: 1 }), mac: fc.constant('02:00:00:00:00:01') }),
    {
      minLength: 3,
      maxLength: 3,
    },
  ),
  ips: fc.array(ip, { minLength: 1, maxLength: 4 }),
  routes: fc.constantFrom([], [{ dst: prefix('0.0.0.0/0'), gw: address('10.0.0.1') }]),
  dns: fc.constantFrom({}, { search: ['a', 'b'] }),
});

test('property: decode undoes encode, as far as the version can say it', () => {
  fc.assert(
    fc.property(results, fc.constantFrom(...CNI_VERSIONS), (result, version) => {
      const back = decodeResult(JSON.parse(encodeResult(result, version)), version);
      const plain: unknown = JSON.parse(JSON.stringify(back));
      if (version > '0.3') assert.deepEqual(plain, JSON.parse(JSON.stringify(result)));
      else {
        const first = [4, 6].flatMap((family) =>
          result.ips.filter(({ address }) => prefixFamily(address) === family).slice(0, 1),
        );
        assert.deepEqual(
          back.ips.map(({ address }) => address),
          first.map(({ address }) => address),
        );
      }
    }),
  );
});

test('an index must point at an interface', () => {
  const at = (index: number): unknown => ({
    interfaces: [{ name: 'a' }],
    ips: [{ address: '10.0.0.1/24', interface: index }],
  });
  assert.equal(decodeResult(at(0), '1.0.0').ips[0]?.interface, 0);
  assert.throws(() => decodeResult(at(1), '1.0.0'), /not a valid result/);
});

test('decode: all problems at their paths, version inherited or refused', () => {
  const bad = { ips: [{ address: '10.0.0.1' }, {}], routes: [{ dst: 'x' }], interfaces: [{}] };
  assert.throws(
    () => decodeResult(bad, '1.0.0'),
    (error) =>
      error instanceof Fault &&
      ['ips[0].address', 'ips[1].address', 'routes[0].dst', 'interfaces[0].name'].every((path) =>
        error.details.includes(`prevResult.${path}`),
      ),
  );
  assert.throws(
    () => decodeResult({ cniVersion: '3.0.0' }, '1.0.0'),
    (error) => error instanceof Fault && error.cni === 1,
  );
  assert.equal(decodeResult({ ip4: { ip: '10.0.0.1/24' } }, '0.2.0').ips.length, 1);
  assert.equal(decodeResult(resultJson(RESULT, '1.0.0'), '0.2.0').ips.length, 2);
});

test('P18: our conflist is valid, and what libcni would refuse is refused', () => {
  const text = renderConflist({ network: { name: 'pods' } });
  assert.deepEqual(validateConflist(text), []);
  const list = JSON.parse(text) as Record<string, unknown>;
  assert.equal(chooseVersion(list), '1.1.0');
  assert.equal(chooseVersion({ cniVersion: '0.4.0', cniVersions: ['9.0.0'] }), '0.4.0');
  const paths = (more: Record<string, unknown>) =>
    validateConflist(JSON.stringify({ ...list, ...more })).map(({ path }) => path);
  assert.deepEqual(paths({ name: '/x', disableGC: 'yes', plugins: [{ type: 'a/b' }, {}] }), [
    'name',
    'disableGC',
    'plugins[0].type',
    'plugins[1].type',
  ]);
  assert.deepEqual(paths({ disableCheck: 'true', loadOnlyInlinedPlugins: false, plugins: undefined }), []);
  assert.deepEqual(paths({ loadOnlyInlinedPlugins: true, plugins: undefined }), ['plugins']);
  assert.deepEqual(paths({ cniVersion: '9.0.0', cniVersions: [] }), ['cniVersion']);
  assert.deepEqual(paths({ cniVersions: ['1.0.0', 'x'] }), ['cniVersions[1]']);
  assert.equal(validateConflist('{').length, 1);
});

test('messages of the executable: round trip, cut off, another framing', () => {
  const text = fc.string().map((value) => value.replaceAll('\0', '').toWellFormed());
  fc.assert(
    fc.property(
      text,
      fc.string().map((value) => value.toWellFormed()),
      (value, stdin) => {
        const bytes = encodeMessage({ env: { CNI_ARGS: value }, stdin });
        const back = decodeMessage(bytes);
        assert.deepEqual({ ...back.env }, { TARTAN_PROTOCOL: '1', CNI_ARGS: value });
        assert.equal(back.stdin, stdin);
      },
    ),
  );
  const bytes = encodeMessage({ env: { A: 'b' }, stdin: '' });
  for (let size = 0; size < bytes.length; size += 1) {
    assert.throws(() => decodeMessage(bytes.subarray(0, size)), Fault);
  }
  assert.throws(
    () => decodeMessage(encodeMessage({ env: { TARTAN_PROTOCOL: '2' }, stdin: '' })),
    /another version/,
  );
  assert.equal(encodeReply(0), '0');
  assert.equal(encodeReply(1, '{}'), '1{}\n');
});
