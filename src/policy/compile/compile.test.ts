/** Compiled programs mean what evaluate says, however they came about. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RuleBook } from '#model/policy.ts';
import { POLICY_MAPS, type PolicyMapName, type PolicyProgram } from '#model/policy-program.ts';
import type { Check, Flow } from '#model/verdict.ts';
import { endpointName, type PolicyWorld } from '#model/workload.ts';
import { addressFamily } from '#net/address.ts';
import { createBook } from '../book.ts';
import { evaluate } from '../evaluate.ts';
import { crossingsOf } from '../hosts.ts';
import { manifestOf } from '#model/manifest.ts';
import { parsePolicy } from '../frontends/index.ts';
import { flows as manifestFlows, policySets, worlds } from '../testing/manifests.ts';
import { compile, createCompiler } from './compiler.ts';
import { diffProgram, isEmptyDelta } from './diff.ts';
import { type Opinion, simulate } from './simulate.ts';
import { bookOf, bookSketches, flowsIn, worldOf } from './testing/books.ts';

const FLOWS = 15;
type Note = (what: string) => void;

type Case = { readonly world: PolicyWorld; readonly programs: ReadonlyMap<string, PolicyProgram> };

/** Every node judges at its own pods and interfaces, as in a cluster. */
function judge({ world, programs }: Case, flow: Flow, note?: Note): 'allow' | 'deny' {
  let action: 'allow' | 'deny' = 'allow';
  const crossings = crossingsOf(world, flow);
  for (const [node, program] of programs) {
    const verdict = simulate(program, { ...flow, crossings }, { node });
    if (verdict.action === 'deny') action = 'deny';
    if (note !== undefined) for (const opinion of verdict.opinions) noteOpinion(program, opinion, note);
  }
  return action;
}

function noteOpinion(program: PolicyProgram, opinion: Opinion, note: Note): void {
  const { entry, rule, reason, at, direction, action } = opinion;
  note(`entry ${entry?.split(' ')[0]}`);
  if (at !== undefined) note(`${at.scope} ${direction} ${reason?.exempt ?? action}`);
  if (rule !== undefined) note('entry chain');
  for (const step of reason?.logs ?? []) {
    note('logged');
    assert.ok(
      [...program.logs.values()].some(({ origin }) => origin?.path === step.origin?.path),
      'what is logged can be read',
    );
  }
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
        const expected = evaluate(book, world, flow).action;
        noteCrossings(world, programs, flow, note);
        note(`flow ${flow.protocol} ${addressFamily(flow.source)} ${expected}`);
        assert.equal(judge({ world, programs }, flow, note), expected, JSON.stringify(flow));
      }
    }),
    { numRuns: 600 },
  );
  const count = (what: string): number => seen.get(what) ?? 0;
  const missing = EXPECTED.filter((what) => count(what) < 10);
  missing.push(...EXPECTED_OF_HOSTS.filter((what) => count(what) < 3));
  assert.deepEqual(missing, [], JSON.stringify(Object.fromEntries(seen)));
});

/** Where packets cross, and what classes of the host's own end led to. */
// eslint-disable-next-line max-params
function noteCrossings(world: PolicyWorld, programs: Case['programs'], flow: Flow, note: Note): void {
  for (const { node, interface: name, direction, forwarded, toPod } of crossingsOf(world, flow)) {
    const entries = programs.get(node)?.entries;
    const map = `${forwarded ? 'forward' : 'local'}-${direction}${addressFamily(flow.source)}`;
    const found = [name, '*'].find((each) => entries?.has(`${map} ${each}`));
    const how = `${forwarded ? 'forwarded' : 'local'} ${flow.before === undefined ? '' : 'after DNAT'}`;
    note(
      `crossing ${direction} ${how} ${toPod === true ? 'pod' : ''} ${found === '*' ? 'any' : (found ?? 'none')}`,
    );
  }
  for (const { entries } of programs.values())
    for (const key of entries.keys()) if (key.startsWith('place ')) note('place');
}

