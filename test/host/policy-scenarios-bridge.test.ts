/** Kubernetes' page on network policies between pods of one bridge, which is switched to policy: profile flannel. */
import { describe } from 'node:test';
import { whyNoKernel } from './namespace.ts';
import { ON_BRIDGE } from './scenarios/documentation.ts';
import { playAll } from './scenarios/play.ts';
import { betweenPods } from './scenarios/scenario.ts';

const skip = whyNoKernel(['ip', 'nft', 'conntrack', 'curl', 'busybox', 'bridge']) ?? false;

describe('pods of one bridge', { skip }, () => {
  playAll(
    ON_BRIDGE.map((each) => ({ ...each, scenarios: betweenPods(each.scenarios) })),
    { label: 'pi2', profile: 'flannel', nodes: 1, settings: { policy: { enforce: true } } },
    () => 'node1',
  );
});
