import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LastPlace, type Place } from './last-place.ts';
import { settings } from '#backends/testing/nodes.ts';
import { manualClock } from '#lib/clock.ts';
import { Events } from '#lib/log.ts';
import type { Settings } from '#model/settings.ts';
import type { PerFamily } from '#net/per-family.ts';
import { type Prefix, prefix } from '#net/prefix.ts';

const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const PLACE: Place = {
  subnets: { 4: prefix('10.244.1.0/24'), 6: prefix('fd44:0:0:1::/64') },
  ways: [{ roads: ['vxlan'], mode: 'Always' }],
};

type Agent = { readonly last: LastPlace; readonly resumed: PerFamily<Prefix>[]; wait(): Promise<void> };

function start(meta: Map<string, string>, own: Settings, isGiven = true): Agent {
  const clock = manualClock();
  const resumed: PerFamily<Prefix>[] = [];
  const ledger = {
    getMeta: (name: string) => meta.get(name),
    setMeta: (name: string, value: string | undefined) => void meta.set(name, value ?? ''),
  };
  const parts = {
    settings: own,
    ledger,
    clock,
    signal: new AbortController().signal,
    events: new Events(quiet),
  };
  const resume = isGiven ? (held: PerFamily<Prefix>) => void resumed.push(held) : undefined;
  const last = new LastPlace({ parts, resume, nudge: () => undefined });
  return { last, resumed, wait: () => clock.advance(10_000) };
}

test('the place of the agent before, once the store has had its time, and only what this release wrote', async () => {
  const own = settings('vxlan');
  const meta = new Map<string, string>();
  const first = start(meta, own);
  await first.wait();
  assert.equal(first.last.recall(), undefined, 'a node that was never ready');
  first.last.keep(PLACE);

  const second = start(meta, own);
  assert.equal(second.last.recall(), undefined, 'the store may answer yet');
  await second.wait();
  assert.deepEqual([second.last.recall(), second.last.recall()], [PLACE, PLACE]);
  assert.deepEqual(second.resumed, [PLACE.subnets]);
  assert.ok(second.last.isUsed);

  for (const text of ['{"format":2,"subnets":{},"ways":[]}', '{"format":1,', 'null']) {
    const other = start(new Map([...meta.keys()].map((name) => [name, text])), own);
    await other.wait();
    assert.equal(other.last.recall(), undefined, text);
    assert.ok(!other.last.isUsed);
  }
});

test('nothing is kept where policies are enforced, or the store alone can tell whose the subnet is', async () => {
  const own = settings('vxlan');
  const enforcing = { ...own, policy: { ...own.policy, enforce: true } };
  for (const [which, isGiven] of [
    [enforcing, true],
    [own, false],
  ] as const) {
    const meta = new Map<string, string>();
    const agent = start(meta, which, isGiven);
    agent.last.keep(PLACE);
    assert.equal(meta.size, 0);
    await agent.wait();
    assert.equal(agent.last.recall(), undefined);
  }
});
