import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registry } from 'prom-client';
import { openFlowMetrics } from './metrics.ts';
import { Usage } from './usage.ts';
import { manualClock } from '#lib/clock.ts';
import type { PolicyProgram } from '#model/policy-program.ts';
import { address } from '#net/address.ts';

const step = (policy: string, outcome: 'allow' | 'deny') => ({ tier: 'default', policy, outcome });
const program: PolicyProgram = {
  entries: new Map([
    ['rest 1', 'deny'],
    ['port 1 6 80', 'allow'],
    ['protocol 1 1', 'c1'],
  ]),
  chains: new Map([['c1', [{ log: 'tartan 1' }, { verdict: 'deny' }]]]),
  reasons: new Map([
    ['rest 1', { step: { tier: 'default', outcome: 'deny' }, logs: [] }],
    ['port 1 6 80', { step: step('NetworkPolicy shop/web', 'allow'), logs: [] }],
    ['c1 0', { step: step('NetworkPolicy shop/icmp', 'deny'), logs: [] }],
    ['c1 1', { step: step('NetworkPolicy shop/icmp', 'deny'), logs: [] }],
  ]),
  logs: new Map(),
};

function counting() {
  const clock = manualClock();
  const counts = new Map<string, bigint>();
  let readings = 0;
  const usage = new Usage({
    counts: {
      read: async () => {
        readings += 1;
        return [...counts].map(([key, packets]) => ({ key, count: { packets, bytes: packets * 60n } }));
      },
    },
    program: () => program,
    clock,
    onError: (error) => assert.fail(String(error)),
  });
  const registry = new Registry();
  const metrics = openFlowMetrics(registry, () => usage.refresh(metrics));
  const scrape = async (): Promise<string[]> =>
    (await registry.metrics()).split('\n').filter((line) => /^tartan_policy_(packets|denied)/.test(line));
  return { clock, counts, registry, metrics, scrape, readings: () => readings };
}

test('each policy has what its entries and rules of chains counted, once', async () => {
  const { counts, scrape } = counting();
  for (const [key, packets] of [
    ['rest 1', 3n],
    ['port 1 6 80', 4n],
    ['protocol 1 1', 7n],
    ['c1 0', 7n],
    ['c1 1', 7n],
    ['denied-egress 1', 10n],
    ['egress4-selected 4', 99n],
    ['rest 77', 99n],
  ] as const)
    counts.set(key, packets);
  assert.deepEqual((await scrape()).sort(), [
    'tartan_policy_denied_packets_total{direction="egress"} 10',
    'tartan_policy_packets_total{policy="NetworkPolicy shop/icmp",action="deny"} 7',
    'tartan_policy_packets_total{policy="NetworkPolicy shop/web",action="allow"} 4',
    'tartan_policy_packets_total{policy="tier default",action="deny"} 3',
  ]);
});

test('sums go on when counters begin anew, and do not grow by what a reading left out', async () => {
  const { clock, counts, scrape, readings } = counting();
  const after = async (packets: bigint | undefined): Promise<string | undefined> => {
    if (packets === undefined) counts.delete('rest 1');
    else counts.set('rest 1', packets);
    await clock.advance(10_000);
    return (await scrape())
      .find((line) => line.includes('tier default'))
      ?.split(' ')
      .at(-1);
  };
  assert.equal(await after(5n), '5');
  assert.equal(await after(8n), '8');
  assert.equal(await after(undefined), '8', 'left out by a reading');
  assert.equal(await after(9n), '9');
  assert.equal(await after(2n), '11', 'the table is new');
  assert.equal(readings(), 5, 'one for all metrics of a scrape');
  counts.set('rest 1', 50n);
  await clock.advance(9_000);
  await scrape();
  assert.equal(readings(), 5, 'not again within ten seconds');
});

test('however many policies there are, series are few', async () => {
  const { metrics, registry } = counting();
  for (let policy = 0; policy < 2_000; policy += 1) {
    metrics.onEvent({
      time: '',
      count: 2,
      verdict: 'denied',
      protocol: 6,
      source: { kind: 'outside', address: address('10.0.0.1') },
      destination: { kind: 'outside', address: address('10.0.0.2') },
      policy: `NetworkPolicy shop/p${policy}`,
    });
  }
  const lines = (await registry.metrics())
    .split('\n')
    .filter((line) => line.startsWith('tartan_flow_packets'));
  assert.equal(lines.length, 501);
  assert.ok(lines.includes('tartan_flow_packets_total{verdict="denied",policy="others"} 3000'));
});
