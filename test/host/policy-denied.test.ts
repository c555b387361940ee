/** How denied packets end: dropped, audited or only staged, in both families and for whatever denied them. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import { openPolicy, type PolicyOptions, type PolicyTable } from '#kernel/nftables/policy/policy.ts';
import type { Direction, Policy, RuleBook } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import type { Family } from '#net/address.ts';
import { createBook } from '#policy/book.ts';
import { compile } from '#policy/compile/compiler.ts';
import { diffProgram, isEmptyDelta } from '#policy/compile/diff.ts';
import { simulate } from '#policy/compile/simulate.ts';
import { makePolicy, makeRule } from '#policy/testing/rules.ts';
import { makeFlow, makeWorld } from '#policy/testing/world.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { carries, firstPacket, makeWire, stationOf, type Wire } from './policy-wire.ts';

const skip = whyNoKernel(['ip', 'sysctl', 'conntrack', 'nft']) ?? false;
/** How long a packet that must not arrive is waited for. */
const GRACE_MS = 60;
const TOLD = { logPerSecond: 100, audit: false };

let wire: Wire;

before(async () => {
  if (skip !== false) return;
  await ready;
  wire = await makeWire('pfd');
});
after(() => {
  if (skip === false) wire.remove();
});

const world = makeWorld({ pods: ['shop/a', 'shop/b', 'shop/c'].map((name) => ({ name, node: 'a' })) });
const programOf = (...policies: Policy[]): ReturnType<typeof compile> =>
  compile(createBook({ policies }), world, { node: 'a' });
const isolating = (way: Direction): Partial<Policy> => ({
  isolates: { ingress: way === 'ingress', egress: way === 'egress' },
});
const ports = { kind: 'ports', end: 'source', ranges: [{ from: 40_000, to: 40_000 }] } as const;

/** Everything that can deny: an entry of a map, in either direction, and a rule of a chain. */
const DENYING: Readonly<Record<string, Policy>> = {
  'egress by an entry': makePolicy(isolating('egress')),
  'ingress by an entry': makePolicy(isolating('ingress')),
  'by a chain': makePolicy({
    ...isolating('ingress'),
    ingress: [makeRule('deny', { traffic: [ports] }), makeRule('allow')],
  }),
  'by a chain that logs': makePolicy({
    ...isolating('egress'),
    egress: [makeRule('log'), makeRule('deny', { traffic: [ports] }), makeRule('allow')],
  }),
};

function open(t: { after(work: () => void): void }, options: PolicyOptions = {}): PolicyTable {
  const netns = openNetns(wire.node.path);
  const table = inNetns(netns, () => openPolicy(options));
  closeSync(netns);
  t.after(() => {
    table.removePolicy();
    table.close();
  });
  return table;
}

const flowOf = (family: Family, kind = 'tcp/80'): Flow => makeFlow(world, ['shop/a', 'shop/b'], kind, family);

async function arrives(flow: Flow): Promise<boolean> {
  const token = randomBytes(8);
  const [from, to] = [stationOf(wire, flow.source), stationOf(wire, flow.destination)];
  assert.ok(from !== 'node' && to !== 'node');
  await wire.node.run(['conntrack', '-F']);
  to.take();
  from.send(firstPacket(flow, token));
  const came = (): boolean => to.take().some((packet) => carries(packet, token));
  return waitFor('the packet', came, GRACE_MS).catch(() => false);
}

for (const [what, policy] of Object.entries(DENYING)) {
  for (const family of [4, 6] as const) {
    test(`denied ${what}, IPv${family}: dropped, or passes where it is audited`, { skip }, async (t) => {
      const table = open(t, { denial: TOLD });
      table.replacePolicy(programOf(policy));
      assert.ok(!(await arrives(flowOf(family))), 'dropped, though nobody listens');
      table.changeDenial({ ...TOLD, audit: true });
      assert.ok(await arrives(flowOf(family)), 'audited');
      table.changeDenial({ logPerSecond: 0, audit: false });
      assert.ok(!(await arrives(flowOf(family))), 'dropped again');
    });
  }
}

