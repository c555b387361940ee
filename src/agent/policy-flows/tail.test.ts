import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Gatherer } from './gather.ts';
import { Tail } from './tail.ts';
import { manualClock } from '#lib/clock.ts';
import { type FlowEvent, type FlowFacts, type FlowLine, matchesFlow } from '#model/flow-event.ts';
import { parseLogPrefix } from '#model/policy-log.ts';
import { address } from '#net/address.ts';

const facts: FlowFacts = {
  verdict: 'denied',
  protocol: 6,
  source: { kind: 'pod', name: 'shop/web', address: address('10.0.0.1') },
  destination: { kind: 'pod', name: 'bank/db', address: address('10.0.0.2'), port: 5432 },
};
const eventOf = (count: number, more: Partial<FlowEvent> = {}): FlowEvent => ({
  time: '2026-11-21T00:00:00.000Z',
  count,
  ...facts,
  ...more,
});
const packetOf = (sourcePort: number, prefix = 'tartan denied egress') => ({
  prefix,
  bytes: 60,
  flow: {
    protocol: 6,
    source: address('10.0.0.1'),
    destination: address('10.0.0.2'),
    sourcePort,
    destinationPort: 80,
  },
});

test('filters: every part must hold, of either end, and names are whole', () => {
  const event = eventOf(1, {
    policy: 'NetworkPolicy shop/web-only',
    isolatedBy: ['NetworkPolicy shop/closed'],
  });
  const holds = [
    {},
    { namespace: 'bank' },
    { pod: 'db' },
    { pod: 'shop/web' },
    { policy: 'web-only' },
    { policy: 'NetworkPolicy shop/closed' },
    { verdicts: ['denied', 'audit'], namespace: 'shop' },
  ] as const;
  for (const filter of holds) assert.ok(matchesFlow(event, filter), JSON.stringify(filter));
  const fails = [
    { namespace: 'ban' },
    { pod: 'eb' },
    { pod: 'bank/web' },
    { policy: 'only' },
    { verdicts: ['staged'] },
    { pod: 'db', namespace: 'other' },
  ] as const;
  for (const filter of fails) assert.ok(!matchesFlow(event, filter), JSON.stringify(filter));
});

function gatherer(clock: ReturnType<typeof manualClock>) {
  const events: FlowEvent[] = [];
  let lost = 0;
  const gatherer = new Gatherer({
    clock,
    signal: new AbortController().signal,
    describe: () => facts,
    onEvent: (event) => events.push(event),
    onLost: (packets) => (lost += packets),
  });
  const add = (port: number, prefix?: string): void => {
    const packet = packetOf(port, prefix);
    const mark = parseLogPrefix(packet.prefix);
    assert.ok(mark !== undefined);
    gatherer.add(packet, mark);
  };
  return { add, events, lost: () => lost };
}

test('packets that are the same within a second are one event, whatever port they come from', async () => {
  const clock = manualClock(1_000);
  const { add, events } = gatherer(clock);
  for (let port = 1; port <= 5; port += 1) add(port);
  add(1, 'tartan denied ingress');
  // Chains may have asked about the source port.
  for (const port of [1, 1, 2]) add(port, 'tartan denied');
  assert.equal(events.length, 0);
  await clock.advance(1_000);
  assert.deepEqual(
    events.map(({ count }) => count),
    [5, 1, 2, 1],
  );
  assert.equal(events[0]?.time, '1970-01-01T00:00:01.000Z');
  add(1);
  await clock.advance(1_000);
  assert.equal(events.length, 5);
});

test('more different packets than can be held are counted', async () => {
  const clock = manualClock();
  const { add, events, lost } = gatherer(clock);
  for (let port = 0; port < 3_000; port += 1) add(port, 'tartan denied');
  await clock.advance(1_000);
  assert.equal(events.length + lost(), 3_000);
  assert.equal(events.length, 2_048);
});

async function read(lines: AsyncGenerator<FlowLine>, count: number): Promise<(number | string)[]> {
  const seen: (number | string)[] = [];
  while (seen.length < count) {
    const { value } = (await lines.next()) as { value: FlowLine };
    seen.push('event' in value ? value.event.count : 'lost' in value ? `lost ${value.lost} ${value.at}` : '');
  }
  return seen;
}

test('the last events are kept, and followers get them first, then each that matches', async () => {
  const tail = new Tail(3);
  for (let count = 1; count <= 5; count += 1) tail.push(eventOf(count));
  const counts = (events: readonly FlowEvent[]): number[] => events.map(({ count }) => count);
  assert.deepEqual(counts(tail.last(10, {})), [3, 4, 5]);
  assert.deepEqual(counts(tail.last(2, {})), [4, 5]);
  assert.deepEqual(counts(tail.last(0, {})), []);
  const stop = new AbortController();
  const lines = tail.follow({ verdicts: ['denied'] }, 1, stop.signal);
  assert.deepEqual(await read(lines, 1), [5]);
  tail.push(eventOf(6, { verdict: 'staged' }));
  tail.push(eventOf(7));
  tail.lose(9);
  assert.deepEqual(await read(lines, 2), [7, 'lost 9 agent']);
  const waiting = lines.next();
  stop.abort();
  assert.equal((await waiting).done, true);
});

test('a slow reader misses the oldest, is told how many, and costs nobody else anything', async () => {
  const tail = new Tail(10);
  const stop = new AbortController();
  const [slow, other] = [tail.follow({}, 0, stop.signal), tail.follow({}, 0, stop.signal)];
  const [first, second] = [slow.next(), other.next()];
  tail.push(eventOf(0));
  assert.deepEqual([(await first).value, (await second).value].length, 2);
  for (let count = 1; count <= 1_500; count += 1) {
    tail.push(eventOf(count));
    if (count % 100 === 0) assert.equal((await read(other, 100)).at(-1), count);
  }
  assert.deepEqual(await read(slow, 3), ['lost 476 reader', 477, 478]);
  stop.abort();
  assert.equal((await slow.return(undefined)).done, true);
});
