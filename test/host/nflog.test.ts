/** What is told of denied packets, by the kernel, in a namespace, and how much of it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync, rmSync, writeFileSync } from 'node:fs';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import { type LoggedPacket, type LogOptions, readLog, whyNoLog } from '#kernel/nflog.ts';
import { openPolicy, type PolicyTable } from '#kernel/nftables/policy/policy.ts';
import { POLICY_LOG_GROUP } from '#model/policy-program.ts';
import type { Direction, Policy } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import { address } from '#net/address.ts';
import { createBook } from '#policy/book.ts';
import { compile } from '#policy/compile/compiler.ts';
import { makePolicy, makeRule } from '#policy/testing/rules.ts';
import { makeFlow, makeWorld } from '#policy/testing/world.ts';
import { whyLacking } from '../vm/features.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { firstPacket, makeWire, stationOf, type Wire } from './policy-wire.ts';

const skip = whyNoKernel(['ip', 'sysctl', 'conntrack', 'nft']) ?? whyLacking('packet log') ?? false;

let wire: Wire;
let netns: number;
let table: PolicyTable;
let packets: LoggedPacket[] = [];
let lost = 0;
let reader: Disposable;

const inNode = <T>(work: () => T): T => inNetns(netns, work);
const open = (options: Partial<LogOptions> = {}): Disposable =>
  readLog(inNode, {
    group: POLICY_LOG_GROUP,
    onPacket: (packet) => packets.push(packet),
    onLost: (count) => (lost += count),
    onEnd: () => assert.fail('the reader has ended'),
    ...options,
  });

before(async () => {
  if (skip !== false) return;
  await ready;
  wire = await makeWire('pfl');
  netns = openNetns(wire.node.path);
  table = inNode(() => openPolicy({ denial: { logPerSecond: 1_000, audit: false } }));
});
beforeEach(async () => {
  if (skip !== false) return;
  packets = [];
  lost = 0;
  table.changeDenial({ logPerSecond: 1_000, audit: false });
  await wire.node.run(['conntrack', '-F']);
  reader = open();
});
afterEach(() => {
  if (skip === false) reader[Symbol.dispose]();
});
after(() => {
  if (skip !== false) return;
  table.close();
  closeSync(netns);
  wire.remove();
});

const world = makeWorld({ pods: ['shop/a', 'shop/b', 'shop/c'].map((name) => ({ name, node: 'a' })) });
const isolating = (way: Direction): Partial<Policy> => ({
  isolates: { ingress: way === 'ingress', egress: way === 'egress' },
});
function load(...policies: Policy[]): void {
  table.replacePolicy(compile(createBook({ policies }), world, { node: 'a' }));
}

function send(flow: Flow): void {
  const from = stationOf(wire, flow.source);
  assert.ok(from !== 'node');
  from.send(firstPacket(flow, randomBytes(8)));
}

const one = (): Promise<LoggedPacket> => waitFor('a packet', () => packets[0]);

for (const family of [4, 6] as const) {
  for (const kind of ['tcp/80', 'udp/53', 'sctp/5000', 'icmp', '47']) {
    for (const way of ['egress', 'ingress'] as const) {
      test(`${kind}, IPv${family}, denied at ${way}`, { skip }, async () => {
        load(makePolicy(isolating(way)));
        const flow = makeFlow(world, ['shop/a', 'shop/b'], kind, family);
        const sentMs = Date.now();
        send(flow);
        const { timeMs, bytes, ...packet } = await one();
        const about = { prefix: `tartan denied ${way}`, hook: 'forward', input: 'tt0', output: 'tt1' };
        assert.deepEqual(packet, { ...about, flow });
        assert.ok(bytes >= (family === 4 ? 28 : 48) && bytes < 100, `${bytes} bytes`);
        // Kernels that stamp no packet here say nothing.
        if (timeMs !== undefined) assert.ok(Math.abs(timeMs - sentMs) < 60_000);
        assert.equal(lost, 0);
      });
    }
  }
}

test('to the node itself, from outside, and by a chain of a program', { skip }, async () => {
  const ports = { kind: 'ports', end: 'source', ranges: [{ from: 40_000, to: 40_000 }] } as const;
  load(
    makePolicy({
      isolates: { ingress: true, egress: true },
      ingress: [makeRule('deny', { traffic: [ports] }), makeRule('allow')],
    }),
  );
  const toNode = makeFlow(world, ['shop/a', 'node a'], 'tcp/22');
  const outside = makeFlow(world, ['203.0.113.7', 'shop/b'], 'udp/53');
  for (const flow of [toNode, outside]) {
    send(flow);
    const seen = await one();
    packets = [];
    assert.deepEqual(seen.flow, flow);
    assert.equal(seen.prefix, flow === toNode ? 'tartan denied egress' : 'tartan denied');
    assert.equal(seen.input, flow === toNode ? 'tt0' : 'eth0');
    assert.equal(seen.output, flow === toNode ? undefined : 'tt1');
    assert.equal(seen.hook, flow === toNode ? 'input' : 'forward');
  }
});

test('rules that log say which they are, whatever becomes of the packet', { skip }, async () => {
  load(makePolicy({ ...isolating('egress'), egress: [makeRule('log'), makeRule('allow')] }));
  send(makeFlow(world, ['shop/a', 'shop/b'], 'udp/53'));
  assert.match((await one()).prefix, /^tartan \d+$/);
});

const noConnections = skip === false ? (whyLacking('logged connections') ?? false) : skip;

test('what an address was before DNAT', { skip: noConnections }, async () => {
  load(makePolicy(isolating('ingress')));
  await wire.node.must(['nft', '-f', '-'], {
    input: `table ip qv {
      chain c {
        type nat hook prerouting priority dstnat;
        ip daddr 10.96.0.10 tcp dport 80 dnat to 10.244.0.2:8080
      }
    }`,
  });
  const flow = makeFlow(world, ['shop/a', 'shop/b'], 'tcp/80');
  send({ ...flow, destination: address('10.96.0.10') });
  const seen = await one();
  await wire.node.must(['nft', 'delete', 'table', 'ip', 'qv']);
  const before = { destination: '10.96.0.10', destinationPort: 80 };
  assert.deepEqual(seen.flow, { ...flow, destinationPort: 8080, before });
});

const flood = (count: number): void => {
  const flow = makeFlow(world, ['shop/a', 'shop/b'], 'udp/53');
  for (let port = 0; port < count; port += 1) send({ ...flow, sourcePort: 1024 + port });
};

test('no more is told of than may be', { skip }, async () => {
  table.changeDenial({ logPerSecond: 5, audit: false });
  load(makePolicy(isolating('ingress')));
  const began = Date.now();
  flood(500);
  await one();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const seconds = (Date.now() - began) / 1_000;
  assert.ok(packets.length >= 5, `${packets.length} of the first burst`);
  assert.ok(packets.length <= 5 + 5 * seconds + 1, `${packets.length} in ${seconds} s`);
});

test('what cannot be read in time is counted to the last packet', { skip }, async () => {
  table.changeDenial({ logPerSecond: 1_000_000, audit: false });
  load(makePolicy(isolating('ingress')));
  let sent = 40_000;
  // Nothing is read meanwhile: the socket's buffer runs over.
  flood(sent);
  await waitFor('all to be read or counted', () => {
    // What was lost last is known by what comes after.
    flood(1);
    sent += 1;
    return packets.length + lost >= 40_000;
  });
  await waitFor('the last', () => packets.length + lost === sent);
  assert.ok(packets.length >= 500, `${packets.length} were read`);
  assert.ok(lost > 20_000, `${lost} were lost`);
});

test('a group has one reader', { skip }, () => {
  assert.throws(open, (error) => {
    assert.equal(whyNoLog(error, 84), 'another program reads NFLOG group 84');
    return true;
  });
});

/** Where no module loads itself any more: only in a machine that goes with the test. */
const keepsModule =
  process.env['TARTAN_VM'] === undefined
    ? 'unloads a module, so it runs under QEMU only: test/host/vm.test.ts, test/host/nflog.test.ts'
    : skip;

