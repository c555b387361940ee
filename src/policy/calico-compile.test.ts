/** Random manifests of Calico's kinds, compiled: the program means what evaluate says of pods and host endpoints. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createBook } from './book.ts';
import { compile } from './compile/compiler.ts';
import { simulate } from './compile/simulate.ts';
import { evaluate } from './evaluate.ts';
import { parseObject } from './frontends/index.ts';
import { manifestOf } from '#model/manifest.ts';
import { gatherObjects } from './gather.ts';
import { crossingsOf } from './hosts.ts';
import { calicoSets, calicoThings } from './testing/calico-manifests.ts';
import { calicoFlows, calicoWorlds } from './testing/calico-worlds.ts';

const cases = calicoWorlds.chain((world) =>
  fc.record({
    world: fc.constant(world),
    manifests: fc.tuple(calicoThings, calicoSets).map((kinds) => kinds.flat()),
    flows: fc.array(calicoFlows(world), { minLength: 10, maxLength: 10 }),
  }),
);

test('simulate on a compiled program is what evaluate says, for Calico’s manifests', () => {
  const seen = { allow: 0, deny: 0 };
  fc.assert(
    fc.property(cases, ({ world: bare, manifests, flows }) => {
      const parsed = manifests.map((value, n) => parseObject(manifestOf(`m${n}`, value)));
      const { endpoints, ...parts } = gatherObjects(new Map(parsed.map((each, n) => [`m${n}`, each])));
      const [book, world] = [createBook(parts), { ...bare, endpoints: [...bare.endpoints, ...endpoints] }];
      const programs = [...world.nodes.keys()].map((node) => [node, compile(book, world, { node })] as const);
      for (const flow of flows) {
        const expected = evaluate(book, world, flow).action;
        const crossings = crossingsOf(world, flow);
        const all = programs.map(
          ([node, program]) => simulate(program, { ...flow, crossings }, { node }).action,
        );
        assert.equal(all.includes('deny') ? 'deny' : 'allow', expected, JSON.stringify(flow));
        seen[expected] += 1;
      }
    }),
    { numRuns: 600 },
  );
  assert.ok(seen.allow > 300 && seen.deny > 300, JSON.stringify(seen));
});
