import assert from 'node:assert/strict';
import { test } from 'node:test';
import { address } from '#net/address.ts';
import { readManifests } from './manifest.ts';
import { readSnapshot, writeSnapshot } from './policy-snapshot.ts';

test('a snapshot survives JSON, with the lines of its manifests', () => {
  const text = 'kind: A\nspec:\n  toString: 1\n  list: [{ __proto__: 2 }]\n';
  const [manifest] = readManifests('a.yaml', text).manifests;
  assert.ok(manifest !== undefined);
  const snapshot = {
    node: 'a',
    links: [{ address: address('192.0.2.1'), link: 'eth0' }],
    retained: [{ name: 'tier', manifest }],
    manifests: [
      { name: 'one', manifest, problems: [] },
      { name: 'two', problems: [{ path: 'x', message: 'y' }] },
    ],
    workloads: [],
    nodes: [{ name: 'a', addresses: [address('192.0.2.1')] }],
  };
  const read = readSnapshot(JSON.parse(JSON.stringify(writeSnapshot(snapshot))) as never);
  assert.deepEqual(read.manifests[0]?.manifest?.lines, manifest.lines);
  assert.deepEqual(JSON.stringify(read), JSON.stringify(snapshot));
});
