/** Kubernetes' NetworkPolicies, staged, and written as Calico's own: one meaning by three frontends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RuleBook } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { createBook } from './book.ts';
import { evaluate, podsAt } from './evaluate.ts';
import { manifestOf } from '#model/manifest.ts';
import { parseObject } from './frontends/index.ts';
import { asCalico } from './testing/kubernetes-as-calico.ts';
import { flows, type Json, networkPolicies, worlds } from './testing/manifests.ts';

const policies = fc
  .integer({ min: 1, max: 4 })
  .chain((count) => fc.tuple(...Array.from({ length: count }, (_, n) => networkPolicies(`n${n}`))));
const cases = worlds.chain((world) =>
  fc.record({
    world: fc.constant(world),
    policies,
    flows: fc.array(flows(world), { minLength: 8, maxLength: 8 }),
  }),
);

function bookOf(manifests: readonly Json[]): RuleBook {
  const parsed = manifests.map((value) => parseObject(manifestOf('m', value)));
  assert.deepEqual(
    parsed.flatMap(({ problems }) => problems),
    [],
    JSON.stringify(manifests),
  );
  return createBook({ policies: parsed.flatMap((each) => each.policies) });
}

const staged = (policy: Json): Json => ({
  ...policy,
  apiVersion: 'projectcalico.org/v3',
  kind: 'StagedKubernetesNetworkPolicy',
});

/** What only Kubernetes promises. */
function isToOwnNode(world: PolicyWorld, flow: Flow): boolean {
  return podsAt(world, flow.source).some(({ node }) =>
    world.nodes.get(node)?.addresses.includes(flow.destination),
  );
}

test('a NetworkPolicy of Kubernetes means the same written as Calico’s, and what it says when staged', () => {
  const seen = { allow: 0, deny: 0 };
  fc.assert(
    fc.property(cases, ({ world, policies, flows }) => {
      const [kubernetes, calico, preview] = [policies, policies.map(asCalico), policies.map(staged)].map(
        bookOf,
      );
      assert.ok(kubernetes !== undefined && calico !== undefined && preview !== undefined);
      for (const flow of flows) {
        const { action } = evaluate(kubernetes, world, flow);
        const { action: now, checks } = evaluate(preview, world, flow);
        const then = checks.every((check) => (check.pending ?? check).action === 'allow') ? 'allow' : 'deny';
        assert.deepEqual([now, then], ['allow', action]);
        if (isToOwnNode(world, flow)) continue;
        assert.equal(evaluate(calico, world, flow).action, action, JSON.stringify(flow));
        seen[action] += 1;
      }
    }),
    { numRuns: 500 },
  );
  assert.ok(seen.allow > 500 && seen.deny > 500, JSON.stringify(seen));
});
