/** All documentation that scenarios are of. */
import { CLUSTER } from './cluster-network-policy.ts';
import { CALICO } from './calico-defaults.ts';
import { KUBERNETES } from './kubernetes-network-policy.ts';
import type { Documentation } from './scenario.ts';

export const DOCUMENTATION: readonly Documentation[] = [KUBERNETES, CLUSTER, CALICO];
