/**
 * Host endpoints in a node's kernel: random policies, compiled and loaded as deltas, judged by real packets to, from and
 * through the node; then each scope by itself, with what it is for.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import { openPolicy, type PolicyTable } from '#kernel/nftables/policy/policy.ts';
import type { HostScope, Policy, Rule, RuleBook } from '#model/policy.ts';
import type { Crossing, Flow } from '#model/verdict.ts';
import { endpointName, type HostEndpoint, type PolicyWorld } from '#model/workload.ts';
import { type Address, address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { createBook } from '#policy/book.ts';
import { createCompiler, type PolicyCompiler } from '#policy/compile/compiler.ts';
import { diffProgram, isEmptyDelta } from '#policy/compile/diff.ts';
import { simulate } from '#policy/compile/simulate.ts';
import { bookOf, bookSketches, flowsIn, worldOf } from '#policy/compile/testing/books.ts';
import { evaluate } from '#policy/evaluate.ts';
import { makePolicy, makeRule } from '#policy/testing/rules.ts';
import { hostEndpoint, makeFlow, makeWorld } from '#policy/testing/world.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import {
  carries,
  firstPacket,
  makeWire,
  openNode,
  type Station,
  stationOf,
  type Wire,
} from './policy-wire.ts';

const skip = whyNoKernel(['ip', 'sysctl', 'conntrack', 'nft']) ?? false;
const CASES = 40;
const FLOWS = 15;
/** How long a packet that must not arrive is waited for. */
const GRACE_MS = 3;

let wire: Wire;
let host: Station;
let table: PolicyTable;

before(async () => {
  if (skip !== false) return;
  await ready;
  wire = await makeWire('pe');
  host = openNode(wire.node);
  const netns = openNetns(wire.node.path);
  table = inNetns(netns, openPolicy);
  closeSync(netns);
});
after(() => {
  if (skip !== false) return;
  table.close();
  host.close();
  wire.remove();
});

const NODE = ['192.0.2.1', '2001:db8::1'].map(address);
const isNode = (each: Address): boolean => NODE.includes(each);
const isPod = (each: Address): boolean => /^(?:10\.244\.0\.|fd00::)[123]$/.test(each);
const linkOf = (each: Address): string => (isPod(each) ? `tt${Number(each.at(-1)) - 1}` : 'eth0');
const station = (each: Address): Station => {
  const found = stationOf(wire, each);
  return found === 'node' ? host : found;
};

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

/** Whether the flow's first packet, as a new connection, arrives. */
async function arrives(flow: Flow, expected: 'allow' | 'deny' = 'allow'): Promise<boolean> {
  const token = randomBytes(8);
  const to = station(flow.destination);
  to.take();
  station(flow.source).send(firstPacket(flow, token));
  const has = (): boolean => to.take().some((packet) => packet.includes(token));
  if (expected === 'allow') return waitFor('the packet', has, 2_000).catch(() => false);
  await sleep(GRACE_MS);
  return has();
}

async function sendNew(flow: Flow, expected: 'allow' | 'deny'): Promise<boolean> {
  await wire.node.run(['conntrack', '-F']);
  return arrives(flow, expected).catch((error: unknown) => {
    // What the output hook drops is told to its sender.
    if (expected === 'deny' && (error as { code?: string }).code === 'EPERM') return false;
    throw error;
  });
}

/** Everything as it is meant to be in the kernel. */
function checkDump(compiler: PolicyCompiler, hint: string): void {
  const dump = table.dumpPolicy();
  assert.ok(dump.intact, `${hint}: ${JSON.stringify([...dump.program.chains])}`);
  const left = diffProgram(dump.program, compiler.program());
  assert.ok(
    left !== undefined && isEmptyDelta(left),
    `${hint}: ${JSON.stringify([...(left?.entries ?? [])])}`,
  );
}

