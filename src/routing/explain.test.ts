/** Why a learned route is not used: one sentence for each reason there is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SeenRoute, SeenSession } from '#model/routing.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { explainRoutes, type LearnedInput, whyDown } from './explain.ts';
import { planRouting } from './plan.ts';
import { inputOf, SETTINGS } from './testing/cluster.ts';

const N2 = 'mesh4_192_168_1_2';
const N3 = 'mesh4_192_168_1_3';

function routeOf(text: string, more: Partial<SeenRoute> = {}): SeenRoute {
  return {
    prefix: prefix(text),
    from: N2,
    via: [{ gateway: address('192.168.1.2'), interface: 'eth0' }],
    kind: 'unicast',
    chosen: true,
    filtered: false,
    asPath: [],
    communities: [],
    ...more,
  };
}

function explain(routes: readonly SeenRoute[], more: Partial<Omit<LearnedInput, 'routes'>> = {}): string[] {
  const services = { ranges: { ...SETTINGS.services.ranges, cluster: [prefix('10.96.0.0/12')] }, single: [] };
  const pools = [...SETTINGS.pools, { prefix: prefix('10.78.0.0/16'), exported: true, installed: false }];
  const { plan } = planRouting(inputOf({ settings: { ...SETTINGS, services, pools } }));
  assert.ok(plan !== undefined);
  const found = explainRoutes({ plan, routes, installed: new Set(), others: [], ...more });
  return found.map(({ prefix, used, why }) => `${prefix} ${used ? 'used' : why}`);
}

test('a route that the daemon wrote and nobody else has is used', () => {
  const installed = new Set([prefix('10.77.2.0/24')]);
  assert.deepEqual(explain([routeOf('10.77.2.0/24')], { installed }), ['10.77.2.0/24 used']);
});

test('what nobody told is not shown', () => {
  assert.deepEqual(explain([routeOf('10.77.1.0/24', { from: 'pods4' })]), []);
});

test('refused, out of reach, not the best, of services, of another road', () => {
  const best = routeOf('10.77.3.0/24', { from: N3 });
  const found = explain(
    [
      routeOf('203.0.113.0/24', { filtered: true, chosen: false }),
      routeOf('198.51.100.0/24', { kind: 'unreachable', nextHop: address('192.0.2.1') }),
      best,
      routeOf('10.77.3.0/24', { chosen: false }),
      routeOf('10.96.0.1/32'),
      routeOf('10.78.1.0/24'),
    ],
    { installed: new Set([best.prefix]) },
  );
  assert.deepEqual(found, [
    '10.77.3.0/24 BIRD prefers the route of mesh: n3',
    '10.77.3.0/24 used',
    '10.78.1.0/24 another road leads to pods',
    '10.96.0.1/32 it is of services: each node finds its own way to them',
    '198.51.100.0/24 its next hop 192.0.2.1 is out of reach',
    '203.0.113.0/24 BIRD refuses it',
  ]);
});

test('others in the kernel: one that comes first, one in its place, one that comes after', () => {
  const route = routeOf('10.77.2.0/24');
  const withRival = (metric: number, isInstalled: boolean): string[] =>
    explain([route], {
      installed: new Set(isInstalled ? [route.prefix] : []),
      others: [
        { prefix: route.prefix, metric },
        { prefix: prefix('10.77.3.0/24'), metric: 0 },
      ],
    });
  assert.deepEqual(withRival(512, true), ['10.77.2.0/24 another route with metric 512 comes first']);
  assert.deepEqual(withRival(544, false), [
    '10.77.2.0/24 another program’s route has its place (metric 544)',
  ]);
  assert.deepEqual(withRival(1024, false), ['10.77.2.0/24 the kernel does not have it (yet)']);
  assert.deepEqual(withRival(1024, true), ['10.77.2.0/24 used']);
});

test('why a session is down: what the daemon says, else what its state means', () => {
  const session: SeenSession = {
    name: N2,
    protocol: 'BGP',
    up: false,
    state: 'Active',
    since: '',
    channels: [],
  };
  assert.match(whyDown(session) ?? '', /no answer from the peer/);
  assert.equal(whyDown({ ...session, problem: 'Socket: Connection refused' }), 'Socket: Connection refused');
  assert.equal(whyDown({ ...session, up: true, state: 'Established' }), undefined);
});
