/**
 * Random policies of all kinds, compiled and loaded by the real loader, one after another as deltas: what the kernel
 * does with real packets is what evaluate says, and what it holds is what was meant.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import { openPolicy, type PolicyTable } from '#kernel/nftables/policy/policy.ts';
import type { RuleBook } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { address, addressFamily } from '#net/address.ts';
import { createCompiler } from '#policy/compile/compiler.ts';
import { diffProgram, isEmptyDelta } from '#policy/compile/diff.ts';
import { simulate } from '#policy/compile/simulate.ts';
import { bookOf, bookSketches, flowsIn, worldOf } from '#policy/compile/testing/books.ts';
import { createBook } from '#policy/book.ts';
import { evaluate } from '#policy/evaluate.ts';
import { makePolicy, makeRule } from '#policy/testing/rules.ts';
import { makeFlow, makeWorld } from '#policy/testing/world.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { carries, firstPacket, makeWire, stationOf, type Wire } from './policy-wire.ts';

const skip = whyNoKernel(['ip', 'sysctl', 'conntrack', 'nft']) ?? false;
const CASES = 40;
const FLOWS = 15;
/** How long a packet that must not arrive is waited for; whether it came later is looked at in the end. */
const GRACE_MS = 3;

let wire: Wire;
let table: PolicyTable;

before(async () => {
  if (skip !== false) return;
  await ready;
  wire = await makeWire('pd');
  const netns = openNetns(wire.node.path);
  table = inNetns(netns, openPolicy);
  closeSync(netns);
});
after(() => {
  if (skip !== false) return;
  table.close();
  wire.remove();
});

/** Pods stay where their namespaces are: the first three on node a, of which the first has an address of its own. */
function settle(world: PolicyWorld): PolicyWorld {
  let index = 0;
  const others = world.endpoints.filter(({ kind }) => kind !== 'host');
  const endpoints = others.map((each) => {
    if (each.kind !== 'pod') return each;
    const at = index++;
    const node = at < 3 ? 'a' : 'b';
    if (at === 0)
      return { ...each, node, hostNetwork: false, addresses: [address('10.244.0.1'), address('fd00::1')] };
    return each.hostNetwork
      ? { ...each, node, addresses: world.nodes.get(node)?.addresses ?? [] }
      : { ...each, node };
  });
  return { ...world, endpoints };
}

/** What node a has to say. */
function evaluateHere(book: RuleBook, world: PolicyWorld, flow: Flow): 'allow' | 'deny' {
  const here = new Set(
    world.endpoints.flatMap((each) =>
      each.kind === 'pod' && each.node === 'a' ? [`pod ${each.namespace}/${each.name}`] : [],
    ),
  );
  const { checks } = evaluate(book, world, flow);
  return checks.some(({ endpoint, action }) => here.has(endpoint) && action === 'deny') ? 'deny' : 'allow';
}

const cases = fc.record({ world: worldOf.map(settle), sketch: bookSketches }).chain(({ world, sketch }) =>
  fc.record({
    world: fc.constant(world),
    sketch: fc.constant(sketch),
    flows: fc.array(flowsIn(world).filter(isSendable), { minLength: FLOWS, maxLength: FLOWS }),
  }),
);

/** Through the node, between two places, and not by way of a service. */
function isSendable(flow: Flow): boolean {
  if (flow.before !== undefined || flow.source === flow.destination) return false;
  const isNode = (each: string): boolean => each === '192.0.2.1' || each === '2001:db8::1';
  const isPod = (each: string): boolean => /^(?:10\.244\.0\.|fd00::)[123]$/.test(each);
  if (isNode(flow.source) || isNode(flow.destination)) return false;
  return isPod(flow.source) || isPod(flow.destination);
}

/** Sends the flow's first packet as a new connection; its token, and whether it arrived. */
async function send(flow: Flow, expected: 'allow' | 'deny'): Promise<{ token: Buffer; arrived: boolean }> {
  const token = randomBytes(8);
  const [from, to] = [stationOf(wire, flow.source), stationOf(wire, flow.destination)];
  assert.ok(from !== 'node' && to !== 'node');
  await wire.node.run(['conntrack', '-F']);
  to.take();
  from.send(firstPacket(flow, token));
  const arrives = (): boolean => to.take().some((packet) => carries(packet, token));
  if (expected === 'deny') {
    await sleep(GRACE_MS);
    return { token, arrived: arrives() };
  }
  const arrived = await waitFor('the packet', arrives, 2_000).catch(() => false);
  return { token, arrived };
}

