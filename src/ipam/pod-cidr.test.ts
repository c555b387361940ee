import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressFrom } from '#net/address.ts';
import { prefix, prefixOf } from '#net/prefix.ts';
import { podCidrProblems, readPodCidrs } from './pod-cidr.ts';

const NODE = { spec: { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24', 'fd00:10:244:1::/64'] } };
const DUAL = { 4: { range: prefix('10.244.0.0/16') }, 6: { range: prefix('fd00:10:244::/48') } };

test('podCIDRs of both families; podCIDR where there is no list', () => {
  const both = { 4: '10.244.1.0/24', 6: 'fd00:10:244:1::/64' };
  assert.deepEqual(readPodCidrs(NODE), { subnets: both, problems: [] });
  assert.deepEqual(readPodCidrs({ spec: { podCIDR: '10.1.0.0/24' } }).subnets, { 4: '10.1.0.0/24' });
  for (const none of [undefined, null, {}, { spec: {} }, { spec: { podCIDR: '', podCIDRs: [] } }])
    assert.deepEqual(readPodCidrs(none), { subnets: {}, problems: [] });
});

test('all that is wrong is told, each at its path', () => {
  const { subnets, problems } = readPodCidrs({ spec: { podCIDRs: ['10.1.0.0/24', '10.2.0.0/24', 7, 'x'] } });
  assert.deepEqual(subnets, { 4: '10.1.0.0/24' });
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['spec.podCIDRs.1', 'spec.podCIDRs.2', 'spec.podCIDRs.3'],
  );
});

test('each family of the cluster’s needs a subnet within its range', () => {
  assert.deepEqual(podCidrProblems(readPodCidrs(NODE), DUAL), []);
  assert.deepEqual(podCidrProblems(readPodCidrs({}), DUAL), [
    'it has no IPv4 podCIDR yet',
    'it has no IPv6 podCIDR yet',
  ]);
  assert.deepEqual(podCidrProblems(readPodCidrs({ spec: { podCIDR: '10.9.0.0/24' } }), { 4: DUAL[4] }), [
    'its podCIDR 10.9.0.0/24 is outside the cluster’s 10.244.0.0/16',
  ]);
});

test('whatever a Node holds: no throw, and what is taken was there', () => {
  const cidr = fc.bigInt(0n, (1n << 32n) - 1n).map((value) => prefixOf(addressFrom(4, value), 24));
  const lists = fc.array(fc.oneof(cidr, fc.string(), fc.constant(null), fc.integer()), { maxLength: 4 });
  fc.assert(
    fc.property(lists, (podCIDRs) => {
      const { subnets, problems } = readPodCidrs({ spec: { podCIDRs } });
      assert.ok(subnets[4] === undefined || podCIDRs.includes(subnets[4]));
      assert.equal(Object.keys(subnets).length + problems.length, podCIDRs.length);
    }),
  );
});
