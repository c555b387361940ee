import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isOfKind, selectObjects } from './kind-words.ts';

const object = (apiVersion: string, kind: string, name = 'a', namespace?: string) => ({
  name: `${apiVersion}/${kind}/${name}`,
  value: { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } },
  origin: 'test',
});

test('kinds by the words that kubectl takes', () => {
  const policy = object('networking.k8s.io/v1', 'NetworkPolicy');
  const words = ['NetworkPolicy', 'networkpolicy', 'networkpolicies', 'netpol', 'netpols', 'all'];
  for (const word of [...words, 'networkpolicies.networking.k8s.io', 'NetworkPolicy.networking.k8s.io'])
    assert.ok(isOfKind(policy, word), word);
  for (const word of ['network', 'policies', 'globalnetworkpolicy', 'netpol.projectcalico.org', ''])
    assert.ok(!isOfKind(policy, word), word);
  assert.ok(isOfKind(object('v1', 'Namespace'), 'ns'));
  assert.ok(isOfKind(object('tartan.dev/v1', 'SubnetClaim'), 'subnets'));
  assert.ok(isOfKind(object('tartan.dev/v1', 'Workloads'), 'workloads'));
});

test('by name and namespace', () => {
  const objects = [
    object('v1', 'Pod', 'a', 'x'),
    object('v1', 'Pod', 'a', 'y'),
    object('v1', 'Pod', 'b', 'x'),
  ];
  assert.equal(selectObjects(objects, { kind: 'po' }).length, 3);
  assert.equal(selectObjects(objects, { kind: 'po', name: 'a' }).length, 2);
  assert.deepEqual(selectObjects(objects, { kind: 'po', name: 'a', namespace: 'y' }), [objects[1]]);
});
