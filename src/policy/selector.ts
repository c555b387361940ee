/** Whose labels selectors ask, of endpoints and of nodes. */
import type { Scope } from '#model/policy.ts';
import type { LabelLookup } from '#model/selector-match.ts';
import type { Endpoint, Labels, Node, PolicyWorld } from '#model/workload.ts';

export function endpointLabels(world: PolicyWorld, endpoint: Endpoint): LabelLookup {
  const facts = factsOf(endpoint);
  const { namespace, account } = facts;
  const labels: Record<Scope, Labels | undefined> = {
    own: endpoint.labels,
    namespace: namespace === undefined ? undefined : namespaceLabels(world, namespace),
    account: account === undefined ? undefined : world.accounts.get(`${namespace}/${account}`),
    fact: facts,
  };
  return (scope, key) => ownValue(labels[scope], key);
}

/** With the label that Kubernetes gives every namespace, even one that the store has not told of yet. */
function namespaceLabels(world: PolicyWorld, namespace: string): Labels {
  return { ...world.namespaces.get(namespace), 'kubernetes.io/metadata.name': namespace };
}

export function nodeLabels(node: Node): LabelLookup {
  return (scope, key) => (scope === 'own' ? ownValue(node.labels, key) : undefined);
}

function factsOf(endpoint: Endpoint): Labels & { readonly namespace?: string; readonly account?: string } {
  const { kind, name } = endpoint;
  if (endpoint.kind === 'host') return { kind, name, node: endpoint.node };
  const { namespace } = endpoint;
  const inside = namespace === undefined ? {} : { namespace };
  if (endpoint.kind === 'network-set') return { kind, name, ...inside };
  return { kind, name, ...inside, account: endpoint.account, node: endpoint.node };
}

/** Keys are what users write, so `constructor` is a label like any other. */
function ownValue(labels: Labels | undefined, key: string): string | undefined {
  return labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
}
