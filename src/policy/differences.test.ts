/** What findDifferences tells is what evaluate says before and after, flow by flow, and nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Flow } from '#model/verdict.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { addressFamily } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { createBook } from './book.ts';
import { type BookSketch, bookOf, bookSketches, flowsIn } from './compile/testing/books.ts';
import { showDecider } from './deciders.ts';
import { type Difference, findDifferences, type Side } from './differences.ts';
import { evaluate } from './evaluate.ts';
import { placesOf } from './reach/places.ts';
import { protocolName, showTraffic, type TrafficSpan } from './reach/traffic-spans.ts';
import { crowdedWorlds, plainFlow } from './reach/testing/worlds.ts';
import { makePolicy, makeRule } from './testing/rules.ts';
import { hostEndpoint, makeWorld } from './testing/world.ts';

const FLOWS = 6;

function covers(span: TrafficSpan, flow: Flow): boolean {
  const name = protocolName(flow.protocol);
  if (span.protocol === 'any') return true;
  if (span.protocol === 'other') return span.except?.includes(name) === false;
  const within = (range: readonly [number, number] | undefined, value: number | undefined): boolean =>
    range === undefined || (value !== undefined && range[0] <= value && value <= range[1]);
  return (
    span.protocol === name &&
    within(span.ports, flow.destinationPort) &&
    within(span.sourcePorts, flow.sourcePort) &&
    within(span.types, flow.icmp?.type) &&
    within(span.codes, flow.icmp?.code)
  );
}

function told(found: readonly Difference[], names: readonly [string, string], flow: Flow): string[] {
  const family = addressFamily(flow.source);
  return found
    .filter(({ sources, destinations }) => sources.includes(names[0]) && destinations.includes(names[1]))
    .flatMap(({ changes }) => changes)
    .filter((each) => each.families.includes(family) && each.traffic.some((span) => covers(span, flow)))
    .map(({ before, after }) => `${before} → ${after}`);
}

/** Some policies go, some come, and sometimes a pod gets other labels. */
const changes = fc.record({
  world: crowdedWorlds,
  sketch: bookSketches,
  other: bookSketches,
  keep: fc.nat(5),
  relabel: fc.boolean(),
  seed: fc.nat(1_000),
});

function sidesOf(world: PolicyWorld, [sketch, other]: readonly BookSketch[], keep: number): [Side, Side] {
  const kept = [...(sketch?.policies.slice(0, keep) ?? []), ...(other?.policies.slice(keep) ?? [])];
  const policies = [...new Map(kept.map((policy) => [policy.name, policy])).values()];
  const after = bookOf({ ...(sketch as BookSketch), policies });
  return [
    { book: bookOf(sketch as BookSketch), world },
    { book: after, world },
  ];
}

test('what is told is what changes', () => {
  const seen = new Map<string, number>();
  const cases = changes.chain((change) =>
    fc.record({
      change: fc.constant(change),
      flows: fc.array(flowsIn(change.world), { minLength: FLOWS, maxLength: FLOWS }),
    }),
  );
  fc.assert(
    fc.property(cases, ({ change: { world, sketch, other, keep, relabel }, flows }) => {
      const [before, { book }] = sidesOf(world, [sketch, other], keep);
      const [first, ...rest] = world.endpoints;
      const relabelled =
        relabel && first?.kind === 'pod' ? [{ ...first, labels: { app: 'b' } }, ...rest] : world.endpoints;
      const after = { book, world: { ...world, endpoints: relabelled } };
      const found = findDifferences(before, after);
      const places = placesOf([before, after]);
      const ends = flows.flatMap((flow) =>
        places
          .flatMap((to) => places.map((from) => ({ flow, from, to })))
          .filter((_, index) => index % 2 === 0),
      );
      for (const { flow, from, to } of ends) {
        const family = addressFamily(from.address);
        if (family !== addressFamily(to.address) || family !== addressFamily(flow.source)) continue;
        const moved = { ...plainFlow(flow), source: from.address, destination: to.address };
        const [was, now] = [before, after].map((side) => evaluate(side.book, side.world, moved).action);
        const expected = was === now ? [] : [`${was} → ${now}`];
        const isSame = from.name === to.name;
        seen.set(expected[0] ?? 'none', (seen.get(expected[0] ?? 'none') ?? 0) + 1);
        // A node may have a name for several addresses, and two pods one address.
        if (isSame) continue;
        assert.deepEqual(
          told(found, [from.name, to.name], moved),
          expected,
          JSON.stringify({ moved, from, to }),
        );
      }
    }),
    { numRuns: 120, endOnFailure: true },
  );
  for (const what of ['allow → deny', 'deny → allow', 'none'])
    assert.ok((seen.get(what) ?? 0) > 30, JSON.stringify([...seen]));
});

