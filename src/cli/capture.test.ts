import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PodStatus } from '#api/status.ts';
import { Fault } from '#model/fault.ts';
import { findPod } from './capture.ts';

function pod(namespace: string, name: string, containerId: string, address: string): PodStatus {
  return {
    network: 'tartan',
    namespace,
    name,
    containerId,
    ifname: 'eth0',
    netns: `/run/netns/${name}`,
    addresses: [address],
    hostLink: 'tt0',
    mtu: 1450,
    phase: 'ready',
  };
}

const PODS = [
  pod('shop', 'web', 'aaaa1111', '10.0.0.2/24'),
  pod('blog', 'web', 'aaaa2222', '10.0.0.3/24'),
  pod('blog', 'db', 'bbbb0000', 'fd00::4/64'),
];

test('a pod is found by name, full name, container id or address', () => {
  for (const [word, id] of [
    ['db', 'bbbb0000'],
    ['shop/web', 'aaaa1111'],
    ['aaaa2', 'aaaa2222'],
    ['fd00::4', 'bbbb0000'],
  ] as const) {
    assert.equal(findPod(PODS, word).containerId, id);
  }
});

test('an ambiguous or unknown word is answered with the candidates', () => {
  const candidates = (word: string): number => {
    try {
      findPod(PODS, word);
    } catch (error) {
      assert.ok(error instanceof Fault);
      return error.problems.length;
    }
    return 0;
  };
  assert.equal(candidates('web'), 2);
  assert.equal(candidates('aaaa'), 2);
  assert.equal(candidates('nobody'), 3);
});
