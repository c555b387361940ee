import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PoolMode } from '#model/road.ts';
import type { RoadName } from '#model/settings.ts';
import { prefix } from '#net/prefix.ts';
import { chooseForPeer } from './choose.ts';
import { peerOf, selfOf } from './testing/nodes.ts';

/** By family: what leads to the peer, or that nothing does. */
function carriers(
  road: RoadName,
  near: boolean,
  mode: PoolMode['mode'],
  strict = false,
): (string | undefined)[] {
  const self = selfOf(road);
  const { settings } = self;
  const wireguard = { ...settings.road.wireguard, strict };
  const poolModes = [{ prefix: prefix('10.244.0.0/17'), mode }];
  const judged = { ...self, poolModes, settings: { ...settings, road: { ...settings.road, wireguard } } };
  const { legs } = chooseForPeer(judged, peerOf(road, 2, near));
  return ([4, 6] as const).map(
    (family) => legs.find((leg) => leg.prefix.includes(':') === (family === 6))?.carrier,
  );
}

test('a pool says itself when packets to its addresses are encapsulated; others go by the settings', () => {
  for (const road of ['vxlan', 'ipip', 'gre', 'fou', 'wireguard'] as const) {
    assert.deepEqual(carriers(road, true, 'Always'), [road, road]);
    assert.deepEqual(carriers(road, true, 'CrossSubnet'), ['direct', road]);
    assert.deepEqual(carriers(road, false, 'CrossSubnet'), [road, road]);
    assert.deepEqual(carriers(road, true, 'Never'), ['direct', road]);
    assert.deepEqual(carriers(road, false, 'Never'), [undefined, road], 'a router is between');
  }
});

test('no pool makes plain what has to be sealed', () => {
  for (const near of [true, false])
    assert.deepEqual(carriers('wireguard', near, 'Never', true), ['wireguard', 'wireguard']);
});
