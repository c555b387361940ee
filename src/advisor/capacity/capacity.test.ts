import assert from 'node:assert/strict';
import { test } from 'node:test';
import { capacityOf, nodeSubnets, podsInSubnet, podsOnInstance } from './capacity.ts';
import { parseInstances } from './instances.ts';

const TABLE = parseInstances(
  '# comment\n3 10 nitro m5:large c5:large\n3 10 xen m4:large\n15 50 nitro m5:24xlarge c5:18xlarge\n',
);
const limitsOf = (type: string) => TABLE.get(type) ?? assert.fail(type);

test('AWS’s own formula and table: interfaces × (addresses − 1) + 2', () => {
  assert.equal(podsOnInstance(limitsOf('m5.large'), false), 29);
  assert.equal(podsOnInstance(limitsOf('c5.18xlarge'), false), 737);
  assert.equal(podsOnInstance(limitsOf('m5.large'), true), 434);
});

test('DaemonSets are taken off, as the notes of 2020 have it: m5.large 25', () => {
  const lines = capacityOf({
    rangeLength: 16,
    subnetLength: 24,
    daemonSets: 4,
    instance: limitsOf('m5.large'),
    price: 66.5,
  });
  const amounts = new Map(lines.map(({ what, amount }) => [what, amount]));
  assert.equal(amounts.get('pods on m5.large with single addresses'), 25);
  assert.equal(amounts.get('price of one of the pods on m5.large with single addresses'), 2.66);
  assert.equal(amounts.get('price of one of the pods on m5.large with prefixes'), 0.6);
});

test('no prefixes but on nitro and bare metal', () => {
  const lines = capacityOf({
    rangeLength: 16,
    subnetLength: 24,
    daemonSets: 0,
    instance: limitsOf('m4.large'),
  });
  assert.ok(!lines.some(({ what }) => what.includes('prefixes')));
});

test('subnets: 255 of a /16 of /24, each with 253 addresses', () => {
  assert.equal(nodeSubnets(16, 24), 255);
  assert.equal(podsInSubnet(24), 253);
  assert.equal(podsInSubnet(31), 0);
});

test('what is asked for is compared: 60 nodes are too many for routes of AWS, 5,000 for a full mesh', () => {
  const enough = (nodes: number, what: string) =>
    capacityOf({ rangeLength: 8, subnetLength: 24, nodes, daemonSets: 0 }).find((line) =>
      line.what.includes(what),
    )?.enough;
  assert.equal(enough(50, 'AWS'), true);
  assert.equal(enough(60, 'AWS'), false);
  assert.equal(enough(100, 'full mesh'), true);
  assert.equal(enough(5000, 'full mesh'), false);
  assert.equal(enough(65_536, 'nodes with a subnet'), false);
});
