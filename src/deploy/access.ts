/**
 * What agents and controllers may do with the API server: no more than they do. Each rule says who needs it; the test of the
 * manifest runs an agent with these rights and sees nothing refused, and nothing granted that is not in this table.
 */
import { MANIFEST_RESOURCES, STATE_RESOURCES, TARTAN_GROUP } from '#model/kubernetes-kinds.ts';

export type AccessRule = {
  /** One line, a comment above the rule. */
  readonly why: string;
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
};

const READ = ['get', 'list', 'watch'] as const;
/** Objects are written by server-side apply, which creates what is not there. */
const WRITE = ['create', 'update', 'patch', 'delete'] as const;

const pluralOf = (kind: keyof typeof STATE_RESOURCES): string => STATE_RESOURCES[kind].plural;

function state(
  why: string,
  kinds: readonly (keyof typeof STATE_RESOURCES)[],
  verbs: readonly string[],
): AccessRule {
  return { why, apiGroups: [TARTAN_GROUP], resources: kinds.map(pluralOf), verbs };
}

/** What policy, routing and blocks read: one rule a group. */
function manifests(): AccessRule[] {
  const groups = [...new Set(MANIFEST_RESOURCES.map(({ group }) => group))];
  return groups.map((group) => ({
    why: `Policies, routing and pools are read, each kind where the cluster has it: ${group === '' ? 'the core' : group}.`,
    apiGroups: [group],
    resources: MANIFEST_RESOURCES.filter((each) => each.group === group).map(({ plural }) => plural),
    verbs: READ,
  }));
}

export const AGENT_RULES: readonly AccessRule[] = [
  state(
    'A node tells of itself and of its pods, claims its subnet or blocks, and takes part in a change of roads; it removes what nodes left that are gone.',
    ['Node', 'SubnetClaim', 'Workloads', 'Switch', 'Block'],
    [...READ, ...WRITE],
  ),
  state('Pools are the operator’s, the status is the controller’s.', ['Pool', 'ClusterStatus'], READ),
  ...manifests(),
  {
    why: 'Kinds that are installed later are read from then on.',
    apiGroups: ['apiextensions.k8s.io'],
    resources: ['customresourcedefinitions'],
    verbs: READ,
  },
  {
    why: 'Annotations of flannel’s and the startup taint, of the agent’s own node; RBAC cannot name it.',
    apiGroups: [''],
    resources: ['nodes'],
    verbs: ['patch'],
  },
  {
    why: 'The condition NetworkUnavailable of the agent’s own node.',
    apiGroups: [''],
    resources: ['nodes/status'],
    verbs: ['patch'],
  },
  {
    why: 'Events tell an operator what the agent finds wrong.',
    apiGroups: [''],
    resources: ['events'],
    verbs: ['create', 'patch'],
  },
];

export const CONTROLLER_RULES: readonly AccessRule[] = [
  state(
    'Subnets where Kubernetes gives none, and what nodes left that are gone: claims, blocks, adverts, pods.',
    ['Node', 'SubnetClaim', 'Workloads', 'Block'],
    [...READ, ...WRITE],
  ),
  state('The state of the cluster as one object.', ['ClusterStatus'], [...READ, ...WRITE]),
  state('Pools say what blocks are cut from; a change of roads is told of.', ['Pool', 'Switch'], READ),
  {
    why: 'Whether a node is gone, and which it is.',
    apiGroups: [''],
    resources: ['nodes'],
    verbs: READ,
  },
  {
    why: 'Whether an address is some pod’s still.',
    apiGroups: [''],
    resources: ['pods'],
    verbs: READ,
  },
  {
    why: 'Pools in Calico’s words.',
    apiGroups: ['projectcalico.org', 'crd.projectcalico.org'],
    resources: ['ippools', 'ipreservations', 'ipamconfigurations'],
    verbs: READ,
  },
  {
    why: 'Events tell an operator what was taken back.',
    apiGroups: [''],
    resources: ['events'],
    verbs: ['create', 'patch'],
  },
];

/** In the namespace of the installation. */
export const LEADER_RULES: readonly AccessRule[] = [
  {
    why: 'One controller acts at a time: the one that holds the Lease.',
    apiGroups: ['coordination.k8s.io'],
    resources: ['leases'],
    verbs: [...READ, 'create', 'update', 'patch'],
  },
];
