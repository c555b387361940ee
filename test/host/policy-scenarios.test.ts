/**
 * What the documentation of Kubernetes' and Calico's policies says, paragraph by paragraph, with real agents and pods and
 * packets in both families (docs/policy-scenarios.md).
 */
import { describe } from 'node:test';
import { whyNoKernel } from './namespace.ts';
import { DOCUMENTATION } from './scenarios/documentation.ts';
import { playAll } from './scenarios/play.ts';

const skip = whyNoKernel(['ip', 'nft', 'conntrack', 'curl', 'busybox']) ?? false;

describe('routed pods of two nodes', { skip }, () => {
  playAll(DOCUMENTATION, { label: 'pi1' }, ({ node }) => node);
});
