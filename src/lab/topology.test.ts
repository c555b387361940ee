import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkName, type LabShape, lans, netnsName, nodePlaces } from './topology.ts';

const shape = fc.record({
  name: fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,40}$/),
  nodes: fc.integer({ min: 1, max: 100 }),
  subnets: fc.constantFrom<1 | 2>(1, 2),
}) satisfies fc.Arbitrary<LabShape>;

test('addresses, ports and namespaces are unique, and each node is on a subnet that exists', () => {
  fc.assert(
    fc.property(shape, (shape) => {
      const places = nodePlaces(shape);
      assert.equal(places.length, shape.nodes);
      for (const pick of ['netns', 'port', 'name'] as const) {
        assert.equal(new Set(places.map((place) => place[pick])).size, shape.nodes);
      }
      for (const family of [4, 6] as const) {
        const all = [
          ...places.map((place) => place.addresses[family]),
          ...lans(shape).map((lan) => lan.gateways[family]),
        ];
        assert.equal(new Set(all).size, all.length);
        for (const { lan, addresses } of places) {
          const gateway = lans(shape)[lan]?.gateways[family] ?? '';
          assert.equal(addresses[family].replace(/[^.:]+$/, ''), gateway.replace(/[^.:]+$/, ''));
        }
      }
    }),
  );
});

test('with three nodes on two subnets, two are neighbours and one is behind the router', () => {
  const places = nodePlaces({ name: 'x', nodes: 3, subnets: 2 });
  assert.deepEqual(
    places.map(({ lan }) => lan),
    [0, 0, 1],
  );
});

test('no lab’s namespaces are taken for another’s', () => {
  const name = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,8}$/);
  fc.assert(
    fc.property(name, name, name, (a, b, of) => {
      fc.pre(a !== b);
      assert.ok(!netnsName(a, of).startsWith(netnsName(b, '')));
    }),
  );
});

test('names that could leave a directory or another lab are refused', () => {
  for (const bad of ['', '.', '..', 'a/b', 'a.b', 'A', '-a', 'a'.repeat(42)]) {
    assert.throws(() => checkName('lab', bad), { code: 'settings-invalid' }, bad);
  }
});
