/** A Judge says of every flow between every two addresses what evaluate says, end by end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { address } from '#net/address.ts';
import { bookOf, bookSketches, flowsIn } from '../compile/testing/books.ts';
import { STRANGERS } from '../compile/testing/sets.ts';
import { evaluate } from '../evaluate.ts';
import { Judge } from './judge.ts';
import { Library } from './library.ts';
import { crowdedWorlds, plainFlow } from './testing/worlds.ts';

const FLOWS = 12;
test('a judge says of every flow what evaluate says', () => {
  const seen = new Map<string, number>();
  const cases = crowdedWorlds.chain((world) =>
    fc.record({
      world: fc.constant(world),
      sketch: bookSketches,
      flows: fc.array(flowsIn(world), { minLength: FLOWS, maxLength: FLOWS }),
    }),
  );
  fc.assert(
    fc.property(cases, ({ world, sketch, flows }) => {
      const book = bookOf(sketch);
      const judge = new Judge(book, world, new Library());
      for (const flow of flows.map(plainFlow)) {
        const { action, checks } = evaluate(book, world, flow);
        assert.equal(judge.actionOf(flow), action, JSON.stringify(flow));
        for (const { endpoint } of checks) {
          const what = `${endpoint.split(' ')[0]} ${flow.protocol} ${action}`;
          seen.set(what, (seen.get(what) ?? 0) + 1);
        }
      }
    }),
    { numRuns: 500 },
  );
  const wanted = ['pod', 'host'].flatMap((kind) =>
    [6, 17, 132, 1, 47].flatMap((protocol) => [`${kind} ${protocol} allow`, `${kind} ${protocol} deny`]),
  );
  assert.deepEqual(
    wanted.filter((what) => (seen.get(what) ?? 0) < 10),
    [],
    JSON.stringify(Object.fromEntries(seen)),
  );
});

test('addresses of one kind are judged alike', () => {
  let compared = 0;
  const cases = crowdedWorlds.chain((world) =>
    fc.record({
      world: fc.constant(world),
      sketch: bookSketches,
      flows: fc.array(flowsIn(world), { minLength: 6, maxLength: 6 }),
    }),
  );
  const nowhere = [...STRANGERS, address('203.0.113.8'), address('198.51.100.2')];
  fc.assert(
    fc.property(cases, ({ world, sketch, flows }) => {
      const book = bookOf(sketch);
      const judge = new Judge(book, world, new Library());
      const places = [
        ...world.endpoints.flatMap((each) => (each.kind === 'network-set' ? [] : each.addresses)),
        ...nowhere,
      ];
      for (const flow of flows.map(plainFlow)) {
        for (const other of places) {
          const isSameKind = judge.kindOf(other) === judge.kindOf(flow.source);
          if (!isSameKind || other.includes(':') !== flow.source.includes(':')) continue;
          if (
            judge.relationOf([other, flow.destination]) !== judge.relationOf([flow.source, flow.destination])
          )
            continue;
          compared += other === flow.source ? 0 : 1;
          const moved = { ...flow, source: other };
          assert.equal(evaluate(book, world, moved).action, evaluate(book, world, flow).action);
        }
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(compared > 300, `only ${compared} compared`);
});
