/** What objects of stores tell, one by one: things that rules are made of, and things that rules are about. */
import type { Policy, Profile, Tier } from '#model/policy.ts';
import type { Backend, HostEndpoint, Labels, NamedPort, NetworkSet, Node } from '#model/workload.ts';
import type { Address, Family } from '#net/address.ts';

/** A v1 Pod. Labels absent: it tells none, as a manifest without labels; node absent: it is not placed. */
export type PodObject = {
  readonly namespace: string;
  readonly name: string;
  readonly labels?: Labels;
  readonly node?: string;
  readonly account: string;
  readonly addresses: readonly Address[];
  readonly ports: readonly NamedPort[];
  readonly hostNetwork: boolean;
  /** Succeeded or Failed: its addresses are no more its own. */
  readonly finished: boolean;
  /** For what its services send. */
  readonly ready: boolean;
};

export type ServicePort = {
  readonly protocol: number;
  /** A port, or the name of one of the pod's. */
  readonly target: number | string;
};

/** A v1 Service. Selector absent: others tell its backends. */
export type ServiceObject = {
  readonly namespace: string;
  readonly name: string;
  readonly selector?: Labels;
  readonly ports: readonly ServicePort[];
  readonly families: readonly Family[];
  /** Backends need not be ready. */
  readonly early: boolean;
  /** Of the cluster's DNS: its own addresses. */
  readonly dns?: readonly Address[];
};

/** An EndpointSlice, or v1 Endpoints. `service`: `namespace/name`. */
export type BackendsObject = { readonly service: string; readonly backends: readonly Backend[] };

export type NamespaceObject = { readonly name: string; readonly labels: Labels };

/** `namespace/name`. */
export type AccountObject = { readonly name: string; readonly labels: Labels };

export type NodeObject = Node & { readonly name: string };

type Values = {
  readonly policy: Policy;
  readonly tier: Tier;
  readonly profile: Profile;
  readonly endpoint: HostEndpoint | NetworkSet;
  readonly pod: PodObject;
  readonly service: ServiceObject;
  readonly slice: BackendsObject;
  readonly endpoints: BackendsObject;
  readonly namespace: NamespaceObject;
  readonly account: AccountObject;
  readonly node: NodeObject;
};

export type ThingKind = keyof Values;
export type ValueOf<K extends ThingKind> = Values[K];

/** `title`: kind and name as readers know them; no two things have the same, but a policy and its staged self. */
export type Thing = {
  readonly [K in ThingKind]: { readonly kind: K; readonly title: string; readonly value: Values[K] };
}[ThingKind];

/** What tells one thing from another. */
export function thingKey({ kind, title, value }: Thing): string {
  return kind === 'policy' && value.staged !== undefined ? stagedKey(title) : title;
}

export function stagedKey(title: string): string {
  return `${title} (staged)`;
}
