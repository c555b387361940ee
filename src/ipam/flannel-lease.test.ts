import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Address } from '#net/address.ts';
import { claimsOfLeases, type FlannelEntry, readFlannelLeases } from './flannel-lease.ts';

const PREFIX = '/coreos.com/network/subnets';

/** Documentation/reservations.md of flannel, and the same of a cluster with both families. */
const DOCUMENTED: FlannelEntry = {
  key: `${PREFIX}/10.5.52.0-24`,
  value:
    '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
  isLeased: true,
};
const DUAL: FlannelEntry = {
  key: `${PREFIX}/10.5.1.0-24&fd00:5:1::-64`,
  value: JSON.stringify({
    PublicIP: '192.168.64.4',
    PublicIPv6: 'fd00:64::4',
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: 'c6:d2:32:6f:8f:45' },
    BackendV6Data: { VNI: 1, VtepMAC: 'c6:d2:32:6f:8f:46' },
  }),
  isLeased: true,
};
const RESERVATION: FlannelEntry = {
  key: `${PREFIX}/10.5.9.0-24`,
  value: '{"PublicIP":"192.168.64.9"}',
  isLeased: false,
};

test('leases and reservations as flannel documents them', () => {
  const { leases, problems } = readFlannelLeases([DOCUMENTED, DUAL, RESERVATION]);
  assert.deepEqual(problems, []);
  assert.deepEqual(leases, [
    {
      subnets: { 4: '10.5.52.0/24' },
      addresses: { 4: '192.168.64.3' },
      backend: 'vxlan',
      vtep: { 4: { vni: 1, mac: 'c6:d2:32:6f:8f:44' } },
      reserved: false,
    },
    {
      subnets: { 4: '10.5.1.0/24', 6: 'fd00:5:1::/64' },
      addresses: { 4: '192.168.64.4', 6: 'fd00:64::4' },
      backend: 'vxlan',
      vtep: { 4: { vni: 1, mac: 'c6:d2:32:6f:8f:45' }, 6: { vni: 1, mac: 'c6:d2:32:6f:8f:46' } },
      reserved: false,
    },
    { subnets: { 4: '10.5.9.0/24' }, addresses: { 4: '192.168.64.9' }, vtep: {}, reserved: true },
  ]);
  const nodes = new Map([
    ['192.168.64.3', 'node-c'],
    ['fd00:64::4', 'node-d'],
  ]);
  const { claims, problems: unknown } = claimsOfLeases(leases, (address: Address) => nodes.get(address));
  assert.deepEqual(Object.fromEntries(claims), {
    '10.5.52.0-24': { node: 'node-c', subnet: '10.5.52.0/24', reserved: false },
    '10.5.1.0-24': { node: 'node-d', subnet: '10.5.1.0/24', reserved: false },
    'fd00:5:1::-64': { node: 'node-d', subnet: 'fd00:5:1::/64', reserved: false },
  });
  assert.deepEqual(unknown, [
    { path: '10.5.9.0-24', message: 'no node is known with the address 192.168.64.9' },
  ]);
});

test('whatever stands there is a lease or a problem at its key', () => {
  const bad: [string, string][] = [
    ['10.5.1.1-24', '{"PublicIP":"1.2.3.4"}'],
    ['10.5.1.0-24&10.5.2.0-24', '{"PublicIP":"1.2.3.4"}'],
    ['fd00::-64', '{"PublicIP":"1.2.3.4"}'],
    ['config', '{"PublicIP":"1.2.3.4"}'],
    ['10.5.1.0-24', 'broken'],
    ['10.5.1.0-24', '[]'],
    ['10.5.1.0-24', '{}'],
    ['10.5.1.0-24', '{"PublicIP":"fd00::1"}'],
    ['10.5.1.0-24', '{"PublicIP":"1.2.3.4","PublicIPv6":7}'],
  ];
  for (const [name, value] of bad) {
    const { leases, problems } = readFlannelLeases([{ key: `${PREFIX}/${name}`, value, isLeased: true }]);
    assert.deepEqual(leases, [], `${name} ${value}`);
    assert.ok(problems.length > 0 && problems.every(({ path }) => path.startsWith(`${PREFIX}/${name}`)));
  }
  fc.assert(
    fc.property(fc.string(), fc.oneof(fc.json(), fc.string()), (key, value) => {
      const { leases, problems } = readFlannelLeases([{ key, value, isLeased: true }]);
      assert.equal(leases.length === 0, problems.length > 0);
    }),
  );
});

test('every subnet that flannel can write comes back', () => {
  const octet = fc.integer({ min: 0, max: 255 });
  fc.assert(
    fc.property(octet, octet, fc.boolean(), (a, b, isDual) => {
      const name = `10.${a}.${b}.0-24${isDual ? `&fd00:${Math.max(1, a * 256 + b).toString(16)}::-64` : ''}`;
      const value = JSON.stringify({
        PublicIP: `192.168.${a}.${b}`,
        PublicIPv6: null,
        BackendType: 'host-gw',
      });
      const { leases } = readFlannelLeases([{ key: `${PREFIX}/${name}`, value, isLeased: true }]);
      const { claims } = claimsOfLeases(leases, () => 'node');
      assert.deepEqual([...claims.keys()], name.split('&'));
    }),
  );
});
