/**
 * What policies mean: may this flow begin? Short, plain and slow; every data plane is held equal to it.
 *
 *     source pod ── egress ──▶ host interfaces on the way ──▶ ingress ── destination pod
 *
 * Each endpoint on the way is asked by itself and all must allow. Three things are never asked:
 * - A pod that reaches itself by its own address: such packets do not leave it. Through a service they do, and then the
 *   pod is a peer of its own like any other.
 * - What a pod's own node sends to it (probes must work whatever the policies), host-network pods of that node included.
 * - Replies, and whatever belongs to a connection that was allowed: flows are first packets.
 * ARP and IPv6 neighbour discovery are not flows.
 */
import type { Direction, OrderedTier, RuleBook } from '#model/policy.ts';
import type { Check, Exemption, Flow, Step, Verdict } from '#model/verdict.ts';
import { endpointName, type Pod, type PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { checkHosts } from './hosts.ts';
import { hasAddress, isOfNode } from './peers.ts';
import { askProfiles, askTiers, type Question } from './tiers.ts';

export function evaluate(book: RuleBook, world: PolicyWorld, flow: Flow): Verdict {
  const checks = [
    ...podsAt(world, flow.source).map((pod) => checkPod(book, world, flow, [pod, 'egress'])),
    ...checkHosts(book, world, flow),
    ...podsAt(world, flow.destination).map((pod) => checkPod(book, world, flow, [pod, 'ingress'])),
  ];
  return { action: checks.every(({ action }) => action === 'allow') ? 'allow' : 'deny', checks };
}

/** The pods that have the address; more than one only while the world is behind. */
export function podsAt(world: PolicyWorld, address: Address): Pod[] {
  return world.endpoints.filter(
    (endpoint): endpoint is Pod => endpoint.kind === 'pod' && hasAddress(endpoint, address),
  );
}

function checkPod(book: RuleBook, world: PolicyWorld, flow: Flow, subject: readonly [Pod, Direction]): Check {
  const [pod, direction] = subject;
  const about = { endpoint: endpointName(pod), direction };
  const exempt = exemptionOf(world, flow, pod, direction);
  if (exempt !== undefined) return { ...about, action: 'allow', exempt, trail: [] };
  const view = { world, flow, node: pod.node };
  const question: Question = { view, endpoint: pod, direction, scopes: ['local', 'forward'], defaults: true };
  const enforced = askPod(book.enforced, book, pod, question);
  const pending = book.pending && askPod(book.pending, book, pod, question);
  return {
    ...about,
    ...enforced,
    ...(pending === undefined || pending.action === enforced.action ? {} : { pending }),
  };
}

function exemptionOf(world: PolicyWorld, flow: Flow, pod: Pod, direction: Direction): Exemption | undefined {
  const other = direction === 'egress' ? flow.destination : flow.source;
  if (flow.before === undefined && hasAddress(pod, other)) return 'self';
  return direction === 'ingress' && isOfNode(world, pod.node, flow.source) ? 'own-node' : undefined;
}

function askPod(
  tiers: readonly OrderedTier[],
  book: RuleBook,
  pod: Pod,
  question: Question,
): { readonly action: 'allow' | 'deny'; readonly trail: readonly Step[] } {
  const trail: Step[] = [];
  const decision = askTiers(tiers, question, trail);
  if (decision !== undefined) return { action: decision, trail };
  if (pod.profiles === undefined) return { action: 'allow', trail };
  const profiles = pod.profiles.map((name) => book.profiles.get(name));
  return { action: askProfiles(profiles, question, trail), trail };
}
