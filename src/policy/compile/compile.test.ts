/** Compiled programs mean what evaluate says, however they came about. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RuleBook } from '#model/policy.ts';
import { POLICY_MAPS, type PolicyMapName, type PolicyProgram } from '#model/policy-program.ts';
import type { Flow } from '#model/verdict.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { addressFamily } from '#net/address.ts';
import { createBook } from '../book.ts';
import { evaluate } from '../evaluate.ts';
import { manifestOf } from '#model/manifest.ts';
import { parsePolicy } from '../frontends/index.ts';
import { flows as manifestFlows, policySets, worlds } from '../testing/manifests.ts';
import { compile, createCompiler } from './compiler.ts';
import { diffProgram, isEmptyDelta } from './diff.ts';
import { simulate } from './simulate.ts';
import { bookOf, bookSketches, flowsIn, worldOf } from './testing/books.ts';

const FLOWS = 15;
type Note = (what: string) => void;

/** Every node judges at its own pods, as in a cluster. */
function judge(programs: ReadonlyMap<string, PolicyProgram>, flow: Flow, note?: Note): 'allow' | 'deny' {
  let action: 'allow' | 'deny' = 'allow';
  for (const program of programs.values()) {
    const verdict = simulate(program, flow);
    if (verdict.action === 'deny') action = 'deny';
    for (const { entry, rule, reason } of verdict.opinions) {
      note?.(`entry ${entry?.split(' ')[0]}`);
      if (rule !== undefined) note?.('entry chain');
      for (const step of reason?.logs ?? []) {
        note?.('logged');
        assert.ok(
          [...program.logs.values()].some(({ origin }) => origin?.path === step.origin?.path),
          'what is logged can be read',
        );
      }
    }
  }
  return action;
}

/** Host endpoints have a data plane of their own: only what is said of pods is compared. */
function evaluatePods(book: RuleBook, world: PolicyWorld, flow: Flow): 'allow' | 'deny' {
  const { checks } = evaluate(book, world, flow);
  return checks.some(({ endpoint, action }) => endpoint.startsWith('pod ') && action === 'deny')
    ? 'deny'
    : 'allow';
}

function compileAll(book: RuleBook, world: PolicyWorld): Map<string, PolicyProgram> {
  return new Map([...world.nodes.keys()].map((node) => [node, compile(book, world, { node })]));
}

