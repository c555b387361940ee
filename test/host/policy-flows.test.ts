/**
 * The log of flows with everything real but the agent around it: policies, tables, packets, the reader in the node's
 * namespace, the socket, and `tartan flows` as a process.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { after, before, test, type TestContext } from 'node:test';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { serveApi } from '#agent/serve/api-server.ts';
import { openEvents } from '#lib/log.ts';
import { createFlowLog, type FlowLog } from '#agent/policy-flows/flow-log.ts';
import { openFlowMetrics } from '#agent/policy-flows/metrics.ts';
import { Staged } from '#agent/policy-flows/staged.ts';
import { Usage } from '#agent/policy-flows/usage.ts';
import { API_SOCKET } from '#api/admin.ts';
import { flowQuerySchema } from '#api/flows.ts';
import { systemClock } from '#lib/clock.ts';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import { readLog } from '#kernel/nflog.ts';
import { type CountReader, openCounts } from '#kernel/nftables/policy/counts.ts';
import { openPolicy, type PolicyTable } from '#kernel/nftables/policy/policy.ts';
import type { FlowEvent, FlowFilter } from '#model/flow-event.ts';
import type { Policy, RuleBook } from '#model/policy.ts';
import type { PolicyProgram } from '#model/policy-program.ts';
import type { Flow } from '#model/verdict.ts';
import { createBook } from '#policy/book.ts';
import { compile } from '#policy/compile/compiler.ts';
import { makePolicy, makeRule } from '#policy/testing/rules.ts';
import { makeFlow, makeWorld } from '#policy/testing/world.ts';
import { whyLacking } from '../vm/features.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { carries, firstPacket, makeWire, stationOf, type Wire } from './policy-wire.ts';

const skip = whyNoKernel(['ip', 'sysctl', 'conntrack', 'nft']) ?? whyLacking('packet log') ?? false;
const log = pino({ level: 'silent' });
const world = makeWorld({ pods: ['shop/a', 'shop/b', 'bank/c'].map((name) => ({ name, node: 'a' })) });
/** Large enough that no packet of these tests meets it. */
const TOLD = { logPerSecond: 1_000, audit: false };

let wire: Wire;
let netns: number;
let table: PolicyTable;
let staged: Staged;
let counts: CountReader;
let book: RuleBook = createBook({ policies: [] });
let program: PolicyProgram;
let flows: FlowLog;
let server: Server;
const registry = new Registry();
const stop = new AbortController();
const run = mkdtempSync(join(tmpdir(), 'tartan-flows-'));

before(async () => {
  if (skip !== false) return;
  await ready;
  wire = await makeWire('pff');
  netns = openNetns(wire.node.path);
  const inNode = <T>(work: () => T): T => inNetns(netns, work);
  table = inNode(() => openPolicy({ denial: TOLD }));
  const kernel = { openPolicy: (options = {}) => inNode(() => openPolicy(options)) };
  staged = new Staged({ node: 'a', kernel, log, logPerSecond: TOLD.logPerSecond });
  counts = openCounts(inNode);
  const enforced = (): PolicyProgram => program;
  const onError = (error: unknown): void => assert.fail(String(error));
  const usage = new Usage({ counts, program: enforced, clock: systemClock, onError });
  const metrics = openFlowMetrics(registry, () => usage.refresh(metrics));
  flows = createFlowLog({
    node: 'a',
    readLog: (options) => readLog(inNode, options),
    view: () => ({ book, world }),
    programs: { enforced, staged: () => staged.program() },
    metrics,
    clock: systemClock,
    log,
    events: openEvents(log),
    signal: stop.signal,
  });
  const none = {} as Parameters<typeof serveApi>[1] & Parameters<typeof serveApi>[2];
  server = await serveApi(join(run, API_SOCKET), none, none, { flows: flows.lines });
});
after(() => {
  stop.abort();
  rmSync(run, { recursive: true });
  if (skip !== false) return;
  server.close();
  staged.remove();
  table.close();
  counts.close();
  closeSync(netns);
  wire.remove();
});

async function enforce(policies: readonly Policy[], audit = false): Promise<void> {
  book = createBook({ policies });
  program = compile(book, world, { node: 'a' });
  table.changeDenial({ ...TOLD, audit });
  table.replacePolicy(program);
  staged.load({ book, world });
  await wire.node.run(['conntrack', '-F']);
}