test(
  'without nfnetlink_log policies hold all the same, and the reason is told',
  { skip: keepsModule },
  async () => {
    const rule = '/etc/modprobe.d/without-log.conf';
    const policy = makePolicy({ ...isolating('egress'), egress: [makeRule('log'), makeRule('allow')] });
    table.removePolicy();
    reader[Symbol.dispose]();
    writeFileSync(rule, 'install nfnetlink_log /bin/false\n');
    await waitFor(
      'the module to go',
      async () => (await wire.node.run(['rmmod', 'nfnetlink_log'])).code === 0,
    );
    const poor = inNode(() => openPolicy({ denial: { logPerSecond: 10, audit: false } }));
    try {
      const program = compile(createBook({ policies: [policy] }), world, { node: 'a' });
      poor.replacePolicy(program);
      const { intact, program: dumped } = poor.dumpPolicy();
      assert.ok(intact && !poor.canLog());
      assert.deepEqual([...dumped.chains], [...program.chains]);
      assert.throws(open, (error) => {
        assert.equal(whyNoLog(error, 84), 'the kernel cannot tell of packets: it lacks nfnetlink_log');
        return true;
      });
    } finally {
      poor.removePolicy();
      poor.close();
      rmSync(rule);
      await wire.node.must(['modprobe', 'nfnetlink_log']);
      reader = open();
    }
  },
);
