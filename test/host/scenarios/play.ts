/** A lab with the cluster's pods, every scenario of some documentation in it, and what was sent, counted. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ready } from '#kernel/netns.ts';
import { type PolicyLab, startPolicyLab } from '../policy-pods.ts';
import { clusterManifests, PODS } from './cluster.ts';
import { type Judge, openJudge } from './judge.ts';
import { type Documentation, type NewPod, titleOf } from './scenario.ts';

const DUAL = { network: { ipv4: { range: '10.244.0.0/16' }, ipv6: { range: 'fd77::/48' } } };

/** To be called inside of a `describe`. */
export function playAll(
  documentation: readonly Documentation[],
  options: Parameters<typeof startPolicyLab>[0],
  nodeOf: (pod: NewPod) => string,
): void {
  let policies: PolicyLab;
  let judge: Judge;
  before(async () => {
    await ready;
    policies = await startPolicyLab({ ...options, settings: { ...DUAL, ...options.settings } });
    for (const pod of PODS) {
      const { name, namespace, labels } = pod;
      await policies.lab.addPod(nodeOf(pod), name, { namespace, labels });
    }
    judge = openJudge(policies, clusterManifests(nodeOf));
  });
  after(async () => {
    judge?.close();
    await policies?.[Symbol.asyncDispose]();
  });
  for (const { title, scenarios } of documentation)
    describe(title, () => {
      for (const scenario of scenarios) test(titleOf(scenario), () => judge.play(scenario));
    });
  test('every protocol in both families was allowed and denied, and nothing denied came late', (t) => {
    judge.settle();
    const counts = judge.counts();
    t.diagnostic(JSON.stringify(Object.fromEntries(counts)));
    for (const protocol of ['tcp', 'udp', 'sctp', 'icmp', '47'])
      for (const family of ['IPv4', 'IPv6'])
        for (const outcome of ['allow', 'deny'])
          assert.ok(counts.has(`${protocol} ${family} ${outcome}`), `${protocol} ${family} ${outcome}`);
  });
}
