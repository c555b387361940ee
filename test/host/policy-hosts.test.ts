/**
 * Host endpoints in a node's kernel: random policies, compiled and loaded as deltas, judged by real packets to, from and
 * through the node.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import type { RuleBook } from '#model/policy.ts';
import type { Crossing, Flow } from '#model/verdict.ts';
import { endpointName, type PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { createCompiler } from '#policy/compile/compiler.ts';
import { simulate } from '#policy/compile/simulate.ts';
import { bookOf, bookSketches, flowsIn, worldOf } from '#policy/compile/testing/books.ts';
import { evaluate } from '#policy/evaluate.ts';
import { whyNoKernel } from './namespace.ts';
import { HostWire, NODE } from './policy-host-wire.ts';

const skip = whyNoKernel(['ip', 'sysctl', 'conntrack', 'nft']) ?? false;
const CASES = 40;
const FLOWS = 15;

let hosts: HostWire;
before(async () => {
  if (skip === false) hosts = await HostWire.make('pe');
});
after(() => {
  if (skip === false) hosts.close();
});

const isNode = (each: Address): boolean => NODE.includes(each);
const isPod = (each: Address): boolean => /^(?:10\.244\.0\.|fd00::)[123]$/.test(each);
const linkOf = (each: Address): string => (isPod(each) ? `tt${Number(each.at(-1)) - 1}` : 'eth0');

/** What the flow crosses on its way through node a, as its routes have it. */
function wayOf({ source, destination }: Flow): Crossing[] {
  const forwarded = !isNode(source) && !isNode(destination);
  const across = (direction: Crossing['direction'], far: Address): Crossing[] => {
    const crossing = { node: 'a', interface: linkOf(far), direction, forwarded };
    return [isPod(far) ? { ...crossing, toPod: true } : crossing];
  };
  return [
    ...(isNode(source) ? [] : across('ingress', source)),
    ...(isNode(destination) ? [] : across('egress', destination)),
  ];
}

/** Pods stay where their namespaces are: the first three on node a. */
function settle(world: PolicyWorld): PolicyWorld {
  let index = 0;
  const endpoints = world.endpoints.map((each) => {
    if (each.kind !== 'pod') return each;
    const node = index++ < 3 ? 'a' : 'b';
    return each.hostNetwork
      ? { ...each, node, addresses: world.nodes.get(node)?.addresses ?? [] }
      : { ...each, node };
  });
  return { ...world, endpoints };
}

const cases = fc.record({ world: worldOf.map(settle), sketch: bookSketches }).chain(({ world, sketch }) =>
  fc.record({
    world: fc.constant(world),
    sketch: fc.constant(sketch),
    flows: fc.array(
      flowsIn(world)
        .filter(isSendable)
        .map((flow): Flow => ({ ...flow, crossings: wayOf(flow) })),
      { minLength: FLOWS, maxLength: FLOWS },
    ),
  }),
);

function isSendable({ source, destination, before }: Flow): boolean {
  const here = (each: Address): boolean => isNode(each) || isPod(each);
  return before === undefined && source !== destination && (here(source) || here(destination));
}

/** What node a has to say. */
function evaluateHere(book: RuleBook, world: PolicyWorld, flow: Flow): 'allow' | 'deny' {
  const here = new Set(
    world.endpoints.flatMap((each) =>
      each.kind !== 'network-set' && each.node === 'a' ? [endpointName(each)] : [],
    ),
  );
  const { checks } = evaluate(book, world, flow);
  return checks.some(({ endpoint, action }) => here.has(endpoint) && action === 'deny') ? 'deny' : 'allow';
}

test('real packets meet what evaluate says, where they cross the node’s interfaces', { skip }, async (t) => {
  const seed = Number(process.env.SEED ?? randomBytes(4).readInt32LE());
  const compiler = createCompiler('a');
  const counts = new Map<string, number>();
  hosts.table.replacePolicy(compiler.program());
  for (const { world, sketch, flows } of fc.sample(cases, { numRuns: CASES, seed })) {
    const book = bookOf(sketch);
    const delta = compiler.update(book, world);
    if (delta !== undefined) hosts.table.loadPolicy(delta);
    hosts.check(compiler, `seed ${seed}`);
    const { program } = hosts.table.dumpPolicy();
    for (const flow of flows) {
      const expected = evaluateHere(book, world, flow);
      const { action, opinions } = simulate(program, flow, { node: 'a' });
      assert.equal(action, expected, `seed ${seed}: simulate on the dump`);
      for (const { at, direction, action } of opinions) {
        if (at === undefined) continue;
        const kind = `${at.scope} ${direction} ${action}`;
        counts.set(kind, (counts.get(kind) ?? 0) + 1);
      }
      const arrived = await hosts.begins(flow, expected);
      assert.equal(
        arrived ? 'allow' : 'deny',
        expected,
        `seed ${seed}: ${JSON.stringify({ flow, opinions })}`,
      );
    }
  }
  t.diagnostic(`seed ${seed}: ${JSON.stringify(Object.fromEntries(counts))}`);
  for (const scope of ['untracked', 'pre-dnat', 'local', 'forward'])
    assert.ok(
      [...counts.keys()].some((kind) => kind.startsWith(scope)),
      `${scope} occurs`,
    );
});
