/** What facts/ says of Tartan itself is what its code and tests do, and every fact has its source. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { cellOf, cellsOf } from '#advisor/facts/facts.ts';
import { type Feature, FEATURE_NAMES, FEATURES } from '#advisor/facts/features.ts';
import { parseFacts } from '#advisor/facts/parse.ts';
import { parseSettings } from '#config/parse.ts';
import { ROAD_NAMES, STORE_TYPES } from '#model/settings.ts';
import { FRONTENDS } from '#policy/frontends/index.ts';

const read = (pattern: string) =>
  Object.fromEntries(globSync(pattern).map((file) => [basename(file, '.yaml'), readFileSync(file, 'utf8')]));
const profiles = read('profiles/*.yaml');
const facts = parseFacts(read('facts/*.yaml'));
const own = facts.candidates.filter(({ profile }) => profile !== undefined);

test('every provider of the comparison and every profile is a candidate', () => {
  const ids = new Set(facts.candidates.map(({ id }) => id));
  const providers = [
    'kubenet',
    'flannel',
    'canal',
    'calico',
    'cilium',
    'weave',
    'kube-router',
    'romana',
    'kopeio',
    'aws-vpc-cni',
  ];
  for (const id of providers) assert.ok(ids.has(id), id);
  assert.deepEqual(own.map(({ profile }) => profile ?? '').toSorted(), Object.keys(profiles).toSorted());
});

/** What a comparison must tell: each of them of everybody, if only that a source was read and says nothing. */
const DECIDING: readonly Feature[] = FEATURE_NAMES.filter(
  (name) =>
    FEATURES[name].group !== 'speed' && !['nodesAws', 'nodesGcp', 'nodesAzure', 'memoryMiB'].includes(name),
);

test('every feature that decides something has a cell for everybody', () => {
  assert.ok(DECIDING.length > 45);
  const missing = facts.candidates.flatMap(({ id, facts: all }) =>
    DECIDING.filter((name) => all[name] === undefined).map((name) => `${id}: ${name}`),
  );
  assert.deepEqual(missing, []);
});

test('what a source is read for and says nothing of is not where another of the same day says something', () => {
  for (const { id, facts: all } of facts.candidates)
    for (const [feature, claims] of Object.entries(all))
      assert.ok(
        new Set(claims.filter(({ date }) => date === claims[0]?.date).map(({ value }) => value)).size === 1 ||
          claims.every(({ value }) => value !== 'unknown'),
        `${id}: ${feature}`,
      );
});

test('every source is used, and used facts are as old as they say', () => {
  const used = new Set(
    facts.candidates.flatMap(({ facts: all }) =>
      Object.values(all)
        .flat()
        .map(({ source }) => source),
    ),
  );
  const elsewhere = readFileSync('src/advisor/capacity/capacity.ts', 'utf8');
  for (const source of Object.keys(facts.sources))
    assert.ok(used.has(source) || elsewhere.includes(`'${source}'`), source);
});

for (const candidate of own) {
  test(`${candidate.title}: whatever it says it does is shown by a test that exists`, () => {
    let shown = 0;
    for (const { feature, value, claim } of cellsOf(candidate)) {
      assert.equal(claim?.source, 'tartan', feature);
      if (value === 'no' || value === 'unknown') continue;
      const [file = '', words = ''] = claim?.shownBy?.split(/: (.*)/s) ?? [];
      assert.ok(existsSync(file), `${feature}: no file ${JSON.stringify(file)}`);
      if (FEATURES[feature].type === 'ability' && feature !== 'maintained')
        assert.match(file, /\.test\.ts$|^test\//, `${feature}: what it can do, a test shows`);
      assert.ok(
        words !== '' && readFileSync(file, 'utf8').includes(words),
        `${feature}: no “${words}” in ${file}`,
      );
      shown += 1;
    }
    assert.ok(shown > 10, `only ${shown} cells are shown`);
  });

  test(`${candidate.title}: its cells are what the code says`, () => {
    const { settings } = parseSettings([], profiles, { profile: candidate.profile, 'node.name': 'a' });
    const { type } = settings.road;
    const value = (feature: Feature) => cellOf(candidate, feature).value;
    assert.equal(value('encapsulation'), type === 'host-gw' ? 'no' : 'yes');
    assert.equal(value('acrossSubnets'), type === 'host-gw' ? 'no' : 'yes');
    assert.equal(value('kubernetesApi'), STORE_TYPES.includes('kubernetes') ? 'yes' : 'no');
    const encrypts = ROAD_NAMES.some((road) => ['wireguard', 'ipsec', 'tunnel', 'mesh'].includes(road));
    assert.equal(value('encryption'), encrypts ? 'yes' : 'no');
    const kinds = new Set(FRONTENDS.map(({ apiVersion, kind }) => `${apiVersion.split('/')[0]}/${kind}`));
    const reads = (start: string) => ([...kinds].some((kind) => kind.startsWith(start)) ? 'yes' : 'no');
    assert.equal(value('networkPolicy'), reads('networking.k8s.io/NetworkPolicy'));
    assert.equal(value('clusterPolicy'), reads('policy.networking.k8s.io/ClusterNetworkPolicy'));
    assert.equal(value('calicoPolicy'), reads('projectcalico.org/GlobalNetworkPolicy'));
    assert.equal(value('hostPolicy'), reads('projectcalico.org/HostEndpoint'));
    assert.equal(value('ciliumPolicy'), reads('cilium.io/'));
  });
}
