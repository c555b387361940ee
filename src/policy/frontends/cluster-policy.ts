/**
 * What ClusterNetworkPolicy and its forerunners AdminNetworkPolicy and BaselineAdminNetworkPolicy have in common
 * (kubernetes-sigs/network-policy-api): subjects, peers, and rules whose first match decides. They isolate nobody:
 * what their rules do not decide goes on to the next tier.
 */
import { z } from 'zod';
import type { Action, Clause, Direction, PeerSet, Policy, PortRange, Rule, Selector } from '#model/policy.ts';
import type { Context } from './frontend.ts';
import { destinationPorts, type PortLine } from './ports.ts';
import { fromLabelSelector, podsOf } from './selectors.ts';
import {
  across,
  cidr,
  type Fields,
  isFields,
  isThere,
  labelSelector,
  listOf,
  oneOf,
  type Say,
} from '#model/manifest-shapes.ts';
import { wholeNumber } from '#model/manifest-shapes.ts';

export const API_GROUP = 'policy.networking.k8s.io';

export const priority = wholeNumber(0, 1000);

const pods = z.strictObject({ namespaceSelector: labelSelector.nullish(), podSelector: labelSelector });
const podPeers = { namespaces: labelSelector.nullish(), pods: pods.nullish() };
/** In v1alpha1, pods of all namespaces are selected by an empty selector only. */
const olderPods = pods.extend({ namespaceSelector: labelSelector });
const olderPodPeers = { ...podPeers, pods: olderPods.nullish() };
/** Of subjects and of ingress peers alike. */
export const podPeer = oneOf(podPeers);
export const olderPodPeer = oneOf(olderPodPeers);

export const domainName = z
  .string()
  .regex(
    /^(?=.{1,255}$)(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?$/,
    'must be a DNS name, *. allowed in front',
  );
const outsiders = {
  nodes: labelSelector.nullish(),
  networks: listOf(cidr, 1, 25).nullish(),
};
/** BaselineAdminNetworkPolicy has no names. */
export const namelessPeer = oneOf({ ...olderPodPeers, ...outsiders });
const named = { ...outsiders, domainNames: listOf(domainName, 1, 25).nullish() };
export const egressPeer = oneOf({ ...podPeers, ...named });
export const olderEgressPeer = oneOf({ ...olderPodPeers, ...named });
export type Peer = z.output<typeof egressPeer>;

export const ruleName = z.string().max(100, 'must have at most 100 characters').nullish();

/** Of an egress rule: named ports are those of pods, and names can only be allowed. */
export function checkEgressRule(portField: 'ports' | 'protocols', nameField: string) {
  return (fields: Fields, say: Say): void => {
    const peers = asList(fields['to']);
    const outside = peers.some((peer) =>
      ['nodes', 'networks', 'domainNames'].some((key) => isThere(peer[key])),
    );
    for (const [index, port] of asList(fields[portField]).entries()) {
      if (!outside || !isThere(port[nameField])) continue;
      say(
        [portField, index, nameField],
        'must not be there with peers that have no named ports: nodes, networks, domainNames',
      );
    }
    for (const [index, peer] of peers.entries()) {
      if (!isThere(peer['domainNames']) || fields['action'] === 'Accept' || fields['action'] === 'Allow')
        continue;
      say(['to', index, 'domainNames'], 'must only be there in rules that allow');
    }
  };
}

function asList(value: unknown): Fields[] {
  return Array.isArray(value) ? value.map((each: unknown) => (isFields(each) ? each : {})) : [];
}

/** A range of which the end must be greater than the start. */
export function rangeOf<S extends z.core.$ZodLooseShape>(shape: S) {
  return across(z.strictObject(shape), ({ start, end }, say) => {
    if (typeof start === 'number' && typeof end === 'number' && end <= start) {
      say(['end'], `must be greater than start, ${start}`);
    }
  });
}

/** One of them is there. */
export function readRange(
  number: number | null | undefined,
  range: { readonly start: number; readonly end: number } | null | undefined,
): PortRange {
  return range ? { from: range.start, to: range.end } : { from: number ?? 0, to: number ?? 0 };
}

/** The rules of one direction, whatever the kind calls their parts. */
export type ClusterRule = {
  readonly name?: string | null | undefined;
  readonly action: 'Accept' | 'Allow' | 'Deny' | 'Pass';
  readonly peers: readonly Peer[];
  readonly ports: readonly PortLine[];
};

export type ClusterPolicy = {
  readonly kind: string;
  readonly name: string;
  readonly tier: 'kube-admin' | 'kube-baseline';
  readonly order: number;
  readonly subject: z.output<typeof podPeer>;
  readonly ingress: readonly ClusterRule[];
  readonly egress: readonly ClusterRule[];
};

const ACTIONS: Readonly<Record<ClusterRule['action'], Action>> = {
  Accept: 'allow',
  Allow: 'allow',
  Deny: 'deny',
  Pass: 'pass',
};

export function clusterPolicy(given: ClusterPolicy, context: Context): Policy {
  return {
    kind: given.kind,
    name: given.name,
    tier: given.tier,
    order: given.order,
    subjects: podSelector(given.subject),
    isolates: { ingress: false, egress: false },
    ingress: given.ingress.map((rule, index) => clusterRule(rule, ['ingress', index], context)),
    egress: given.egress.map((rule, index) => clusterRule(rule, ['egress', index], context)),
    host: 'local',
    origin: context.origin([]),
  };
}

function clusterRule(rule: ClusterRule, place: readonly [Direction, number], context: Context): Rule {
  const [direction] = place;
  const path = ['spec', ...place];
  const clauses: Clause<PeerSet>[] = [{ anyOf: rule.peers.map(peerSet) }];
  return {
    action: ACTIONS[rule.action],
    source: direction === 'ingress' ? clauses : [],
    destination: direction === 'egress' ? clauses : [],
    traffic: destinationPorts(rule.ports),
    ...(isThere(rule.name) && rule.name !== '' ? { name: rule.name ?? '' } : {}),
    origin: context.origin(path),
  };
}

function peerSet(peer: Peer): PeerSet {
  if (peer.nodes) return { kind: 'nodes', selector: fromLabelSelector(peer.nodes, 'own') };
  if (peer.networks) return { kind: 'prefixes', prefixes: peer.networks.toSorted(), except: [] };
  if (peer.domainNames) return { kind: 'names', names: peer.domainNames.map(canonicalName).sort() };
  return { kind: 'endpoints', selector: podSelector(peer) };
}

/** Names differ neither by case nor by the dot of the root. */
export function canonicalName(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}

function podSelector({ namespaces, pods }: z.output<typeof podPeer>): Selector {
  return podsOf(
    fromLabelSelector(namespaces ?? pods?.namespaceSelector ?? {}, 'namespace'),
    fromLabelSelector(pods?.podSelector ?? {}, 'own'),
  );
}
