/** Manifests of policies in the words of their documentation: the spec as YAML, in braces or lines. */

export function networkPolicy(name: string, spec: string, namespace = 'default'): string {
  return object('networking.k8s.io/v1', 'NetworkPolicy', [name, namespace], spec);
}

export function clusterPolicy(name: string, spec: string): string {
  return object('policy.networking.k8s.io/v1alpha2', 'ClusterNetworkPolicy', [name], spec);
}

export function calico(kind: string, place: string, spec: string, labels = '{}'): string {
  const [name = '', namespace] = place.split('/').reverse();
  return object(
    'projectcalico.org/v3',
    kind,
    namespace === undefined ? [name] : [name, namespace],
    spec,
    labels,
  );
}

// eslint-disable-next-line max-params
export function object(
  apiVersion: string,
  kind: string,
  [name, namespace]: readonly [name: string, namespace?: string],
  spec: string,
  labels = '{}',
): string {
  const inside = namespace === undefined ? '' : `, namespace: ${namespace}`;
  const indented = spec.trim().replaceAll('\n', '\n  ');
  return `---
apiVersion: ${apiVersion}
kind: ${kind}
metadata: {name: ${name}${inside}, labels: ${labels}}
spec:
  ${indented}
`;
}

/** Spec of a policy by which nobody may be reached and reach anybody, in the named directions. */
export function isolates(...types: readonly string[]): string {
  return `podSelector: {}\npolicyTypes: [${types.join(', ')}]`;
}

/** A selector of the one namespace. */
export function named(namespace: string): string {
  return `{matchLabels: {kubernetes.io/metadata.name: ${namespace}}}`;
}

/** Spec of a ClusterNetworkPolicy. */
export function admin(priority: number, rest: string): string {
  return `tier: Admin\npriority: ${priority}\n${rest}`;
}

/** As admin, for the other tier. */
export function baseline(priority: number, rest: string): string {
  return `tier: Baseline\npriority: ${priority}\n${rest}`;
}
