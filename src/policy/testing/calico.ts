/** Calico's manifests in few words, and what they make of a world. */
import type { RuleBook } from '#model/policy.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { createBook } from '../book.ts';
import { parseObjects } from '../frontends/index.ts';
import { gatherObjects } from '../gather.ts';

/** `namespace/name` where the kind has a namespace; `spec` without its braces. */
export function calico(kind: string, place: string, spec: string, labels = ''): string {
  const [name, namespace] = place.split('/').reverse();
  const inside = namespace === undefined ? '' : `, namespace: ${namespace}`;
  return `apiVersion: projectcalico.org/v3
kind: ${kind}
metadata: {name: ${name}${inside}, labels: {${labels}}}
spec: {${spec}}
`;
}

const NAMESPACED = new Set([
  'NetworkPolicy',
  'StagedNetworkPolicy',
  'StagedKubernetesNetworkPolicy',
  'NetworkSet',
]);

/** In namespace `shop` where the kind has one. */
export function calicoObject(kind: string, name: string, spec: string): string {
  return calico(kind, NAMESPACED.has(kind) ? `shop/${name}` : name, spec);
}

/** The book of these manifests, and the world with their endpoints in it. All must be right. */
export function load(
  world: PolicyWorld,
  ...manifests: readonly string[]
): { book: RuleBook; world: PolicyWorld } {
  const parsed = parseObjects('test.yaml', manifests.join('---\n'));
  const { problems, endpoints, ...parts } = gatherObjects(new Map([['test.yaml', parsed]]));
  const wrong = [...parsed.problems, ...problems];
  if (wrong.length > 0) throw new Error(JSON.stringify(wrong));
  return { book: createBook(parts), world: { ...world, endpoints: [...world.endpoints, ...endpoints] } };
}