test(
  'what happens to denied packets changes without the entries and what they counted',
  { skip },
  async (t) => {
    const table = open(t, { denial: TOLD });
    const program = programOf(makePolicy(isolating('ingress')));
    table.replacePolicy(program);
    const entry = simulate(program, flowOf(4)).opinions.find(({ action }) => action === 'deny')?.entry ?? '';
    for (const [sent, audit] of [false, true, false].entries()) {
      table.changeDenial({ ...TOLD, audit });
      assert.equal(await arrives(flowOf(4)), audit);
      const { program: dumped, counts, intact } = table.dumpPolicy();
      assert.ok(intact);
      const left = diffProgram(dumped, program);
      assert.ok(left !== undefined && isEmptyDelta(left));
      assert.equal(counts.get(entry)?.packets, BigInt(sent + 1));
    }
  },
);

test('it can be said before there is a table', { skip }, async (t) => {
  const table = open(t);
  table.changeDenial({ logPerSecond: 10, audit: true });
  table.replacePolicy(programOf(makePolicy(isolating('ingress'))));
  assert.ok(table.dumpPolicy().intact);
  assert.ok(await arrives(flowOf(4)));
});

const staging = (): RuleBook =>
  createBook({
    policies: [
      makePolicy({ name: 'closed', ...isolating('egress'), egress: [makeRule('allow')] }),
      makePolicy({ name: 'closed', ...isolating('egress'), staged: 'set' }),
    ],
  });

test('the staged table drops nothing, and lets nothing pass that is denied', { skip }, async (t) => {
  const book = staging();
  assert.ok(book.pending !== undefined);
  const pending = compile({ ...book, enforced: book.pending }, world, { node: 'a' });
  const [enforced, staged] = [open(t, { denial: TOLD }), open(t, { table: 'staged', denial: TOLD })];
  enforced.replacePolicy(compile(book, world, { node: 'a' }));
  staged.replacePolicy(pending);
  assert.equal(simulate(pending, flowOf(4)).action, 'deny');
  for (const family of [4, 6] as const) assert.ok(await arrives(flowOf(family)), `IPv${family}`);
  const entry = simulate(pending, flowOf(4)).opinions[0]?.entry ?? '';
  assert.equal(staged.dumpPolicy().counts.get(entry)?.packets, 2n, 'it was asked of both');
  enforced.replacePolicy(programOf(makePolicy(isolating('ingress'))));
  for (const family of [4, 6] as const) assert.ok(!(await arrives(flowOf(family))), `IPv${family}`);
  staged.removePolicy();
  assert.ok(enforced.dumpPolicy().intact, 'each table is its own');
  assert.ok(!(await arrives(flowOf(4))));
});

test('both tables with all that tells of packets can be listed by nft', { skip }, async (t) => {
  const program = programOf(DENYING['by a chain that logs'] ?? makePolicy({}));
  for (const table of ['enforced', 'staged'] as const)
    open(t, { table, denial: TOLD }).replacePolicy(program);
  const listed = await wire.node.must(['nft', 'list', 'ruleset']);
  const texts = ['denied egress', 'denied ingress', 'denied', 'staged egress', 'staged ingress', 'staged'];
  for (const text of texts) assert.ok(listed.includes(`log prefix "tartan ${text}" group 84`), text);
  const told = [...program.chains.values()].flat().filter(({ log }) => log !== undefined);
  assert.ok(told.length > 0);
  assert.equal(
    listed.match(/limit rate 100\/second/g)?.length,
    6 + told.length,
    'ends and rules, these once',
  );
  JSON.parse(await wire.node.must(['nft', '-j', 'list', 'ruleset']));
});

test('rules of the ends are known again, and their drift is seen', { skip }, async (t) => {
  const table = open(t, { own: false, denial: TOLD });
  const program = programOf(DENYING['by a chain that logs'] ?? makePolicy({}));
  table.replacePolicy(program);
  const { intact, program: dumped } = table.dumpPolicy();
  assert.ok(intact);
  assert.deepEqual([...dumped.chains], [...program.chains]);
  await wire.node.must(['nft', 'flush', 'chain', 'inet', 'tartan-policy', 'denied-egress']);
  assert.ok(!table.dumpPolicy().intact);
  table.replacePolicy(program);
  const [chain = ''] = program.chains.keys();
  await wire.node.must(['nft', 'insert', 'rule', 'inet', 'tartan-policy', chain, 'drop', 'comment', '"log"']);
  assert.ok(!table.dumpPolicy().intact, 'a rule with a comment of ours in a place that is not');
  table.replacePolicy(program);
  table.changeDenial({ logPerSecond: 5, audit: false });
  assert.ok(table.dumpPolicy().intact);
});