/** Whether it arrives. */
async function send(flow: Flow): Promise<boolean> {
  const token = randomBytes(8);
  const [from, to] = [stationOf(wire, flow.source), stationOf(wire, flow.destination)];
  assert.ok(from !== 'node' && to !== 'node');
  to.take();
  from.send(firstPacket(flow, token));
  const came = (): boolean => to.take().some((packet) => carries(packet, token));
  return waitFor('the packet', came, 60).catch(() => false);
}

/** The events since `from` that match. */
async function told(from: number, filter: FlowFilter = {}): Promise<FlowEvent[]> {
  const query = flowQuerySchema.parse({});
  const found: FlowEvent[] = [];
  for await (const line of flows.lines(query, stop.signal)) if ('event' in line) found.push(line.event);
  return found.slice(from).filter(({ verdict }) => filter.verdicts?.includes(verdict) !== false);
}
const toldOf = async (filter: FlowFilter, work: () => Promise<void>, enough = 1): Promise<FlowEvent[]> => {
  const from = (await told(0)).length;
  await work();
  return waitFor('the event', async () => {
    const events = await told(from, filter);
    return events.length >= enough && events;
  });
};

const named = (events: readonly FlowEvent[]): string[] =>
  events.map(({ verdict, direction, source, destination, policy, isolatedBy, count }) =>
    [verdict, direction, source.name, destination.name, policy ?? isolatedBy?.[0], count].join(' '),
  );

const origin = { source: 'web.yaml', line: 12, path: 'spec.ingress.0' };
const web = makePolicy({
  kind: 'NetworkPolicy',
  name: 'shop/web',
  isolates: { ingress: true, egress: false },
  ingress: [{ ...makeRule('deny'), origin }],
});

for (const family of [4, 6] as const) {
  test(`denied packets of IPv${family} become events with both pods and the rule`, { skip }, async () => {
    await enforce([web]);
    const sent = ['tcp/80', 'udp/53', 'icmp'].map((kind) =>
      makeFlow(world, ['shop/a', 'bank/c'], kind, family),
    );
    const events = await toldOf(
      {},
      async () => {
        for (const flow of sent) assert.ok(!(await send(flow)));
      },
      sent.length,
    );
    for (const [index, flow] of sent.entries()) {
      const event = events[index];
      assert.ok(event !== undefined);
      assert.deepEqual(named([event]), ['denied ingress shop/a bank/c NetworkPolicy shop/web 1']);
      assert.equal(event.origin, 'web.yaml:12 spec.ingress.0');
      assert.equal(event.protocol, flow.protocol);
      assert.deepEqual([event.source.port, event.destination.port], [flow.sourcePort, flow.destinationPort]);
      assert.deepEqual(event.icmp, flow.icmp);
      assert.ok(Math.abs(Date.parse(event.time) - Date.now()) < 60_000);
    }
  });
}

test('packets that are the same are one event with their number', { skip }, async () => {
  await enforce([web]);
  const flow = makeFlow(world, ['shop/a', 'bank/c'], 'udp/5353');
  const sent = 20;
  const seen = await toldOf({}, async () => {
    for (let port = 0; port < sent; port += 1) await send({ ...flow, sourcePort: 50_000 + port });
  });
  const all = async (): Promise<number> =>
    (await told(0))
      .filter(({ destination }) => destination.port === 5353)
      .reduce((sum, { count }) => sum + count, 0);
  await waitFor('all of them', async () => (await all()) === sent);
  assert.ok(seen.length < sent / 2, `${seen.length} events`);
});

test('audited: it passes and is told', { skip }, async () => {
  await enforce([web], true);
  const flow = makeFlow(world, ['shop/a', 'shop/b'], 'tcp/81');
  const events = await toldOf({}, async () => assert.ok(await send(flow)));
  assert.deepEqual(named(events), ['audit ingress shop/a shop/b NetworkPolicy shop/web 1']);
});

test(
  'staged: what would be denied passes and is told, what is enforced stays as it is',
  { skip },
  async () => {
    await enforce([{ ...web, staged: 'set' }]);
    const flow = makeFlow(world, ['shop/a', 'shop/b'], 'tcp/82');
    const events = await toldOf({}, async () => assert.ok(await send(flow)));
    assert.deepEqual(named(events), ['staged ingress shop/a shop/b NetworkPolicy shop/web 1']);
    await enforce([web, { ...web, staged: 'delete' }]);
    const again = await toldOf({}, async () => assert.ok(!(await send({ ...flow, sourcePort: 41_000 }))));
    assert.deepEqual(named(again), ['denied ingress shop/a shop/b NetworkPolicy shop/web 1']);
    assert.equal(again[0]?.staged, 'allow');
    assert.match(await wire.node.must(['nft', 'list', 'tables']), /tartan-policy-staged/);
    await enforce([web]);
    assert.doesNotMatch(await wire.node.must(['nft', 'list', 'tables']), /staged/, 'nothing is staged');
  },
);