const world = makeWorld({
  pods: [
    { name: 'shop/web', labels: { app: 'web' } },
    { name: 'shop/db', labels: { app: 'db' } },
    { name: 'shop/cache', labels: { app: 'cache' } },
    { name: 'ops/probe' },
  ],
});
const app = (value: string) => ({ op: 'in', scope: 'own', key: 'app', values: [value] }) as const;
const db = makePolicy({
  kind: 'NetworkPolicy',
  name: 'shop/db',
  subjects: app('db'),
  isolates: { ingress: true, egress: false },
  ingress: [
    {
      ...makeRule('allow', {
        source: [{ kind: 'endpoints', selector: app('web') }],
        traffic: [{ kind: 'ports', end: 'destination', protocol: 6, ranges: [{ from: 5432, to: 5433 }] }],
      }),
      origin: { source: 'db.yaml', line: 9, path: 'spec.ingress.0' },
    },
  ],
  origin: { source: 'db.yaml', line: 2, path: '' },
});

function show(found: readonly Difference[]): string[] {
  return found.flatMap(({ sources, destinations, changes }) =>
    changes.map(
      ({ traffic, families, before, after, was, now }) =>
        `${sources.join()} → ${destinations.join()} ${showTraffic(traffic)} (${families.join()}): ${before} → ${after}, ` +
        `${showDecider(was)}; ${showDecider(now)}`,
    ),
  );
}

test('a policy that isolates, and its removal', () => {
  const none = { book: createBook({ policies: [] }), world };
  const some = { book: createBook({ policies: [db] }), world };
  const closed = 'selected by no policy; isolated by NetworkPolicy shop/db, db.yaml:2';
  assert.deepEqual(show(findDifferences(none, some)).sort(), [
    `elsewhere,node:a,ops/probe,shop/cache → shop/db all traffic (4,6): allow → deny, ${closed}`,
    `shop/web → shop/db tcp/0-5431,5434-65535, all but tcp (4,6): allow → deny, ${closed}`,
  ]);
  const opened = show(findDifferences(some, none));
  assert.ok(
    opened.every((line) =>
      line.endsWith('isolated by NetworkPolicy shop/db, db.yaml:2; selected by no policy'),
    ),
  );
  assert.deepEqual(findDifferences(some, { ...some, book: createBook({ policies: [{ ...db }] }) }), []);
});

test('a rule that comes is named with its line', () => {
  const [rule] = db.ingress;
  const closed = { book: createBook({ policies: [{ ...db, ingress: [] }] }), world };
  const open = {
    book: createBook({ policies: [{ ...db, ingress: rule === undefined ? [] : [rule] }] }),
    world,
  };
  assert.deepEqual(show(findDifferences(closed, open)), [
    'shop/web → shop/db tcp/5432-5433 (4,6): deny → allow, isolated by NetworkPolicy shop/db, db.yaml:2; ' +
      'decided by NetworkPolicy shop/db, db.yaml:9 spec.ingress.0',
  ]);
});

test('prefixes are places, but for what lies in smaller ones', () => {
  const traffic = [{ kind: 'family', family: 4 }] as const;
  const from = (...prefixes: string[]) => ({
    kind: 'prefixes' as const,
    prefixes: prefixes.map(prefix),
    except: [],
  });
  const policy = makePolicy({
    subjects: app('db'),
    isolates: { ingress: true, egress: false },
    ingress: [
      makeRule('deny', { source: [from('10.1.0.0/16')], traffic }),
      makeRule('allow', { source: [from('10.0.0.0/8', '0.0.0.0/0')], traffic }),
    ],
  });
  const found = findDifferences(
    { book: createBook({ policies: [] }), world },
    { book: createBook({ policies: [policy] }), world },
  );
  const four = found.filter(({ changes }) => changes.some(({ families }) => families.includes(4)));
  assert.deepEqual(
    four.flatMap(({ sources }) => sources),
    ['10.1.0.0/16'],
  );
});

test('nodes and host endpoints', () => {
  const guarded = {
    ...world,
    endpoints: [...world.endpoints, hostEndpoint('a-eth0', { interface: 'eth0' })],
  };
  const book = createBook({ policies: [] });
  const found = findDifferences({ book, world }, { book, world: guarded });
  const into = found.find(({ destinations }) => destinations.includes('node:a'));
  // On node a are shop/web and shop/cache: what stays on the node passes none of its interfaces.
  assert.deepEqual(into?.sources, ['elsewhere', 'node:b', 'ops/probe', 'shop/db']);
});

test('a node reaches its own pods and not others’, though all are judged alike', () => {
  const twins = makeWorld({ pods: ['x/1', 'x/2', 'x/3', 'x/4'].map((name) => ({ name })) });
  const policy = makePolicy({ isolates: { ingress: true, egress: false }, name: 'shut' });
  const found = findDifferences(
    { book: createBook({ policies: [] }), world: twins },
    { book: createBook({ policies: [policy] }), world: twins },
  );
  const toPods = found.map(({ sources, destinations }) => `${sources.join()} → ${destinations.join()}`);
  assert.deepEqual(toPods.sort(), [
    'elsewhere,x/1,x/2,x/3,x/4 → x/1,x/2,x/3,x/4',
    'node:a → x/2,x/4',
    'node:b → x/1,x/3',
  ]);
});
