/** A matrix says of each pair of pods what evaluate says, grouped or not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RuleBook } from '#model/policy.ts';
import type { Pod, PolicyWorld } from '#model/workload.ts';
import { bookOf, bookSketches, worldOf } from './compile/testing/books.ts';
import { evaluate } from './evaluate.ts';
import { flowsBetween, type Traffic } from './flow-text.ts';
import { buildMatrix, type Matrix, type Reach } from './matrix.ts';

const traffics: readonly (Traffic | undefined)[] = [
  { protocol: 6, port: 80 },
  { protocol: 17, port: 53 },
  { protocol: 'icmp' },
  { name: 'web' },
  undefined,
];

const nameOf = ({ namespace, name }: Pod): string => `${namespace}/${name}`;

function cellOf({ groups, reach }: Matrix, from: Pod, to: Pod): Reach['verdict'] | undefined {
  const indexOf = (pod: Pod): number => groups.findIndex((names) => names.includes(nameOf(pod)));
  return reach[indexOf(from)]?.[indexOf(to)]?.verdict;
}

/** Of all flows of the kind; without one, of some flow. */
function verdictOf(book: RuleBook, world: PolicyWorld, [from, to]: readonly [Pod, Pod], traffic?: Traffic) {
  const endOf = (pod: Pod) => ({ name: nameOf(pod), addresses: pod.addresses, pod });
  const flows = flowsBetween(endOf(from), endOf(to), traffic ?? { protocol: 6, port: 81 });
  if ('unclear' in flows) return 'none';
  const actions = new Set(flows.map((flow) => evaluate(book, world, flow).action));
  const [first] = actions;
  return actions.size === 1 ? first : 'some';
}

test('each cell is what evaluate says of its pairs', () => {
  const seen = new Map<string | undefined, number>();
  const property = fc.property(
    worldOf,
    bookSketches,
    fc.boolean(),
    fc.constantFrom(...traffics),
    (world, sketch, grouped, traffic) => {
      const book = bookOf(sketch);
      const pods = world.endpoints.filter((each): each is Pod => each.kind === 'pod');
      const options = traffic === undefined ? { grouped } : { grouped, traffic };
      const matrix = buildMatrix({ book, world }, pods, options);
      const pairs = pods.flatMap((from) => pods.filter((to) => to !== from).map((to) => [from, to] as const));
      for (const pair of pairs) {
        const cell = cellOf(matrix, ...pair);
        seen.set(cell, (seen.get(cell) ?? 0) + 1);
        // Of all traffic there may be some although this flow is not.
        if (traffic === undefined && cell === 'some') continue;
        assert.equal(cell, verdictOf(book, world, pair, traffic));
      }
    },
  );
  fc.assert(property, { numRuns: 200, endOnFailure: true });
  for (const verdict of ['allow', 'deny', 'some', 'none'])
    assert.ok((seen.get(verdict) ?? 0) > 20, JSON.stringify([...seen]));
});
