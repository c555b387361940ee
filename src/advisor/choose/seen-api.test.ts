import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seenInApi } from './seen-api.ts';
import { type Manifest, manifestOf } from '#model/manifest.ts';

type Fields = Readonly<Record<string, unknown>>;

function object(apiVersion: string, kind: string, name: string, more: Fields = {}): Manifest {
  return manifestOf('cluster', { apiVersion, kind, metadata: { name }, ...more });
}

function node(name: string, kernelVersion: string, spec: Fields, labels: Fields = {}): Manifest {
  return object('v1', 'Node', name, {
    metadata: { name, labels },
    spec,
    status: { nodeInfo: { kernelVersion } },
  });
}

const pod = (name: string, nodeName: string, more: Fields = {}): Manifest =>
  object('v1', 'Pod', name, { spec: { nodeName, ...more } });

test('a cluster answers what its objects tell', () => {
  const instance = { 'node.kubernetes.io/instance-type': 'm5.large' };
  const { answers, how } = seenInApi([
    node('a', '5.10.0-26-amd64', { providerID: 'aws:///x/i-1', podCIDRs: ['10.0.0.0/24'] }, instance),
    node('b', '5.4.250', { providerID: 'aws:///x/i-2', podCIDRs: ['fd00::/64'] }, instance),
    pod('one', 'a'),
    pod('two', 'a'),
    pod('agent', 'a', { hostNetwork: true }),
    pod('three', 'b'),
    pod('waiting', ''),
    object('apps/v1', 'DaemonSet', 'calico-node'),
    object('networking.k8s.io/v1', 'NetworkPolicy', 'p', { spec: { podSelector: {} } }),
  ]);
  assert.deepEqual(answers, {
    nodes: 2,
    platform: 'aws',
    instance: 'm5.large',
    podsPerNode: 2,
    family: 'dual',
    kernel: '5.4.250',
    present: 'calico',
    policies: ['kubernetes'],
  });
  assert.deepEqual(Object.keys(how).sort(), Object.keys(answers).sort(), 'it says of each how it is known');
});

test('what differs from node to node, or is not told, is asked', () => {
  const { answers } = seenInApi([
    node('a', '6.1.0', { providerID: 'aws:///x/i-1' }),
    node('b', '6.1.0', { providerID: 'gce://x' }),
    object('v1', 'Service', 'front'),
  ]);
  assert.deepEqual(answers, { nodes: 2, kernel: '6.1.0' });
  assert.deepEqual(seenInApi([object('v1', 'Service', 'front')]).answers, {}, 'no Node can be read');
});
