/** All documentation that scenarios are of. */
import { CALICO } from './calico-defaults.ts';
import { CLUSTER } from './cluster-network-policy.ts';
import { KUBERNETES } from './kubernetes-network-policy.ts';
import type { Documentation } from './scenario.ts';

export const DOCUMENTATION: readonly Documentation[] = [KUBERNETES, CLUSTER, CALICO];

/** What is shown between pods of one bridge too. */
export const ON_BRIDGE: readonly Documentation[] = [KUBERNETES];