test('simulate on a compiled program is what evaluate says, for all that rules can say', () => {
  const seen = new Map<string, number>();
  const note: Note = (what) => seen.set(what, (seen.get(what) ?? 0) + 1);
  const cases = worldOf.chain((world) =>
    fc.record({
      world: fc.constant(world),
      sketch: bookSketches,
      flows: fc.array(flowsIn(world), { minLength: FLOWS, maxLength: FLOWS }),
    }),
  );
  fc.assert(
    fc.property(cases, ({ world, sketch, flows }) => {
      const book = bookOf(sketch);
      const programs = compileAll(book, world);
      for (const text of JSON.stringify(sketch).match(/"(?:kind|op|action|entity|end)":"[^"]*"/g) ?? [])
        note(text);
      for (const flow of flows) {
        const expected = evaluatePods(book, world, flow);
        note(`flow ${flow.protocol} ${addressFamily(flow.source)} ${expected}`);
        assert.equal(judge(programs, flow, note), expected, JSON.stringify(flow));
      }
    }),
    { numRuns: 600 },
  );
  const missing = EXPECTED.filter((what) => (seen.get(what) ?? 0) < 10);
  assert.deepEqual(missing, [], JSON.stringify(Object.fromEntries(seen)));
});

const EXPECTED = [
  ...['endpoints', 'prefixes', 'nodes', 'entity', 'service', 'names'].map((kind) => `"kind":"${kind}"`),
  ...['family', 'protocol', 'ports', 'named-port', 'icmp'].map((kind) => `"kind":"${kind}"`),
  ...['and', 'or', 'not', 'has', 'in', 'contains', 'starts', 'ends'].map((op) => `"op":"${op}"`),
  ...['allow', 'deny', 'pass', 'log', 'redirect'].map((action) => `"action":"${action}"`),
  ...['own-node', 'cluster', 'world'].map((entity) => `"entity":"${entity}"`),
  ...['source', 'destination'].map((end) => `"end":"${end}"`),
  ...['port', 'ports', 'protocol', 'rest', 'chain'].map((entry) => `entry ${entry}`),
  ...['6 4', '6 6', '17 4', '17 6', '132 4', '132 6', '1 4', '58 6', '47 4'].flatMap((kind) =>
    ['allow', 'deny'].map((action) => `flow ${kind} ${action}`),
  ),
  'logged',
];

test('simulate on a compiled program is what evaluate says, for Kubernetes manifests', () => {
  const cases = worlds.chain((world) =>
    fc.record({
      world: fc.constant(world),
      manifests: policySets,
      flows: fc.array(manifestFlows(world), { minLength: FLOWS, maxLength: FLOWS }),
    }),
  );
  fc.assert(
    fc.property(cases, ({ world, manifests, flows }) => {
      const parsed = manifests.map((value, index) => parsePolicy(manifestOf(`m${index}`, value)));
      const book = createBook({ policies: parsed.flatMap(({ policies }) => policies) });
      const programs = compileAll(book, world);
      for (const flow of flows) assert.equal(judge(programs, flow), evaluatePods(book, world, flow));
    }),
    { numRuns: 200 },
  );
});

test('the entry that decided names the rule that decided', () => {
  const cases = worldOf.chain((world) =>
    fc.record({ world: fc.constant(world), sketch: bookSketches, flow: flowsIn(world) }),
  );
  let compared = 0;
  fc.assert(
    fc.property(cases, ({ world, sketch, flow }) => {
      const book = bookOf(sketch);
      const { checks } = evaluate(book, world, flow);
      for (const check of checks.filter(({ endpoint }) => endpoint.startsWith('pod '))) {
        const pod = world.endpoints.find(
          (each) =>
            `${each.kind} ${'namespace' in each ? each.namespace : ''}/${each.name}` === check.endpoint,
        );
        if (pod?.kind !== 'pod' || check.exempt === 'self') continue;
        const opinion = simulate(compile(book, world, { node: pod.node }), flow).opinions.find(
          ({ direction }) => direction === check.direction,
        );
        const last = check.trail.at(-1);
        const decided =
          last !== undefined && ['allow', 'deny', 'redirect'].includes(last.outcome) ? last : undefined;
        if (opinion === undefined) {
          assert.equal(decided, undefined);
          continue;
        }
        assert.equal(opinion.action, check.action);
        if (check.exempt !== undefined) assert.equal(opinion.reason?.exempt, check.exempt);
        else if (decided?.origin !== undefined) {
          compared += 1;
          assert.deepEqual(opinion.reason?.step?.origin, decided.origin);
          const logged = check.trail.filter(({ outcome }) => outcome === 'log').map(({ origin }) => origin);
          assert.deepEqual(
            opinion.reason?.logs.map(({ origin }) => origin),
            logged,
          );
        }
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(compared > 20, `only ${compared} compared`);
});

test('from one state to the next is the same as from nothing, and deltas lead there', () => {
  const states = fc.array(fc.record({ world: worldOf, sketch: bookSketches, keep: fc.nat(5) }), {
    minLength: 2,
    maxLength: 6,
  });
  fc.assert(
    fc.property(states, (states) => {
      const compiler = createCompiler('a');
      let loaded: PolicyProgram = {
        entries: new Map(),
        chains: new Map(),
        reasons: new Map(),
        logs: new Map(),
      };
      let now = states[0] as (typeof states)[number];
      let book = bookOf(now.sketch);
      for (const { world, sketch, keep } of states) {
        now = mix(now, { world, sketch, keep });
        if (now.sketch === sketch || keep > 2) book = bookOf(now.sketch);
        loaded = apply(loaded, compiler.update(book, now.world));
        const program = compiler.program();
        const left = diffProgram(loaded, program);
        assert.ok(left !== undefined && isEmptyDelta(left), 'deltas lead to the program');
        assert.deepEqual(canonical(program), canonical(compile(book, now.world, { node: 'a' })));
        assert.equal(compiler.update(book, now.world), undefined);
      }
    }),
    { numRuns: 250 },
  );
});

type State = {
  readonly world: PolicyWorld;
  readonly sketch: Parameters<typeof bookOf>[0];
  readonly keep: number;
};

/** Real changes are small: mostly one endpoint or one policy is another. */
function mix(before: State, after: State): State {
  const { keep } = after;
  if (keep === 0) return after;
  if (keep <= 2) return { ...before, world: changeEndpoint(before.world, after.world, keep), keep };
  const [replaced] = after.sketch.policies;
  const policies = [...before.sketch.policies.slice(keep - 3), ...(replaced === undefined ? [] : [replaced])];
  const unique = [...new Map(policies.map((policy) => [policy.name, policy])).values()];
  return { world: before.world, sketch: { ...before.sketch, policies: unique }, keep };
}

function changeEndpoint(before: PolicyWorld, after: PolicyWorld, at: number): PolicyWorld {
  const [fresh] = after.endpoints;
  const endpoints = [...before.endpoints];
  if (fresh === undefined || at >= endpoints.length)
    return { ...before, services: after.services, names: after.names };
  const old = endpoints[at];
  // The address stays with its place, so that no two pods share one.
  endpoints[at] =
    fresh.kind === 'pod' && old?.kind === 'pod'
      ? { ...fresh, addresses: old.addresses, hostNetwork: old.hostNetwork }
      : (old ?? fresh);
  return { ...before, endpoints };
}

function apply(program: PolicyProgram, delta: ReturnType<typeof diffProgram>): PolicyProgram {
  if (delta === undefined) return program;
  const entries = new Map(program.entries);
  for (const [key, { was, value }] of delta.entries) {
    assert.equal(entries.get(key), was, key);
    if (value === undefined) entries.delete(key);
    else entries.set(key, value);
  }
  const chains = new Map(program.chains);
  for (const name of delta.removeChains) assert.ok(chains.delete(name));
  for (const [name, rules] of delta.addChains) chains.set(name, rules);
  return { entries, chains, reasons: new Map(), logs: new Map() };
}

/** With every number replaced by what it stands for. */
function canonical({ entries, chains, reasons }: PolicyProgram): unknown {
  const groups = new Map<string, string[]>();
  for (const [key, value] of entries) {
    const [map = '', first = ''] = key.split(' ');
    const type = POLICY_MAPS[map as PolicyMapName];
    const kind =
      type.value === 'verdict'
        ? `program ${first}`
        : /^(?:peer|net)/.test(map)
          ? `${map.slice(0, -1)} ${value}`
          : undefined;
    const owner = /^(?:e|in)gress/.test(map) ? `subject ${value}` : kind;
    if (owner === undefined) continue;
    const text =
      type.value === 'verdict'
        ? `${map} ${key.split(' ').slice(2).join(' ')} ${chainText(chains.get(value)) ?? value} ${JSON.stringify(reasons.get(key))}`
        : key;
    groups.set(owner, [...(groups.get(owner) ?? []), text]);
  }
  const name = (owner: string): string => (groups.get(owner) ?? []).sort(byText).join('|');
  const programs = [...groups].filter(([owner]) => owner.startsWith('program')).map(([owner]) => name(owner));
  const pairs = [...entries].flatMap(([key, value]) => {
    const [map, subject, peer, net] = key.split(' ');
    if (map === 'alone') return [`alone ${name(`subject ${subject}`)} => ${name(`program ${value}`)}`];
    if (map !== 'pair') return [];
    return [
      `${name(`subject ${subject}`)} & ${name(`peer ${peer}`)} & ${name(`net ${net}`)} => ${name(`program ${value}`)}`,
    ];
  });
  const plain = [...entries.keys()].filter((key) => /^(?:peer|net|egress|ingress)/.test(key));
  return {
    programs: programs.sort(byText),
    pairs: pairs.sort(byText),
    plain: plain.sort(byText),
    chains: [...chains.values()].map((rules) => chainText(rules) ?? '').toSorted(byText),
  };
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function chainText(
  rules: PolicyProgram['chains'] extends ReadonlyMap<string, infer T> ? T | undefined : never,
): string | undefined {
  return rules === undefined
    ? undefined
    : JSON.stringify(rules.map((rule) => ({ ...rule, log: rule.log !== undefined })));
}
