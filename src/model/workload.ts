/** Whom policies are about: endpoints, namespaces and nodes as the store tells of them, as one value. */
import type { Address } from '#net/address.ts';
import type { Prefix } from '#net/prefix.ts';
import type { Direction, PortRange } from './policy.ts';
import type { Questioned } from './world.ts';

export type Labels = Readonly<Record<string, string>>;

export type NamedPort = { readonly name: string; readonly protocol: number; readonly port: number };

export type Pod = {
  readonly kind: 'pod';
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly node: string;
  readonly account: string;
  /** Of both families; none once the pod has finished. */
  readonly addresses: readonly Address[];
  readonly ports: readonly NamedPort[];
  /** Has its node's addresses: neither subject nor peer of any selector, part of its node for everyone. */
  readonly hostNetwork: boolean;
  /**
   * Names of profiles asked after all tiers, in order; when none allows, the answer is no. Absent: whatever no tier
   * decides is allowed, as Kubernetes has it.
   */
  readonly profiles?: readonly string[];
};

/** An interface of a node, or (`*`) all of them that have no endpoint of their own. */
export type HostEndpoint = {
  readonly kind: 'host';
  readonly name: string;
  readonly labels: Labels;
  readonly node: string;
  /** Empty where only addresses were told: each node puts in the one that has any of them. */
  readonly interface: string;
  readonly addresses: readonly Address[];
  readonly ports: readonly NamedPort[];
  readonly profiles: readonly string[];
};

/** A labelled list of prefixes, of one namespace or of the cluster. Never a subject. */
export type NetworkSet = {
  readonly kind: 'network-set';
  readonly namespace?: string;
  readonly name: string;
  readonly labels: Labels;
  readonly prefixes: readonly Prefix[];
};

export type Endpoint = Pod | HostEndpoint | NetworkSet;

export type Node = { readonly labels: Labels; readonly addresses: readonly Address[] };

/** Ports of hosts that no policy can close, so that nobody locks himself out. */
export type Failsafe = { readonly protocol: number; readonly ports: PortRange; readonly prefix?: Prefix };

export type Backend = { readonly address: Address; readonly protocol: number; readonly port: number };

export type PolicyWorld = {
  readonly endpoints: readonly Endpoint[];
  readonly namespaces: ReadonlyMap<string, Labels>;
  /** Labels of service accounts by `namespace/name`. */
  readonly accounts: ReadonlyMap<string, Labels>;
  readonly nodes: ReadonlyMap<string, Node>;
  /** Backends by `namespace/name` of the service. */
  readonly services: ReadonlyMap<string, readonly Backend[]>;
  /** Addresses learned from DNS, by name as the rules write it, wildcards included. */
  readonly names: ReadonlyMap<string, ReadonlySet<Address>>;
  readonly failsafe: Readonly<Record<Direction, readonly Failsafe[]>>;
};

/** A pod as the agent of its node knows it: what it was attached with, and what its Pod object says where that is known. */
export type Workload = {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly Address[];
  /** As the Pod object has them, where there is one, else as the runtime tells them. */
  readonly labels: Labels;
  /** Of the Pod object. Absent: `default`. */
  readonly account?: string;
  /** Of the Pod object. Absent: none. */
  readonly ports?: readonly NamedPort[];
};

/** All pods that have addresses of one node, as its agent publishes them in the store under the node's name. */
export type NodeWorkloads = Questioned & { readonly node: string; readonly pods: readonly Workload[] };

/** How endpoints are named to readers: `pod shop/web`, `host eth0-a`. */
export function endpointName(endpoint: Endpoint): string {
  const namespace = endpoint.kind === 'host' ? undefined : endpoint.namespace;
  return `${endpoint.kind} ${namespace === undefined ? '' : `${namespace}/`}${endpoint.name}`;
}
