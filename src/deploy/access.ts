/**
 * What agents and controllers may do with the API server: no more than they do. Each rule says who needs it; the test of the
 * manifest runs an agent with these rights and sees nothing refused, and nothing granted that is not in this table.
 */
import {
  LEASE_RESOURCE,
  MANIFEST_RESOURCES,
  type ManifestResource,
  STATE_RESOURCES,
  TARTAN_GROUP,
} from '#model/kubernetes-kinds.ts';
import { CONTROLLER_LEASE } from '#model/lease.ts';

export type AccessRule = {
  /** One line, a comment above the rule. */
  readonly why: string;
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
};

const READ = ['get', 'list', 'watch'] as const;

const pluralOf = (kind: keyof typeof STATE_RESOURCES): string => STATE_RESOURCES[kind].plural;

function state(
  why: string,
  kinds: readonly (keyof typeof STATE_RESOURCES)[],
  verbs: readonly string[],
): AccessRule {
  return { why, apiGroups: [TARTAN_GROUP], resources: kinds.map(pluralOf), verbs };
}

/** What policies, routing, pools and the controller read, which the store follows as one: one rule a group. */
function manifests(read: readonly ManifestResource[] = MANIFEST_RESOURCES): AccessRule[] {
  const groups = [...new Set(read.map(({ group }) => group))];
  return groups.map((group) => ({
    why: `A store is read whole, each kind where the cluster has it: ${group === '' ? 'the core' : group}.`,
    apiGroups: [group],
    resources: read.filter((each) => each.group === group).map(({ plural }) => plural),
    verbs: READ,
  }));
}

const DEFINITIONS: AccessRule = {
  why: 'Kinds that are installed later are read from then on.',
  apiGroups: ['apiextensions.k8s.io'],
  resources: ['customresourcedefinitions'],
  verbs: READ,
};

export const AGENT_RULES: readonly AccessRule[] = [
  state(
    'A node tells of itself and of its pods, claims its subnet or blocks, and takes part in a change of roads; it removes what nodes left that are gone.',
    ['Node', 'SubnetClaim', 'Workloads', 'Switch', 'Block'],
    [...READ, 'create', 'update', 'delete'],
  ),
  state(
    'How long blocks are is decided once, by whoever is first.',
    ['BlockLengths'],
    ['get', 'list', 'create', 'update'],
  ),
  state('Pools are the operator’s.', ['Pool'], READ),
  state(
    'The state of the cluster is the controller’s; commands show it.',
    ['ClusterStatus'],
    ['get', 'list'],
  ),
  state('Relays tell where they are.', ['Relay'], READ),
  ...manifests(),
  DEFINITIONS,
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
    why: 'Events tell an operator what the agent finds wrong; a patch that creates needs both.',
    apiGroups: [''],
    resources: ['events'],
    verbs: ['create', 'patch'],
  },
];

export const CONTROLLER_RULES: readonly AccessRule[] = [
  state(
    'What nodes left that are gone is asked for, then taken back: adverts, claims, blocks, pods.',
    ['Node', 'SubnetClaim', 'Workloads', 'Block'],
    [...READ, 'update', 'delete'],
  ),
  state('The state of the cluster as one object.', ['ClusterStatus'], ['get', 'create', 'update']),
  state('Pools say what blocks are cut from.', ['Pool'], ['list', 'watch']),
  {
    why: 'Whether a node is gone, and which it is.',
    apiGroups: [''],
    resources: ['nodes'],
    verbs: READ,
  },
  {
    why: 'Which cluster it is: kube-system of a wiped one is another object.',
    apiGroups: [''],
    resources: ['namespaces'],
    resourceNames: ['kube-system'],
    verbs: ['get'],
  },
  {
    why: 'Pools in Calico’s words.',
    apiGroups: ['projectcalico.org', 'crd.projectcalico.org'],
    resources: ['ippools', 'ipreservations', 'ipamconfigurations'],
    verbs: READ,
  },
  {
    why: 'A new leader brings the store’s kinds up to date.',
    apiGroups: ['apiextensions.k8s.io'],
    resources: ['customresourcedefinitions'],
    resourceNames: Object.values(STATE_RESOURCES).map(({ plural }) => `${plural}.${TARTAN_GROUP}`),
    verbs: ['get', 'update'],
  },
  {
    why: 'It makes those that somebody removed; who creates something has no name to be held to.',
    apiGroups: ['apiextensions.k8s.io'],
    resources: ['customresourcedefinitions'],
    verbs: ['create'],
  },
  {
    why: 'Events tell an operator what was taken back, and when the brake holds; a patch that creates needs both.',
    apiGroups: [''],
    resources: ['events'],
    verbs: ['create', 'patch'],
  },
];

export const RELAY_RULES: readonly AccessRule[] = [
  state(
    'What agents tell each other, which a relay tells them all.',
    ['Node', 'SubnetClaim', 'Workloads', 'Switch', 'Block', 'BlockLengths', 'Pool'],
    READ,
  ),
  // Of pods each agent needs its own node's alone, and asks for them itself.
  ...manifests(MANIFEST_RESOURCES.filter(({ view }) => view !== 'own')),
  DEFINITIONS,
  state(
    'Where it is, and by which certificate agents know it: nobody else may say that.',
    ['Relay'],
    ['get', 'create', 'update', 'delete'],
  ),
  {
    why: 'Whose token it is that an agent shows.',
    apiGroups: ['authentication.k8s.io'],
    resources: ['tokenreviews'],
    verbs: ['create'],
  },
  {
    why: 'Whether he may watch what he asks for: who may not, may not through a relay either.',
    apiGroups: ['authorization.k8s.io'],
    resources: ['subjectaccessreviews'],
    verbs: ['create'],
  },
];

/** In the namespace of the Lease, for agents: one that finds a leader leaves taking back to it. */
export const FOLLOWER_RULES: readonly AccessRule[] = [
  {
    why: 'Whether a controller leads, which then takes back what nodes left.',
    apiGroups: [LEASE_RESOURCE.group],
    resources: [LEASE_RESOURCE.plural],
    resourceNames: [CONTROLLER_LEASE],
    verbs: ['get'],
  },
];

/** In the namespace of the Lease, for controllers. */
export const LEADER_RULES: readonly AccessRule[] = [
  {
    why: 'One controller acts at a time: the one that holds the Lease.',
    apiGroups: [LEASE_RESOURCE.group],
    resources: [LEASE_RESOURCE.plural],
    resourceNames: [CONTROLLER_LEASE],
    verbs: ['get', 'update'],
  },
  {
    why: 'Who creates something has no name to be held to.',
    apiGroups: [LEASE_RESOURCE.group],
    resources: [LEASE_RESOURCE.plural],
    verbs: ['create'],
  },
];
