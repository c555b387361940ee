/** Expectations: what is wrong with them is told at its line, and they hold exactly when evaluate says so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createBook } from './book.ts';
import { bookOf, bookSketches, worldOf } from './compile/testing/books.ts';
import { evaluate } from './evaluate.ts';
import { findEnds, readExpectations } from './expectations.ts';
import { SOURCE_PORT } from './flow-text.ts';
import { failureLines, runExpectations, writeJunit } from './test-run.ts';
import { makePolicy, makeRule } from './testing/rules.ts';
import { makeFlow, makeWorld } from './testing/world.ts';

const world = makeWorld({
  pods: [
    { name: 'shop/web-1', labels: { app: 'web' } },
    { name: 'shop/web-2', labels: { app: 'web' } },
    { name: 'shop/db', labels: { app: 'db' }, ports: [{ name: 'pg', protocol: 6, port: 5432 }] },
    { name: 'ops/probe' },
  ],
});

function read(text: string) {
  const { expectations, problems } = readExpectations('e.yaml', text);
  assert.deepEqual(problems, []);
  return expectations;
}

test('every problem at its line', () => {
  const text = `- from: a/b
  to: c/d
  ports: [80, 70000, x/y]
  expect: maybe
- form: a/b
  to: []
  ports: []
  families: [5]
  expect: allow
- from: { outside: here }
  to: { namespace: 1 }
  ports: [1]
`;
  const { expectations, problems } = readExpectations('e.yaml', text);
  assert.deepEqual(expectations, []);
  const lines = problems.map(({ path, message }) => `${path}: ${message}`);
  const wanted = [
    'e.yaml:3 0.ports.1: 70000 is not a port (1–65535)',
    'e.yaml:3 0.ports.2: y is none of tcp, udp, sctp, udplite',
    'e.yaml:4 0.expect: must be allow or deny',
    'e.yaml:5 1.form: unknown field',
    'e.yaml:5 1.from: is missing',
    'e.yaml:6 1.to: must name at least one place',
    'e.yaml:7 1.ports: must name at least one port',
    'e.yaml:8 1.families.0: must be 4 or 6',
    'e.yaml:10 2.from.0: must be a place',
    'e.yaml:11 2.to.0: must be a place',
    'e.yaml:10 2.expect: is missing',
  ];
  for (const each of wanted)
    assert.ok(
      lines.some((line) => line.startsWith(each)),
      `${each} of ${lines.join('\n')}`,
    );
  assert.equal(lines.length, wanted.length, lines.join('\n'));
  assert.equal(readExpectations('e.yaml', '').problems.length, 1);
  assert.match(readExpectations('e.yaml', 'a: 1').problems[0]?.message ?? '', /list of cases/);
  assert.equal(readExpectations('e.yaml', '- [').problems[0]?.path.startsWith('e.yaml:1'), true);
});

test('places stand for pods, nodes and addresses', () => {
  const names = (...places: Parameters<typeof findEnds>[1]): unknown => {
    const ends = findEnds(world, places);
    return typeof ends === 'string' ? ends : ends.map(({ name }) => name);
  };
  assert.deepEqual(names('shop/web-*'), ['shop/web-1', 'shop/web-2']);
  assert.deepEqual(names('*'), ['shop/web-1', 'shop/web-2', 'shop/db', 'ops/probe']);
  assert.deepEqual(names('*/db', 'shop/db'), ['shop/db']);
  assert.deepEqual(names({ labels: { app: 'web' } }), ['shop/web-1', 'shop/web-2']);
  assert.deepEqual(names({ namespace: 'ops' }), ['ops/probe']);
  assert.deepEqual(names('node:*'), ['node:a', 'node:b']);
  assert.deepEqual(names({ outside: '203.0.113.9' }), ['203.0.113.9']);
  assert.equal(names('shop/w.b*'), 'shop/w.b* matches nothing');
  assert.equal(names({ labels: { toString: 'x' } }), '*/* toString=x matches nothing');
});