const EXPECTED_OF_HOSTS = [
  ...['untracked', 'pre-dnat', 'local', 'forward'].flatMap((scope) =>
    ['ingress', 'egress'].flatMap((direction) =>
      scope === 'pre-dnat' && direction === 'egress'
        ? []
        : [`${scope} ${direction} allow`, `${scope} ${direction} deny`],
    ),
  ),
  ...['ingress', 'egress'].flatMap((direction) => [
    `local ${direction} failsafe`,
    ...['local', 'forwarded'].flatMap((how) => [
      ...['eth0', 'any', 'none'].flatMap((name) => [
        `crossing ${direction} ${how}   ${name}`,
        `crossing ${direction} ${how} after DNAT  ${name}`,
      ]),
      `crossing ${direction} ${how}  pod any`,
    ]),
  ]),
  'place',
];

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
      for (const flow of flows)
        assert.equal(judge({ world, programs }, flow), evaluate(book, world, flow).action);
    }),
    { numRuns: 200 },
  );
});

test('the entry that decided names the rule that decided', () => {
  const cases = worldOf.chain((world) =>
    fc.record({
      world: fc.constant(world),
      sketch: bookSketches,
      flows: fc.tuple(flowsIn(world), flowsIn(world)),
    }),
  );
  const compared = { pod: 0, host: 0 };
  fc.assert(
    fc.property(cases, ({ world, sketch, flows }) => {
      const book = bookOf(sketch);
      const programs = compileAll(book, world);
      for (const given of flows) {
        const flow = { ...given, crossings: crossingsOf(world, given).slice(0, 1) };
        for (const check of evaluate(book, world, flow).checks) {
          const end = world.endpoints.find((each) => endpointName(each) === check.endpoint);
          if (end === undefined || end.kind === 'network-set' || check.exempt === 'self') continue;
          const { kind, node } = end;
          const program = programs.get(node);
          assert.ok(program !== undefined);
          const opinion = simulate(program, flow, { node }).opinions.find(
            ({ direction, at }) => direction === check.direction && (at === undefined) === (kind === 'pod'),
          );
          compared[kind] += compareReasons(check, opinion);
        }
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(compared.pod > 20 && compared.host > 20, JSON.stringify(compared));
});

/** How many rules were compared: 1, or 0 where none decided. */
function compareReasons({ trail, action, exempt, scope }: Check, opinion: Opinion | undefined): 0 | 1 {
  const last = trail.at(-1);
  const decided = ['allow', 'deny', 'redirect'].includes(last?.outcome ?? '') ? last : undefined;
  if (opinion === undefined) {
    assert.equal(decided, undefined);
    return 0;
  }
  assert.equal(opinion.action, action);
  if (scope !== undefined) assert.equal(opinion.at?.scope, scope);
  if (exempt !== undefined) assert.equal(opinion.reason?.exempt, exempt);
  if (exempt !== undefined || decided?.origin === undefined) return 0;
  assert.deepEqual(opinion.reason?.step?.origin, decided.origin);
  const logged = trail.filter(({ outcome }) => outcome === 'log').map(({ origin }) => origin);
  assert.deepEqual(
    opinion.reason?.logs.map(({ origin }) => origin),
    logged,
  );
  return 1;
}

test('from one state to the next is the same as from nothing, and deltas lead there', () => {
  const state = worldOf.chain((world) =>
    fc.record({
      world: fc.constant(world),
      sketch: bookSketches,
      keep: fc.nat(7),
      flows: fc.array(flowsIn(world), { minLength: FLOWS, maxLength: FLOWS }),
    }),
  );
  const states = fc.array(state, { minLength: 2, maxLength: 6 });
  fc.assert(
    fc.property(states, (states) => {
      const compiler = createCompiler('a');
      let loaded: PolicyProgram = {
        entries: new Map(),
        chains: new Map(),
        reasons: new Map(),
        logs: new Map(),
      };
      let now: State = states[0] as (typeof states)[number];
      let book = bookOf(now.sketch);
      for (const { world, sketch, keep, flows } of states) {
        now = mix(now, { world, sketch, keep });
        if (now.sketch === sketch || keep > 2) book = bookOf(now.sketch);
        loaded = apply(loaded, compiler.update(book, now.world));
        const program = compiler.program();
        const left = diffProgram(loaded, program);
        assert.ok(left !== undefined && isEmptyDelta(left), 'deltas lead to the program');
        assert.deepEqual(canonical(program), canonical(compile(book, now.world, { node: 'a' })));
        assert.equal(compiler.update(book, now.world), undefined);
        for (const flow of flows)
          assert.deepEqual(simulate(compiler.living, flow), simulate(program, flow), 'asked where it lives');
      }
    }),
    { numRuns: 120 },
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
  if (keep === 7) return { ...before, world: { ...before.world, names: after.world.names }, keep };
  if (keep === 6) return { ...before, world: changeHosts(before.world, after.world), keep };
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

function changeHosts(before: PolicyWorld, after: PolicyWorld): PolicyWorld {
  const endpoints = [
    ...before.endpoints.filter(({ kind }) => kind !== 'host'),
    ...after.endpoints.filter(({ kind }) => kind === 'host'),
  ];
  return { ...before, endpoints, failsafe: after.failsafe };
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
    const owner = /gress[46]$/.test(map) ? `subject ${value}` : kind;
    if (owner === undefined) continue;
    const text =
      type.value === 'verdict'
        ? `${map} ${key.split(' ').slice(2).join(' ')} ${chainText(chains.get(value)) ?? value} ${JSON.stringify(reasons.get(key))}`
        : key;
    groups.set(owner, [...(groups.get(owner) ?? []), text]);
  }
  const name = (owner: string): string => digest((groups.get(owner) ?? []).sort(byText).join('|'));
  const places = [...entries].flatMap(([key, value]) => {
    const [map, subject, peer, net] = key.split(' ');
    const text = `${name(`subject ${subject}`)} at ${name(`peer ${peer}`)} & ${name(`net ${net}`)}`;
    return map === 'place' ? [{ text, owner: `subject ${value}` }] : [];
  });
  for (const { text, owner } of places) groups.set(owner, [...(groups.get(owner) ?? []), text]);
  const programs = [...groups].filter(([owner]) => owner.startsWith('program')).map(([owner]) => name(owner));
  const pairs = [...entries].flatMap(([key, value]) => {
    const [map, subject, peer, net] = key.split(' ');
    if (map === 'alone') return [`alone ${name(`subject ${subject}`)} => ${name(`program ${value}`)}`];
    if (map !== 'pair') return [];
    return [
      `${name(`subject ${subject}`)} & ${name(`peer ${peer}`)} & ${name(`net ${net}`)} => ${name(`program ${value}`)}`,
    ];
  });
  const plain = [...entries.keys()].filter((key) => /^(?:peer|net)|gress[46] /.test(key));
  return {
    programs: programs.sort(byText),
    pairs: pairs.sort(byText),
    places: places.map(({ text }) => text).sort(byText),
    plain: plain.sort(byText),
    chains: [...chains]
      .map(([chain, rules]) => (rules.length === 0 ? chain : (chainText(rules) ?? '')))
      .toSorted(byText),
  };
}

/** Names stand in names of others: they would grow without end. */
const digest = (text: string): string => hash('sha1', text);
const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function chainText(
  rules: PolicyProgram['chains'] extends ReadonlyMap<string, infer T> ? T | undefined : never,
): string | undefined {
  return rules === undefined
    ? undefined
    : JSON.stringify(rules.map((rule) => ({ ...rule, log: rule.log !== undefined })));
}
