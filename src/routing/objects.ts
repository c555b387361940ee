/** What objects say, put over what the agent knows by itself. */
import type { RoutingNode } from '#model/routing.ts';
import type { NodeFacts, RoutingObjects } from './frontends/index.ts';
import type { RoutingInput } from './plan.ts';

/** Objects win over settings; what nodes' objects tell wins over what is known of the nodes. Nodes that only objects know are none. */
export function withObjects(input: RoutingInput, objects: RoutingObjects): RoutingInput {
  const facts = new Map(objects.nodes.map((each) => [each.name, each]));
  return {
    ...input,
    settings: { ...input.settings, ...objects.settings },
    overrides: new Map([...input.overrides, ...objects.overrides]),
    peers: [...input.peers, ...objects.peers],
    filters: [...input.filters, ...objects.filters],
    nodes: input.nodes.map((node) => joinFacts(node, facts.get(node.name))),
  };
}

function joinFacts(node: RoutingNode, facts: NodeFacts | undefined): RoutingNode {
  if (facts === undefined) return node;
  return { ...node, ...facts, labels: { ...node.labels, ...facts.labels } };
}