const db = makePolicy({
  kind: 'NetworkPolicy',
  name: 'shop/db',
  subjects: { op: 'in', scope: 'own', key: 'app', values: ['db'] },
  isolates: { ingress: true, egress: false },
  ingress: [
    makeRule('allow', {
      source: [{ kind: 'endpoints', selector: { op: 'in', scope: 'own', key: 'app', values: ['web'] } }],
      traffic: [{ kind: 'ports', end: 'destination', protocol: 6, ranges: [{ from: 5432, to: 5432 }] }],
    }),
  ],
});

test('cases hold or fail, each flow of them judged', () => {
  const view = { book: createBook({ policies: [db] }), world };
  const results = runExpectations(
    view,
    read(`
- { name: web, from: shop/web-*, to: shop/db, ports: [5432, pg], expect: allow }
- { from: '*', to: shop/db, ports: [5432], families: [4], expect: deny }
- { from: nobody/*, to: shop/db, ports: [5432], expect: deny }
- { from: shop/db, to: shop/db, ports: [5432], expect: allow }
- { from: shop/web-1, to: ops/*, ports: [none], expect: allow }
`),
  );
  assert.deepEqual(
    results.map(({ name, ok, flows, failed }) => [name, ok, flows, failed]),
    [
      ['web', true, 8, 0],
      ['* → shop/db', false, 3, 2],
      ['nobody/* → shop/db', false, 0, 0],
      ['shop/db → shop/db', false, 0, 0],
      ['shop/web-1 → ops/*', false, 0, 0],
    ],
  );
  assert.match(
    failureLines(results[1] as never)[0] ?? '',
    /^shop\/web-1 → shop\/db tcp\/5432 \(IPv4\): expected deny, got allow$/,
  );
  assert.deepEqual(failureLines(results[4] as never), ['ops/probe has no port none']);
});

test('staged policies only where they are asked for', () => {
  const view = { book: createBook({ policies: [{ ...db, staged: 'set' }] }), world };
  const text = (staged: boolean): string =>
    `- { from: ops/probe, to: shop/db, ports: [5432], expect: deny, staged: ${staged} }`;
  assert.deepEqual(
    [true, false].map((staged) => runExpectations(view, read(text(staged)))[0]?.ok),
    [true, false],
  );
});

test('expectations hold exactly when evaluate says so', () => {
  const seen = { allow: 0, deny: 0 };
  fc.assert(
    fc.property(worldOf, bookSketches, fc.constantFrom(4, 6), (world, sketch, family) => {
      const book = bookOf(sketch);
      const [first, second] = world.endpoints.filter((each) => each.kind === 'pod' && !each.hostNetwork);
      if (first?.kind !== 'pod' || second?.kind !== 'pod') return;
      const names = [first, second].map((each) => `${each.namespace}/${each.name}`) as [string, string];
      // Rules may ask for the port of the source, which an expectation does not name.
      const flow = { ...makeFlow(world, names, 'tcp/80', family), sourcePort: SOURCE_PORT };
      const { action } = evaluate(book, world, flow);
      seen[action] += 1;
      const expectations = (['allow', 'deny'] as const).flatMap((expect) =>
        read(
          `- { from: ${names[0]}, to: ${names[1]}, ports: [80], families: [${family}], expect: ${expect} }`,
        ),
      );
      const held = runExpectations({ book, world }, expectations).map(({ ok }) => ok);
      assert.deepEqual(held, [action === 'allow', action === 'deny']);
    }),
    { numRuns: 300, endOnFailure: true },
  );
  assert.ok(seen.allow > 0 && seen.deny > 0, JSON.stringify(seen));
});

test('JUnit is XML whatever names say', () => {
  const about = { origin: 'e.yaml:1', expect: 'allow', flows: 0, failures: [], failed: 0 } as const;
  const text = writeJunit('s', [
    { ...about, name: `a"b'<c>&\u0000\u001B\uFFFFé😀`, ok: true },
    { ...about, name: 'x', ok: false, problem: ']]> & <' },
  ]);
  assert.ok(text.includes('name="a&quot;b&apos;&lt;c&gt;&amp;\uFFFD\uFFFD\uFFFDé😀"'));
  assert.ok(text.includes('<failure message="]]&gt; &amp; &lt;">]]&gt; &amp; &lt;</failure>'));
  assert.match(text, /tests="2" failures="1"/);
});
