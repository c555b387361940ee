/**
 * What the documentation of Kubernetes' and Calico's policies says, paragraph by paragraph, with real agents and pods and
 * packets in both families (docs/policy-scenarios.md).
 */
import { after, before, describe, test } from 'node:test';
import { ready } from '#kernel/netns.ts';
import { whyNoKernel } from './namespace.ts';
import { type PolicyLab, startPolicyLab } from './policy-pods.ts';
import { clusterManifests, PODS } from './scenarios/cluster.ts';
import { DOCUMENTATION } from './scenarios/documentation.ts';
import { type Judge, openJudge } from './scenarios/judge.ts';
import { titleOf } from './scenarios/scenario.ts';

const skip = whyNoKernel(['ip', 'nft', 'conntrack', 'curl', 'busybox']) ?? false;
const DUAL = { network: { ipv4: { range: '10.244.0.0/16' }, ipv6: { range: 'fd77::/48' } } };

describe('routed pods of two nodes', { skip }, () => {
  let policies: PolicyLab;
  let judge: Judge;
  before(async () => {
    await ready;
    policies = await startPolicyLab({ label: 'pi1', settings: DUAL });
    for (const { name, node, namespace, labels } of PODS)
      await policies.lab.addPod(node, name, { namespace, labels });
    judge = openJudge(
      policies,
      clusterManifests(({ node }) => node),
    );
  });
  after(async () => {
    try {
      judge?.close();
    } finally {
      await policies?.[Symbol.asyncDispose]();
    }
  });

  for (const { title, scenarios } of DOCUMENTATION)
    describe(title, () => {
      for (const scenario of scenarios) test(titleOf(scenario), () => judge.play(scenario));
    });

  test('every protocol in both families, allowed and denied', (t) => {
    t.diagnostic(JSON.stringify(Object.fromEntries(judge.counts())));
  });
});
