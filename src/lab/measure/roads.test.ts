import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { parseSettings } from '#config/parse.ts';
import { Fault } from '#model/fault.ts';
import { ROAD_NAMES } from '#model/settings.ts';
import { chooseRoads } from './roads.ts';

const profiles = Object.fromEntries(
  globSync('profiles/*.yaml').map((file) => [basename(file, '.yaml'), readFileSync(file, 'utf8')]),
);
const ALL = chooseRoads(undefined, '/secrets');

test('every road that carries packets is measured, each with a title of its own, and some of them encrypt', () => {
  const wanted = ROAD_NAMES.filter((road) => road !== 'alloc');
  assert.deepEqual(new Set(ALL.map(({ road }) => road)), new Set(wanted));
  assert.equal(new Set(ALL.map(({ title }) => title)).size, ALL.length);
  const encrypted = new Set(ALL.filter((one) => one.encrypted).map(({ road }) => road));
  assert.deepEqual(encrypted, new Set(['wireguard', 'ipsec', 'udp']));
});

for (const { title, settings, told, road, hasPolicies } of ALL) {
  test(`${title}: settings that a node takes, as measured and as told`, () => {
    const parse = (groups: object) => {
      const text = stringify({
        apiVersion: 'tartan.dev/v1',
        kind: 'Settings',
        policy: { enforce: hasPolicies },
        ...settings,
        ...groups,
      });
      return parseSettings([{ origin: 'measure', text }], profiles, { profile: 'canal', 'node.name': 'a' })
        .settings;
    };
    assert.equal(parse({}).road.type, road);
    assert.equal(parse({ road: told }).road.type, road);
  });
}

test('names that are no road are all told', () => {
  assert.throws(
    () => chooseRoads(['vxlan', 'x', 'alloc'], ''),
    (error) => error instanceof Fault && error.problems.length === 2,
  );
  assert.deepEqual(
    chooseRoads(['host-gw'], '').map(({ road }) => road),
    ['host-gw'],
  );
});