test('real packets meet what evaluate says, through hundreds of loaded deltas', { skip }, async (t) => {
  const seed = Number(process.env.SEED ?? randomBytes(4).readInt32LE());
  const compiler = createCompiler('a');
  const counts = new Map<string, number>();
  table.replacePolicy(compiler.program());
  for (const { world, sketch, flows } of fc.sample(cases, { numRuns: CASES, seed })) {
    const book = bookOf(sketch);
    const delta = compiler.update(book, world);
    if (delta !== undefined) table.loadPolicy(delta);
    const dump = table.dumpPolicy();
    assert.ok(dump.intact);
    const left = diffProgram(dump.program, compiler.program());
    assert.ok(
      left !== undefined && isEmptyDelta(left),
      `seed ${seed}: ${JSON.stringify([...(left?.entries ?? [])])}`,
    );
    for (const flow of flows) {
      const expected = evaluateHere(book, world, flow);
      assert.equal(simulate(dump.program, flow).action, expected, `seed ${seed}: simulate on the dump`);
      const { arrived } = await send(flow, expected);
      const kind = `${flow.protocol} ${addressFamily(flow.source)} ${expected}`;
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      assert.equal(arrived ? 'allow' : 'deny', expected, `seed ${seed}: ${JSON.stringify(flow)}`);
    }
  }
  t.diagnostic(`seed ${seed}: ${JSON.stringify(Object.fromEntries(counts))}`);
  // Not each in both families: that would now and then fail by chance.
  const seen = [...counts.keys()].map((kind) => kind.split(' '));
  const missing = ['6', '17', '132', '1', '58', '47', '4', '6'].flatMap((each, index) =>
    ['allow', 'deny']
      .filter((action) => !seen.some((kind) => kind[index < 6 ? 0 : 1] === each && kind[2] === action))
      .map((action) => `${each} ${action}`),
  );
  assert.deepEqual(missing, []);
});

const two = makeWorld({ pods: ['shop/a', 'shop/b', 'shop/c'].map((name) => ({ name, node: 'a' })) });
const denyAll = createBook({
  policies: [makePolicy({ isolates: { ingress: true, egress: true } })],
});
const allowAll = createBook({
  policies: [
    makePolicy({
      isolates: { ingress: true, egress: true },
      ingress: [makeRule('allow')],
      egress: [makeRule('allow')],
    }),
  ],
});

async function arrives(flow: Flow): Promise<boolean> {
  const token = randomBytes(8);
  const [from, to] = [stationOf(wire, flow.source), stationOf(wire, flow.destination)];
  assert.ok(from !== 'node' && to !== 'node');
  to.take();
  from.send(firstPacket(flow, token));
  return waitFor('the packet', () => to.take().some((packet) => carries(packet, token)), 200).catch(
    () => false,
  );
}

for (const family of [4, 6] as const) {
  test(
    `IPv${family}: what was allowed goes on both ways until its connection is forgotten`,
    { skip },
    async () => {
      const compiler = createCompiler('a');
      compiler.update(allowAll, two);
      table.replacePolicy(compiler.program());
      await wire.node.run(['conntrack', '-F']);
      const there = makeFlow(two, ['shop/a', 'shop/b'], 'udp/53', family);
      const { source, destination, sourcePort = 0, destinationPort = 0 } = there;
      const back: Flow = {
        ...there,
        source: destination,
        destination: source,
        sourcePort: destinationPort,
        destinationPort: sourcePort,
      };
      assert.ok(await arrives(there));
      assert.ok(await arrives(back));
      const delta = compiler.update(denyAll, two);
      assert.ok(delta !== undefined);
      table.loadPolicy(delta);
      assert.ok(await arrives(there), 'the connection goes on');
      assert.ok(await arrives(back), 'so do its replies');
      assert.ok(!(await arrives({ ...there, sourcePort: 41_000 })), 'a new one is denied');
      await wire.node.must(['conntrack', '-F']);
      assert.ok(!(await arrives(there)));
      assert.ok(!(await arrives(back)));
    },
  );
}

test(
  'a pod reaches its node only as its egress allows, and is reached by it in any case',
  { skip },
  async () => {
    const compiler = createCompiler('a');
    compiler.update(denyAll, two);
    table.replacePolicy(compiler.program());
    const [pod] = wire.pods;
    assert.ok(pod !== undefined);
    const ping = async (family: number): Promise<number> => {
      const node = family === 4 ? '192.0.2.1' : '2001:db8::1';
      return (await pod.namespace.run(['ping', '-c1', '-W1', node])).code;
    };
    for (const family of [4, 6]) assert.notEqual(await ping(family), 0, `IPv${family}`);
    for (const own of two.endpoints[0]?.kind === 'pod' ? two.endpoints[0].addresses : [])
      await wire.node.must(['ping', '-c1', '-W2', own]);
    const delta = compiler.update(allowAll, two);
    assert.ok(delta !== undefined);
    table.loadPolicy(delta);
    for (const family of [4, 6]) assert.equal(await ping(family), 0, `IPv${family}`);
  },
);

