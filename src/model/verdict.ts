/** A flow, and what policies say of it with everything that was asked on the way. */
import type { Address } from '#net/address.ts';
import type { Action, Direction, HostScope, Origin } from './policy.ts';

/** A host interface that the flow enters (ingress) or leaves (egress). */
export type Crossing = {
  readonly node: string;
  readonly interface: string;
  readonly direction: Direction;
  /** The node hands it on; otherwise a process of the node sent or gets it. */
  readonly forwarded: boolean;
  /** The interface is a pod's: endpoints for all interfaces (`*`) then judge forwarded packets only. */
  readonly toPod?: boolean;
};

/**
 * The first packet of a connection, with the addresses that pods see: after DNAT (service, hostPort), before SNAT.
 * Replies and what belongs to an allowed connection are not judged.
 */
export type Flow = {
  /** IP protocol number. */
  readonly protocol: number;
  readonly source: Address;
  readonly destination: Address;
  /** For protocols with ports. */
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly icmp?: { readonly type: number; readonly code: number };
  /** Destination before DNAT, where it was rewritten. */
  readonly before?: { readonly destination: Address; readonly destinationPort?: number };
  /** Host interfaces on the way; absent: derived for flows that begin or end at a node's address. */
  readonly crossings?: readonly Crossing[];
};

/** One question that was asked: a rule, the default of a tier, or the end of the profiles. */
export type Step = {
  /** Name of the tier, or `profiles`. */
  readonly tier: string;
  /** `NetworkPolicy shop/web`; absent for defaults. */
  readonly policy?: string;
  /** What its author calls the rule. */
  readonly rule?: string;
  readonly origin?: Origin;
  readonly outcome: 'no match' | Action;
};

/**
 * Why nobody had to be asked: the flow stays inside the pod; it comes from the pod's own node; the port is failsafe.
 */
export type Exemption = 'self' | 'own-node' | 'failsafe';

/** The judgement of one endpoint on the way. The last step decided; none: nothing selects the endpoint. */
export type Check = {
  /** As endpointName has it. */
  readonly endpoint: string;
  readonly direction: Direction;
  readonly action: 'allow' | 'deny';
  readonly exempt?: Exemption;
  readonly trail: readonly Step[];
  /** The part of a host endpoint's policy that decided. */
  readonly scope?: HostScope;
  /** What it would be with the staged policies in force; absent where that is the same. */
  readonly pending?: { readonly action: 'allow' | 'deny'; readonly trail: readonly Step[] };
};

/** Allowed when every check allows; without checks no endpoint that policies know takes part. */
export type Verdict = { readonly action: 'allow' | 'deny'; readonly checks: readonly Check[] };