test('real packets meet what evaluate says, where they cross the node’s interfaces', { skip }, async (t) => {
  const seed = Number(process.env.SEED ?? randomBytes(4).readInt32LE());
  const compiler = createCompiler('a');
  const counts = new Map<string, number>();
  table.replacePolicy(compiler.program());
  for (const { world, sketch, flows } of fc.sample(cases, { numRuns: CASES, seed })) {
    const book = bookOf(sketch);
    const delta = compiler.update(book, world);
    if (delta !== undefined) table.loadPolicy(delta);
    checkDump(compiler, `seed ${seed}`);
    const { program } = table.dumpPolicy();
    for (const flow of flows) {
      const expected = evaluateHere(book, world, flow);
      const { action, opinions } = simulate(program, flow, { node: 'a' });
      assert.equal(action, expected, `seed ${seed}: simulate on the dump`);
      for (const { at, direction, action } of opinions) {
        if (at === undefined) continue;
        const kind = `${at.scope} ${direction} ${action}`;
        counts.set(kind, (counts.get(kind) ?? 0) + 1);
      }
      const arrived = await sendNew(flow, expected);
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

const HOSTS = { op: 'in', scope: 'fact', key: 'kind', values: ['host'] } as const;
const ETH0 = hostEndpoint('eth0-a');
const ALL = hostEndpoint('all-a', { interface: '*' });
const FAILSAFE: PolicyWorld['failsafe'] = {
  ingress: [6, 17].map((protocol) => ({ protocol, ports: { from: 22, to: 22 } })),
  egress: [{ protocol: 17, ports: { from: 53, to: 53 } }],
};
const worldWith = (...others: readonly HostEndpoint[]): PolicyWorld =>
  makeWorld({
    pods: ['shop/a', 'shop/b', 'shop/c'].map((name) => ({ name, node: 'a' })),
    others,
    failsafe: FAILSAFE,
  });
const OUT = { 4: '203.0.113.9', 6: '2001:db8:ffff::9' } as const;
const about = (scope: HostScope, given: Partial<Policy>): Policy =>
  makePolicy({ name: scope, host: scope, subjects: HOSTS, ...given });
const both = { ingress: true, egress: true };
const to = (action: 'allow' | 'deny', port: number, more: Partial<Rule> = {}): Rule => ({
  ...makeRule(action, {
    traffic: [{ kind: 'ports', end: 'destination', ranges: [{ from: port, to: port }] }],
  }),
  ...more,
});

let compiler: PolicyCompiler;
function load(world: PolicyWorld, policies: readonly Policy[]): void {
  compiler = createCompiler('a');
  compiler.update(createBook({ policies }), world);
  table.replacePolicy(compiler.program());
  checkDump(compiler, 'loaded');
}
const bare = worldWith();
const flow = (from: string, to: string, kind: string, family: 4 | 6): Flow =>
  makeFlow(bare, [from, to], kind, family);
const hooks = async (): Promise<string[]> =>
  [...(await wire.node.must(['nft', 'list', 'ruleset'])).matchAll(/chain (host-\S+) \{/g)].map(
    ([, name = '']) => name,
  );

for (const family of [4, 6] as const) {
  const out = OUT[family];

  test(
    `IPv${family}: a host endpoint without policies: only failsafe ports, and what they answer`,
    { skip },
    async () => {
      for (const endpoint of [ETH0, ALL]) {
        load(worldWith(endpoint), []);
        assert.ok(!(await sendNew(flow(out, 'node a', 'tcp/80', family), 'deny')));
        assert.ok(!(await sendNew(flow('node a', out, 'tcp/80', family), 'deny')));
        assert.ok(!(await sendNew(flow(out, 'node a', 'icmp', family), 'deny')));
        const login = flow(out, 'node a', 'udp/22', family);
        assert.ok(await sendNew(login, 'allow'));
        const { source, destination, sourcePort = 0 } = login;
        const answer = {
          ...login,
          source: destination,
          destination: source,
          sourcePort: 22,
          destinationPort: sourcePort,
        };
        assert.ok(await arrives(answer), 'the answer of a failsafe port');
        assert.ok(await sendNew(flow('node a', out, 'udp/53', family), 'allow'));
        assert.ok(await sendNew(flow(out, 'shop/a', 'tcp/80', family), 'allow'), 'forwarded');
        assert.ok(await sendNew(flow('shop/a', 'node a', 'tcp/80', family), 'allow'), 'pod to node');
        assert.ok(await sendNew(flow('node a', 'shop/a', 'tcp/80', family), 'allow'), 'node to pod');
        for (const own of [family === 4 ? '127.0.0.1' : '::1', NODE[family === 4 ? 0 : 1] ?? ''])
          await wire.node.must(['ping', '-c1', '-W2', own]);
      }
    },
  );

  test(`IPv${family}: doNotTrack: no entry in conntrack, and nobody asks again`, { skip }, async () => {
    const allow = about('untracked', { ingress: [to('allow', 80)], egress: [to('allow', 81)] });
    load(worldWith(ETH0), [allow]);
    const entries = async (): Promise<string> =>
      (await wire.node.run(['conntrack', '-L', '-f', family === 4 ? 'ipv4' : 'ipv6'])).stdout.trim();
    assert.ok(
      await sendNew(flow(out, 'node a', 'udp/80', family), 'allow'),
      'although its local policy denies',
    );
    assert.ok(!(await entries()).includes('dport=80'));
    assert.ok(await sendNew(flow('node a', out, 'udp/81', family), 'allow'));
    assert.ok(!(await entries()).includes('dport=81'));
    assert.ok(await sendNew(flow(out, 'shop/a', 'udp/80', family), 'allow'), 'forwarded');
    assert.ok(!(await entries()).includes('dport=80'));
    assert.ok(await sendNew(flow(out, 'node a', 'udp/22', family), 'allow'));
    assert.ok((await entries()).includes('dport=22'), 'what untracked policy leaves alone is tracked');
    load(worldWith(ETH0), [about('untracked', { ingress: [makeRule('deny')], egress: [makeRule('deny')] })]);
    assert.ok(!(await sendNew(flow(out, 'shop/a', 'udp/80', family), 'deny')), 'forwarded');
    assert.ok(
      await sendNew(flow('shop/a', out, 'udp/80', family), 'allow'),
      'raw output is for the node’s own',
    );
    const login = flow(out, 'node a', 'udp/22', family);
    assert.ok(await sendNew(login, 'allow'), 'failsafe');
    const { source, destination, sourcePort = 0 } = login;
    const answer = {
      ...login,
      source: destination,
      destination: source,
      sourcePort: 22,
      destinationPort: sourcePort,
    };
    assert.ok(await arrives(answer), 'the answer of a failsafe port');
  });

  test(`IPv${family}: preDNAT sees the host port, the rest what became of it`, { skip }, async (t) => {
    const pod = family === 4 ? '10.244.0.1' : '[fd00::1]';
    await wire.node.must(['nft', '-f', '-'], {
      input: `table inet pe-ports { chain p { type nat hook prerouting priority dstnat; fib daddr type local tcp dport 30080 dnat ${family === 4 ? 'ip' : 'ip6'} to ${pod}:80; }; }`,
    });
    t.after(() => wire.node.must(['nft', 'delete', 'table', 'inet', 'pe-ports']));
    const through = async (expected: 'allow' | 'deny'): Promise<boolean> => {
      await wire.node.run(['conntrack', '-F']);
      const token = randomBytes(8);
      const [first] = wire.pods;
      assert.ok(first !== undefined);
      first.take();
      wire.outside.send(firstPacket(flow(out, 'node a', 'tcp/30080', family), token));
      const has = (): boolean => first.take().some((packet) => carries(packet, token));
      if (expected === 'allow') return waitFor('the packet', has, 2_000).catch(() => false);
      await sleep(GRACE_MS);
      return has();
    };
    const early = (action: 'allow' | 'deny', port: number): Policy =>
      about('pre-dnat', { ingress: [to(action, port)] });
    const late = (action: 'allow' | 'deny', port: number): Policy =>
      about('forward', { ingress: [to(action, port), makeRule('allow')] });
    load(worldWith(ALL), []);
    assert.ok(await through('allow'), 'no policy');
    load(worldWith(ALL), [early('deny', 30_080)]);
    assert.ok(!(await through('deny')), 'the port before DNAT');
    assert.ok(await sendNew(flow(out, 'shop/b', 'tcp/80', family), 'allow'));
    load(worldWith(ALL), [early('deny', 80)]);
    assert.ok(await through('allow'), 'not the one after it');
    load(worldWith(ALL), [late('deny', 80)]);
    assert.ok(!(await through('deny')), 'which later policy sees');
    load(worldWith(ALL), [late('deny', 80), early('allow', 30_080)]);
    assert.ok(await through('allow'), 'allowed for good');
    assert.ok(!(await sendNew(flow(out, 'shop/b', 'tcp/80', family), 'deny')), 'the mark is of one packet');
    await wire.node.must(['conntrack', '-F']);
    load(worldWith(ALL), [early('deny', 22)]);
    assert.ok(await sendNew(flow(out, 'node a', 'tcp/22', family), 'allow'), 'failsafe');
  });

  test(`IPv${family}: applyOnForward: by interface, in and out, for pods as for all`, { skip }, async () => {
    const policy = about('forward', {
      isolates: both,
      ingress: [to('allow', 80)],
      egress: [to('allow', 81)],
    });
    load(worldWith(ETH0), [policy]);
    assert.ok(await sendNew(flow(out, 'shop/a', 'tcp/80', family), 'allow'));
    assert.ok(!(await sendNew(flow(out, 'shop/a', 'tcp/82', family), 'deny')));
    assert.ok(await sendNew(flow('shop/a', out, 'tcp/81', family), 'allow'));
    assert.ok(
      !(await sendNew(flow('shop/a', out, 'tcp/22', family), 'deny')),
      'failsafe is not for what is forwarded',
    );
    assert.ok(await sendNew(flow('shop/a', 'shop/b', 'tcp/82', family), 'allow'), 'other interfaces');
    load(worldWith(ALL), [policy]);
    assert.ok(!(await sendNew(flow('shop/a', 'shop/b', 'tcp/82', family), 'deny')), 'all interfaces');
    assert.ok(await sendNew(flow('node a', 'shop/b', 'tcp/82', family), 'allow'), 'the node’s own');
  });

  test(
    `IPv${family}: what the node sends and DNAT sends elsewhere is judged where it leaves`,
    { skip },
    async (t) => {
      const pod = family === 4 ? '10.244.0.1' : '[fd00::1]';
      const service = family === 4 ? '198.51.100.77' : '2001:db8:cc::77';
      await wire.node.must(['nft', '-f', '-'], {
        input: `table inet pe-service { chain o { type nat hook output priority -100; ${family === 4 ? 'ip' : 'ip6'} daddr ${service} tcp dport 80 dnat ${family === 4 ? 'ip' : 'ip6'} to ${pod}:80; }; }`,
      });
      t.after(() => wire.node.must(['nft', 'delete', 'table', 'inet', 'pe-service']));
      load(worldWith(ETH0), []);
      const token = randomBytes(8);
      const [first] = wire.pods;
      assert.ok(first !== undefined);
      first.take();
      host.send(firstPacket(flow('node a', service, 'tcp/80', family), token));
      await waitFor('the packet', () => first.take().some((packet) => carries(packet, token)));
    },
  );
}

test('hooks stand only while a gate is open, and nft lists them', { skip }, async () => {
  load(worldWith(), [about('untracked', { ingress: [makeRule('allow')] })]);
  assert.deepEqual(await hooks(), []);
  const steps: readonly (readonly [HostEndpoint[], Policy[], string[]])[] = [
    [[ETH0], [], ['host-input', 'host-output', 'host-postrouting']],
    [
      [ETH0],
      [about('pre-dnat', { ingress: [makeRule('allow')] })],
      [
        'host-raw',
        'host-raw-output',
        'host-mangle',
        'host-input-early',
        'host-output-early',
        'host-postrouting-early',
      ],
    ],
    [
      [ALL],
      [about('forward', { isolates: both })],
      ['host-input', 'host-output', 'host-postrouting', 'host-forward'],
    ],
    [[], [], []],
  ];
  for (const [endpoints, policies, expected] of steps) {
    const delta = compiler.update(createBook({ policies }), worldWith(...endpoints));
    assert.ok(delta !== undefined);
    table.loadPolicy(delta);
    checkDump(compiler, expected.join());
    assert.deepEqual((await hooks()).sort(), expected.toSorted());
    JSON.parse(await wire.node.must(['nft', '-j', 'list', 'ruleset']));
  }
});

test('prefixes of failsafe ports', { skip }, async () => {
  const failsafe = {
    ...FAILSAFE,
    ingress: [{ protocol: 6, ports: { from: 22, to: 23 }, prefix: prefix('203.0.113.0/24') }],
  };
  load({ ...worldWith(ETH0), failsafe }, []);
  assert.ok(await sendNew(flow('203.0.113.9', 'node a', 'tcp/23', 4), 'allow'));
  assert.ok(!(await sendNew(flow('198.51.100.9', 'node a', 'tcp/23', 4), 'deny')));
});