/** A second hand on the node's table. */
function openTable(options?: Parameters<typeof openPolicy>[0]): PolicyTable {
  const netns = openNetns(wire.node.path);
  try {
    return inNetns(netns, () => openPolicy(options));
  } finally {
    closeSync(netns);
  }
}

test('others can neither flush nor change the table, and it outlives its owner', { skip }, async (t) => {
  table.removePolicy();
  const compiler = createCompiler('a');
  compiler.update(denyAll, two);
  const first = openTable();
  first.replacePolicy(compiler.program());
  if (!first.isOwned()) {
    first.close();
    return t.skip('the kernel has no tables that are owned and stay (Linux 6.9)');
  }
  const stands = (): boolean => table.dumpPolicy().program.entries.size > 0;
  await wire.node.must(['nft', 'flush', 'ruleset']);
  assert.ok(stands(), 'after a flush');
  assert.notEqual((await wire.node.run(['nft', 'delete', 'table', 'inet', 'tartan-policy'])).code, 0);
  first.close();
  assert.ok(stands(), 'after its owner has gone');
  const second = openTable();
  second.replacePolicy(compiler.program());
  await wire.node.must(['nft', 'flush', 'ruleset']);
  assert.ok(stands(), 'with a new owner');
  second.removePolicy();
  assert.ok(!stands());
  second.close();
});

test('a delta that does not fit changes nothing, and drift is seen and repaired', { skip }, async (t) => {
  table.removePolicy();
  const open = openTable({ own: false });
  t.after(() => {
    open.removePolicy();
    open.close();
  });
  const compiler = createCompiler('a');
  compiler.update(denyAll, two);
  open.replacePolicy(compiler.program());
  const [key = '', value = ''] =
    [...compiler.program().entries].find(([each]) => each.startsWith('rest ')) ?? [];
  const wrong = {
    entries: new Map([
      [key, { was: value }],
      ['rest 999', { was: 'deny' }],
    ]),
    addChains: new Map(),
    removeChains: [],
  };
  assert.throws(() => open.loadPolicy(wrong), { code: 'ENOENT' });
  const drifted = (): boolean => {
    const { program, intact } = open.dumpPolicy();
    const left = diffProgram(program, compiler.program());
    return !intact || left === undefined || !isEmptyDelta(left);
  };
  assert.ok(!drifted());
  const nft = (...words: string[]): Promise<string> => wire.node.must(['nft', ...words]);
  await nft('flush', 'map', 'inet', 'tartan-policy', 'rest');
  assert.ok(drifted());
  const repair = diffProgram(open.dumpPolicy().program, compiler.program());
  assert.ok(repair !== undefined);
  open.loadPolicy(repair);
  assert.ok(!drifted());
  await nft('insert', 'rule', 'inet', 'tartan-policy', 'forward', 'accept');
  assert.ok(drifted());
  open.replacePolicy(compiler.program());
  assert.ok(!drifted());
  await nft('delete', 'table', 'inet', 'tartan-policy');
  assert.ok(drifted());
  open.replacePolicy(compiler.program());
  assert.ok(!drifted());
});

test(
  'listing the ruleset by nft works, as text and as JSON, and counters tell which entry decided',
  { skip },
  async () => {
    const compiler = createCompiler('a');
    compiler.update(denyAll, two);
    table.replacePolicy(compiler.program());
    await wire.node.run(['conntrack', '-F']);
    const flow = makeFlow(two, ['shop/a', 'shop/b'], 'tcp/80');
    const { arrived } = await send(flow, 'deny');
    assert.ok(!arrived);
    const { program, counts } = table.dumpPolicy();
    const entry = simulate(program, flow).opinions[0]?.entry ?? '';
    assert.equal(counts.get(entry)?.packets, 1n, entry);
    assert.match(await wire.node.must(['nft', 'list', 'ruleset']), /tartan-policy/);
    JSON.parse(await wire.node.must(['nft', '-j', 'list', 'ruleset']));
  },
);

test('addresses of the test are those of the wire', { skip }, () => {
  assert.equal(stationOf(wire, address('10.244.0.1')), wire.pods[0]);
  assert.equal(stationOf(wire, address('203.0.113.7')), wire.outside);
});
