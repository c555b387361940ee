import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderFlow } from './flow-text.ts';
import type { FlowEvent } from '#model/flow-event.ts';
import { address } from '#net/address.ts';

const event: FlowEvent = {
  time: '2026-11-21T19:10:23.123Z',
  count: 1,
  verdict: 'denied',
  direction: 'ingress',
  protocol: 6,
  source: { kind: 'pod', name: 'shop/a', address: address('fd00::1'), port: 4_000 },
  destination: { kind: 'node', name: 'n1', address: address('192.0.2.1'), port: 22 },
};
const tail = (more: Partial<FlowEvent>): string => renderFlow({ ...event, ...more }).split(' → ')[1] ?? '';

test('a flow is one line, with everything that is known', () => {
  const decided = { tier: 'default', policy: 'NetworkPolicy shop/web', origin: 'web.yaml:3 spec' };
  assert.equal(
    renderFlow({ ...event, ...decided, rule: 'no ssh', count: 3, staged: 'allow' }),
    '2026-11-21T19:10:23.123Z  denied ingress  pod shop/a [fd00::1]:4000 → node n1 192.0.2.1:22 tcp' +
      '  NetworkPolicy shop/web "no ssh" (web.yaml:3 spec) staged policies: allow  ×3',
  );
});

test('whatever is not known, or is not so', () => {
  const outside = { kind: 'outside', address: address('203.0.113.7') } as const;
  const icmp = { destination: outside, protocol: 1, icmp: { type: 8, code: 0 } };
  assert.equal(tail(icmp), '203.0.113.7 icmp type 8 code 0  by policies that are others now');
  assert.equal(
    tail({ destination: outside, protocol: 47, tier: 'admin' }),
    '203.0.113.7 protocol 47  no rule allows it (tier admin)',
  );
  const closed = {
    tier: 'default',
    isolatedBy: ['NetworkPolicy shop/x', 'NetworkPolicy shop/y'],
    at: 'eth0',
  };
  assert.equal(
    tail({ ...closed, before: { address: address('10.96.0.1'), port: 443 } }),
    'node n1 192.0.2.1:22 tcp (asked for 10.96.0.1:443)' +
      '  no rule of NetworkPolicy shop/x, NetworkPolicy shop/y allows it (tier default) at interface eth0',
  );
  assert.doesNotMatch(tail({ verdict: 'staged', staged: 'deny' }), /staged policies/);
});
