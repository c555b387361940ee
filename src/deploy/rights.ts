/** Service accounts and what they may do, from the table of access. */
import { AGENT } from './agent.ts';
import {
  type AccessRule,
  AGENT_RULES,
  CONTROLLER_RULES,
  FOLLOWER_RULES,
  LEADER_RULES,
  RELAY_RULES,
} from './access.ts';
import { LEASE_RESOURCE } from '#model/kubernetes-kinds.ts';
import { CONTROLLER } from './controller.ts';
import { type KubeObject, objectOf, type Part } from './object.ts';
import type { Installation } from './options.ts';
import { RELAY } from './relay.ts';

const RBAC = 'rbac.authorization.k8s.io';

export function rightsOf({ namespace }: Installation): KubeObject[] {
  return [
    ...grant({ name: AGENT, namespace, part: 'agent' }, AGENT_RULES),
    ...grantLease({ name: AGENT, namespace, part: 'agent' }, FOLLOWER_RULES),
    ...grant({ name: CONTROLLER, namespace, part: 'controller' }, CONTROLLER_RULES),
    ...grantLease({ name: CONTROLLER, namespace, part: 'controller' }, LEADER_RULES),
    ...grant({ name: RELAY, namespace, part: 'relay' }, RELAY_RULES),
  ];
}

type Grantee = { readonly name: string; readonly namespace: string; readonly part: Part };

function grant({ name, namespace, part }: Grantee, rules: readonly AccessRule[]): KubeObject[] {
  const apiVersion = `${RBAC}/v1`;
  return [
    objectOf({ apiVersion: 'v1', kind: 'ServiceAccount', name, namespace, part }, {}),
    objectOf({ apiVersion, kind: 'ClusterRole', name, part }, { rules }),
    objectOf({ apiVersion, kind: 'ClusterRoleBinding', name, part }, binding('ClusterRole', name, namespace)),
  ];
}

/** In the namespace where Leases are. */
function grantLease({ name, namespace, part }: Grantee, rules: readonly AccessRule[]): KubeObject[] {
  const head = { apiVersion: `${RBAC}/v1`, name, namespace: LEASE_RESOURCE.namespace, part };
  return [
    objectOf({ ...head, kind: 'Role' }, { rules }),
    objectOf({ ...head, kind: 'RoleBinding' }, binding('Role', name, namespace)),
  ];
}

function binding(kind: 'ClusterRole' | 'Role', name: string, namespace: string): Record<string, unknown> {
  return {
    roleRef: { apiGroup: RBAC, kind, name },
    subjects: [{ kind: 'ServiceAccount', name, namespace }],
  };
}