test(
  'a rule that logs is told by its place, and what policies decided is counted by policy',
  { skip },
  async () => {
    const policy = {
      ...web,
      name: 'shop/logs',
      ingress: [{ ...makeRule('log'), origin }, makeRule('allow')],
    };
    await enforce([policy]);
    const events = await toldOf({ verdicts: ['logged'] }, async () => {
      assert.ok(await send(makeFlow(world, ['shop/a', 'shop/b'], 'tcp/83')));
    });
    assert.deepEqual(named(events), ['logged  shop/a shop/b NetworkPolicy shop/logs 1']);
    const metrics = await registry.metrics();
    for (const line of [
      'tartan_policy_packets_total{policy="NetworkPolicy shop/logs",action="allow"} 1',
      'tartan_flow_packets_total{verdict="denied",policy="NetworkPolicy shop/web"}',
      'tartan_flow_lost_packets_total 0',
    ])
      assert.ok(metrics.includes(line), `${line} in ${metrics}`);
  },
);

function start(
  t: TestContext,
  ...words: string[]
): { child: ChildProcess; out: () => string; err: () => string; end: Promise<number | null> } {
  const main = join(import.meta.dirname, '../../src/main.ts');
  const child = spawn(execPath, [main, 'flows', '--run', run, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const end = new Promise<number | null>((resolve) => child.on('close', resolve));
  t.after(() => child.kill('SIGKILL'));
  return { child, out: () => out, err: () => err, end };
}

test('tartan flows: the past as text and as lines of JSON, chosen by policy', { skip }, async (t) => {
  const text = start(t, '--policy', 'shop/web', '--last', '1', '--denied');
  assert.equal(await text.end, 0, text.err());
  const line =
    'denied ingress  pod shop/a 10.244.0.1:41000 → pod shop/b 10.244.0.2:82 tcp  NetworkPolicy shop/web (web.yaml:12 spec.ingress.0) staged policies: allow\n';
  assert.equal(text.out().slice('2026-11-21T19:10:23.123Z  '.length), line);
  const json = start(t, '-o', 'json', '--namespace', 'bank');
  assert.equal(await json.end, 0, json.err());
  const events = json
    .out()
    .trim()
    .split('\n')
    .map((each) => JSON.parse(each) as FlowEvent);
  assert.ok(events.length >= 6);
  assert.ok(events.every(({ destination }) => destination.name === 'bank/c'));
});

test(
  'tartan flows --follow: what happens as it happens, and Ctrl-C is an end like any other',
  { skip },
  async (t) => {
    await enforce([web]);
    const following = start(t, '--follow', '--last', '1', '--pod', 'b');
    await waitFor('the past', () => following.out() !== '');
    const past = following.out().length;
    await send(makeFlow(world, ['shop/a', 'bank/c'], 'tcp/84'));
    await send(makeFlow(world, ['bank/c', 'shop/b'], 'tcp/85', 6));
    await waitFor('the present', () => following.out().length > past);
    assert.match(
      following.out().slice(past),
      /^\S+ {2}denied ingress {2}pod bank\/c \S+ → pod shop\/b \[fd00::2\]:85 tcp {2}[^\n]+\n$/,
    );
    following.child.kill('SIGINT');
    assert.equal(await following.end, 0, following.err());
  },
);

test('tartan flows: a reader that has seen enough, an agent that is away', { skip }, async (t) => {
  const following = start(t, '--follow');
  await waitFor('the past', () => following.out() !== '');
  following.child.stdout?.destroy();
  // Until the pipe is written to, nobody knows.
  const ended = following.end.then(() => true);
  await waitFor('the end', async () => {
    await send(makeFlow(world, ['shop/a', 'bank/c'], 'tcp/86'));
    return Promise.race([ended, new Promise<false>((resolve) => setTimeout(resolve, 200, false))]);
  });
  assert.equal(await following.end, 0, following.err());
  const away = start(t, '--run', join(run, 'nowhere'));
  assert.equal(await away.end, 3);
  assert.match(away.err(), /no agent answers/);
});
