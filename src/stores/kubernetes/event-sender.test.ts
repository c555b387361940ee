import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeSubject, startEventSender } from './event-sender.ts';
import { manualClock } from '#lib/clock.ts';
import type { Event } from '#lib/log.ts';
import type { KubernetesEvent } from './node-object.ts';

const TIME = '2026-01-02T03:04:05.678Z';
const warning = (text: string, more: Partial<Event> = {}): Event => ({
  time: TIME,
  severity: 'warning',
  text,
  ...more,
});

/** Promises that are due have been kept. */
async function turn(): Promise<void> {
  for (let round = 0; round < 3; round += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function run(
  work: (
    note: (event: Event) => void,
    sent: KubernetesEvent[],
    world: { clock: ReturnType<typeof manualClock>; isAway: boolean },
  ) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const clock = manualClock(Date.parse(TIME));
  const sent: KubernetesEvent[] = [];
  const world = { clock, isAway: false };
  const api = {
    sendEvent: (event: KubernetesEvent) => {
      if (world.isAway) return Promise.reject(new Error('away'));
      sent.push(event);
      return Promise.resolve();
    },
  };
  const sender = startEventSender({
    api,
    subject: nodeSubject('n1'),
    clock,
    signal: stop.signal,
    onError: () => {},
  });
  await turn();
  await work(sender.note, sent, world);
  stop.abort();
  await sender.stopped;
}

test('a warning is an Event of the node; the same again is one more of it', () =>
  run(async (note, sent) => {
    note(warning('the cable is loose'));
    note({ ...warning('all is well'), severity: 'info' });
    await turn();
    assert.equal(sent.length, 1);
    const [{ name, ...first }] = sent as [KubernetesEvent];
    assert.match(name, /^n1\.[0-9a-f]{16}$/);
    assert.deepEqual(first, {
      namespace: 'default',
      about: { kind: 'Node', name: 'n1', uid: 'n1' },
      type: 'Warning',
      reason: 'TartanWarning',
      message: 'the cable is loose',
      count: 1,
      firstTimestamp: '2026-01-02T03:04:05Z',
      lastTimestamp: '2026-01-02T03:04:05Z',
    });
    note(warning('the cable is loose', { time: '2026-01-02T04:00:00.000Z' }));
    await turn();
    assert.deepEqual(sent[1], { name, ...first, count: 2, lastTimestamp: '2026-01-02T04:00:00Z' });
  }));

test('what names a pod is the pod’s', () =>
  run(async (note, sent) => {
    const pod = { namespace: 'shop', name: 'web', uid: 'u' };
    note(warning('gone', { severity: 'error', pod }));
    await turn();
    assert.deepEqual(sent[0]?.about, { kind: 'Pod', ...pod });
    assert.deepEqual([sent[0]?.namespace, sent[0]?.reason], ['shop', 'TartanError']);
    assert.match(sent[0]?.name ?? '', /^web\./);
  }));

test('what names another node is that node’s', () =>
  run(async (note, sent) => {
    note(warning('gone', { aboutNode: 'n2' }));
    await turn();
    assert.deepEqual(sent[0]?.about, { kind: 'Node', name: 'n2', uid: 'n2' });
    assert.deepEqual([sent[0]?.namespace, sent[0]?.name.startsWith('n2.')], ['default', true]);
  }));

test('a storm: few writes, and every count is right in the end', () =>
  run(async (note, sent, { clock }) => {
    for (let round = 0; round < 500; round += 1) note(warning(`w${round % 20}`));
    await turn();
    assert.equal(sent.length, 10, 'the burst');
    for (let step = 0; step < 40; step += 1) {
      await clock.advance(3000);
      await turn();
    }
    const last = new Map(sent.map((event) => [event.message, event.count]));
    assert.equal(last.size, 20);
    assert.ok(
      [...last.values()].every((count) => count === 25),
      JSON.stringify([...last]),
    );
    assert.ok(sent.length <= 10 + 20, `${sent.length} writes`);
  }));

test('different ones without end: the oldest of those that wait are dropped', () =>
  run(async (note, sent, { clock }) => {
    for (let round = 0; round < 1000; round += 1) note(warning(`w${round}`));
    for (let step = 0; step < 400; step += 1) {
      await clock.advance(3000);
      await turn();
    }
    assert.equal(sent.length, 100);
    assert.equal(sent.at(-1)?.message, 'w999');
  }));

test('with the API server away, it is sent when that is back', () =>
  run(async (note, sent, world) => {
    world.isAway = true;
    note(warning('away'));
    await turn();
    world.isAway = false;
    for (let step = 0; step < 20; step += 1) {
      await world.clock.advance(3000);
      await turn();
    }
    assert.deepEqual(
      sent.map(({ message }) => message),
      ['away'],
    );
  }));
