/** Service accounts and what they may do, from the table of access. */
import { AGENT } from './agent.ts';
import { type AccessRule, AGENT_RULES, CONTROLLER_RULES, LEADER_RULES } from './access.ts';
import { CONTROLLER } from './controller.ts';
import { type KubeObject, objectOf, type Part } from './object.ts';
import type { Installation } from './options.ts';

const RBAC = 'rbac.authorization.k8s.io';

export function rightsOf({ namespace }: Installation): KubeObject[] {
  return [
    ...grant({ name: AGENT, namespace, part: 'agent' }, AGENT_RULES),
    ...grant({ name: CONTROLLER, namespace, part: 'controller' }, CONTROLLER_RULES),
    ...grantWithin({ name: CONTROLLER, namespace, part: 'controller' }, LEADER_RULES),
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

function grantWithin({ name, namespace, part }: Grantee, rules: readonly AccessRule[]): KubeObject[] {
  const apiVersion = `${RBAC}/v1`;
  return [
    objectOf({ apiVersion, kind: 'Role', name, namespace, part }, { rules }),
    objectOf({ apiVersion, kind: 'RoleBinding', name, namespace, part }, binding('Role', name, namespace)),
  ];
}

function binding(kind: 'ClusterRole' | 'Role', name: string, namespace: string): Record<string, unknown> {
  return {
    roleRef: { apiGroup: RBAC, kind, name },
    subjects: [{ kind: 'ServiceAccount', name, namespace }],
  };
}
